"""How is one outer step computed?"""
