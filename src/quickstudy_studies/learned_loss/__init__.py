"""Does a learned loss teach better than the usual one?"""
