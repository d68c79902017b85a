"""Quickstudy: meta-learning in PyTorch. Every method is two functions, written for one task."""

import lazy_loader

__version__ = "0.1.0"

# Parts are imported when they are first used, so that the command's help need not wait for PyTorch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
