"""What does a learner reach that does not learn to learn?"""
