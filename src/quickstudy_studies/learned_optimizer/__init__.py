"""Does a learned optimiser win on problems that it was not trained on?"""
