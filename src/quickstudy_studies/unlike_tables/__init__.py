"""Can one learner serve tables whose columns differ?"""
