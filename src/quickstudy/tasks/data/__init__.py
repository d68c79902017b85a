"""Which tasks are cut from a data set?"""
