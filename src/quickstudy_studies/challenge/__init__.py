"""How well are characters of new alphabets told apart?"""
