"""The order in which numbers lie in memory: our operators' own is the faster one, a net may rely on PyTorch's.

Maps of our operators have their channels last. A net sees that where it looks at strides or writes through a view, so:

- `view` copies where it cannot view, which says the same of a tensor that nobody writes to.
- A net that looks at strides, or writes to what was copied so, or fails, runs again with PyTorch's order, which costs
  a copy for each operator. From then on it runs so at once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.operators.internals import storage_of
from quickstudy.operators.replacements import REPLACEMENTS

Function = Callable[..., Any]
Result = TypeVar("Result")

LAID = frozenset({torch.conv2d, F.max_pool2d, torch.max_pool2d, F.group_norm})
"""Operators whose replacements give maps with channels last."""
_ORDINARY: WeakSet[nn.Module] = WeakSet()
"""Nets that need PyTorch's own order."""


class OrdinaryNeededError(Exception):
    """The net relies on PyTorch's order."""


class Layouts:
    """Runs the operators of one call of a net. `failed` is the operator that raised an error, or None."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.ordinary = net in _ORDINARY
        self.laid = False
        self.failed: Function | None = None
        self._apart: set[int] = set()
        """Memory of which a view was to be made and a copy was, and of the copy."""

    def run(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what an operator, or its replacement, gives.

        Raises:
            OrdinaryNeededError: the net relies on PyTorch's order in memory.
        """
        replacement = REPLACEMENTS.get(func)
        if torch.compiler.is_compiling():
            return func(*args, **kwargs) if replacement is None else replacement(*args, **kwargs)
        try:
            if replacement is not None:
                result = replacement(*args, **kwargs)
                return self.of_maps(result) if func in LAID else result
            special = _SPECIAL.get(func)
            if special is not None:
                return special(self, func, args, kwargs)
            self.check(func, args, kwargs)
            return func(*args, **kwargs)
        except Exception:
            self.failed = func
            raise

    def check(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at an operator that may write in place.

        Raises:
            OrdinaryNeededError: it writes through what would be a view in PyTorch's order, and is a copy.
            NotImplementedError: it does so in PyTorch's order, too.
        """
        if self._apart and not torch.compiler.is_compiling() and _writes(func, args, kwargs):
            self._check_write(kwargs.get("out", args[0] if args else None))

    def of_maps(self, result: Any) -> Any:
        """Return what an operator of ours gives, in the order that this call needs."""
        self.laid = True
        if self.ordinary and isinstance(result, Tensor) and not torch.compiler.is_compiling():
            return result.contiguous()
        return result

    def again(self, call: Callable[[], Result]) -> Result:
        """Return what the net gives in PyTorch's order, which it gets from now on if it works so."""
        _ORDINARY.add(self.net)
        try:
            return call()
        except Exception:
            _ORDINARY.discard(self.net)
            raise

    def may_help(self) -> bool:
        """Return whether the net may work in PyTorch's order."""
        return self.laid and not self.ordinary

    def _view(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return func(*args, **kwargs)
        except RuntimeError:
            x, *shape = args
            if func is Tensor.view_as and shape and isinstance(shape[0], Tensor):
                shape = list(shape[0].shape)
            if not shape or any(isinstance(size, torch.dtype) for size in shape):
                raise
            result = x.reshape(*shape)
            self._note(x, result)
            return result

    def _copies(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # In PyTorch's order these may be views, through which a net writes.
        result = func(*args, **kwargs)
        if self.laid and not self.ordinary and args and result is not args[0]:
            self._note(args[0], result)
        return result

    def _looks(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.laid and not self.ordinary and args and not args[0].is_contiguous():
            raise OrdinaryNeededError
        if func is Tensor.is_contiguous and (kwargs or len(args) > 1):
            try:
                return func(*args, **kwargs)
            except RuntimeError:  # vmap knows of one order alone
                return False
        return func(*args, **kwargs)

    def _note(self, x: Tensor, result: Tensor) -> None:
        if x.layout != torch.strided:
            return
        of_x, of_result = storage_of(x), storage_of(result)
        if of_x != of_result:
            self._apart |= {of_x, of_result}

    def _check_write(self, x: Any) -> None:
        if not isinstance(x, Tensor) or x.layout != torch.strided or storage_of(x) not in self._apart:
            return
        if self.may_help():
            raise OrdinaryNeededError
        raise NotImplementedError("it writes in place through a view, which under vmap is a copy; write out of place")


_SPECIAL: dict[Function, Callable[[Layouts, Function, tuple[Any, ...], dict[str, Any]], Any]] = {
    Tensor.view: Layouts._view,
    Tensor.view_as: Layouts._view,
    Tensor.reshape: Layouts._copies,
    torch.reshape: Layouts._copies,
    Tensor.reshape_as: Layouts._copies,
    Tensor.flatten: Layouts._copies,
    torch.flatten: Layouts._copies,
    Tensor.ravel: Layouts._copies,
    torch.ravel: Layouts._copies,
    Tensor.contiguous: Layouts._copies,
    Tensor.stride: Layouts._looks,
    Tensor.is_contiguous: Layouts._looks,
    Tensor.as_strided: Layouts._looks,
    torch.as_strided: Layouts._looks,
    Tensor.as_strided_: Layouts._looks,
    Tensor.data_ptr: Layouts._looks,
    Tensor.untyped_storage: Layouts._looks,
}


def _writes(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether an operator writes to its first argument or to `out`."""
    if "out" in kwargs:
        return True
    place = _inplace_at(func)
    return place is True or (place is not None and bool(kwargs.get("inplace", len(args) > place and args[place])))


@functools.cache
def _inplace_at(func: Function) -> bool | int | None:
    """Return whether a function always writes in place, or the place of its argument `inplace`, or None."""
    name = str(getattr(func, "__name__", ""))
    if name.startswith("__"):
        return True if name in ("__setitem__", "__set__") or (name.startswith("__i") and name not in _READING) else None
    if name.endswith("_"):
        return True
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):  # a function of C
        return None
    return names.index("inplace") if "inplace" in names else None


_READING = ("__index__", "__int__", "__invert__")
