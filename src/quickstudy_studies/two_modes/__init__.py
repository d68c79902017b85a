"""What does one start do for tasks of two kinds?"""
