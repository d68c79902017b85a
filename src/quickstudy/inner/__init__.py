"""What is an inner loop made of?"""
