"""How is a run told to a person?"""
