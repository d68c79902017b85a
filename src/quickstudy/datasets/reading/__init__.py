"""How are files that nobody vouches for read without trust?"""
