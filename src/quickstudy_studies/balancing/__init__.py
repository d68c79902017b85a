"""Can a learned controller balance what it has never seen?"""
