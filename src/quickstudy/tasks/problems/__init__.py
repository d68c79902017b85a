"""Which tasks bring a net of their own to train?"""
