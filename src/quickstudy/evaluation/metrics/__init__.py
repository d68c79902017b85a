"""By what is a learner judged?"""
