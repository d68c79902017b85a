"""Which data are there? One data set a file; each loader returns examples in memory, grouped by class."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
