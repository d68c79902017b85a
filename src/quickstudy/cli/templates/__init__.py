"""What does a file of one's own begin with? `quickstudy new` copies these."""
