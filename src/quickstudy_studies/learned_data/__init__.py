"""What do learned rows, weights and augmentations gain?"""
