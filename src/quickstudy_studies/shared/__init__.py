"""What do several studies share?"""
