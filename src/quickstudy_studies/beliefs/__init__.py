"""Whose uncertainty about a function is right?"""
