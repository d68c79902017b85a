"""Evaluation mode for a while, also where several threads evaluate modules that share layers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_LOCK = threading.Lock()
_EVALUATED: dict[int, tuple[nn.Module, bool, int]] = {}
"""Each module in evaluation mode for a while: itself, the mode it had before, and how many ask for it."""


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode. When the last thread that asks for it ends, each layer has its mode back."""
    layers = list(module.modules())
    with _LOCK:
        for layer in layers:
            _, before, count = _EVALUATED.get(id(layer), (layer, layer.training, 0))
            _EVALUATED[id(layer)] = (layer, before, count + 1)
        module.eval()
    try:
        yield
    finally:
        with _LOCK:
            for layer in layers:
                _, before, count = _EVALUATED.pop(id(layer))
                if count > 1:
                    _EVALUATED[id(layer)] = (layer, before, count - 1)
                else:
                    layer.training = before
