"""Which mathematics do methods share?"""
