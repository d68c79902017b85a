"""How tight are bounds on the error of new tasks?"""
