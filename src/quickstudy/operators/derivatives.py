"""Errors from backward passes, with the name of the layer whose operator has no further derivative."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import nn

from quickstudy.errors import QuickstudyError, UnsupportedLayerError
from quickstudy.operators.internals import OpOverload, TorchDispatchMode


def raise_without_derivative(error: Exception, module: nn.Module, run: Callable[[], Any]) -> None:
    """Raise an error that names the layer, if an operator of it has no derivative; else return.

    Args:
        error: what a backward pass raised. PyTorch says the operator in the text alone.
        module: where to look for layers.
        run: the forward pass.

    Raises:
        UnsupportedLayerError: an operator has no derivative.
    """
    match = re.search(r"derivative for '?(?:aten::)?(\w+)'? is not implemented", str(error))
    if match is None:
        _raise_of_engine(error)
        return
    name = match[1]
    finder = _Finder(name.removesuffix("_backward"), module)
    try:
        with torch.no_grad(), finder:
            run()
    except Exception:  # the layer stays unknown
        pass
    layer = f"layer {finder.found}" if finder.found else "an operator of the net"
    raise UnsupportedLayerError(
        f"{layer} cannot be differentiated so often: PyTorch has no derivative of {name}. Replace the layer, freeze it "
        "(requires_grad_(False)), or use a first-order learner, such as FOMAML"
    ) from error


def _raise_of_engine(error: Exception) -> None:
    """Raise an error with what is known, if autograd's engine failed: no layer runs then that could be named."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if isinstance(error, (QuickstudyError, torch.OutOfMemoryError)) or trace is None:
        return
    if trace.tb_frame.f_code.co_name == "_engine_run_backward":
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UnsupportedLayerError(
            f"a layer cannot be batched over tasks or differentiated so often: {first}. It failed in a backward pass, "
            "which does not say where: try a first-order learner, or freeze layers (requires_grad_(False)) to find it"
        ) from error


class _Finder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Finds the innermost layer that runs an operator."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.name = name.strip("_")
        self.names = {id(each): path for path, each in module.named_modules()}
        self.found: str | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.found is None and isinstance(func, OpOverload):
            name = str(func).partition(".")[2].strip("_")
            self.found = self._layer() if name.startswith(self.name) else None
        return func(*args, **(kwargs or {}))

    def _layer(self) -> str | None:
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            candidate = frame.f_locals.get("self")
            if isinstance(candidate, nn.Module) and id(candidate) in self.names:
                return f"'{self.names[id(candidate)]}' ({type(candidate).__name__})"
            frame = frame.f_back
        return None
