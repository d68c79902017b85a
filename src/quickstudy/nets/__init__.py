"""Which backbones are there? Any `torch.nn.Module` that takes (rows, ...) is a net; these are the usual ones."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
