"""HOW does an inner loop move what it adapts? Update rules, fixed or learned."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
