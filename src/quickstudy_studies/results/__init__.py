"""Which figures stand in the results, and how is each made again?"""
