"""Can hidden parameters of a simulator be read off its runs?"""
