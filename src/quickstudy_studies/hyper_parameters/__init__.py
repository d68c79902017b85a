"""Does tuning while training find what a search finds?"""
