"""Buffers of a net that its forward changes in place: counters, averages of its own, vectors of spectral norm.

Within a transform a buffer stays as it is, and the rest of the forward sees a changed copy. A change by numbers of one
task would be seen by others, so it is refused. Outside any transform buffers change as in plain PyTorch, but for the
counters of norms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.operators import traces
from quickstudy.operators.internals import AnyNorm, base_of, own_buffers
from quickstudy.operators.substitution import Scope

_OPERATORS = frozenset(
    f"__i{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")
)
_KNOWN: dict[Callable[..., Any], bool] = {}


def in_place(func: Callable[..., Any]) -> bool:
    """Return whether a function changes its first argument."""
    known = _KNOWN.get(func)
    if known is None:
        name = str(getattr(func, "__name__", ""))
        known = name in _OPERATORS or name == "__setitem__" or (name[-1:] == "_" and name[-2:] != "__")
        known = _KNOWN[func] = known and not name.startswith("requires_grad")
    return known


class Buffers:
    """The buffers of a net while it runs once.

    Args:
        net: the net.
        frozen: whether spectral norms keep their vectors, as in evaluation mode.
        scope: what this thread sees, where it is in a transform.
    """

    def __init__(self, net: nn.Module, frozen: bool, scope: Scope | None) -> None:
        self.net, self.frozen, self.scope = net, frozen, scope
        self._owners: dict[int, tuple[Tensor, nn.Module, str]] | None = None
        self._counters: dict[int, Tensor] = {}
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}

    def resolved(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments as this thread sees them, wherever the net had them from."""
        if self._counters:
            args = tuple([self._counters.get(id(value), value) for value in args])
        scope = self.scope
        if scope is None or not (scope.values or scope.updated):
            return args, kwargs
        values, updated = scope.values, scope.updated
        for value in args:
            if id(value) in values or id(value) in updated or isinstance(value, (list, tuple)):
                args = tuple([scope.resolved(value) for value in args])
                break
        return args, {name: scope.resolved(value) for name, value in kwargs.items()} if kwargs else kwargs

    def change(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return func(*args, **kwargs), which changes its first argument or `out`.

        Raises:
            RuntimeError: numbers of one task change a buffer, which others see.
        """
        target: Any = kwargs.get("out", args[0] if args else None)
        copy, whole = self._copies.get(id(target), (None, target))
        if copy is not target:
            whole = target
        owned = self._owned(whole)
        if owned is None:
            args, kwargs = self.resolved(args, kwargs)
            return func(*args, **kwargs)
        buffer, module, name = owned
        if func is F.normalize and self.frozen:
            return target
        if self.scope is None and not isinstance(module, AnyNorm):
            return func(*args, **kwargs)
        refused = f"in-place change of buffer '{name}', which is not one task's alone"
        if buffer is not whole:
            raise RuntimeError(f"{refused}, through a view of it")
        args, kwargs = self.resolved(args, kwargs)
        if func is F.normalize:
            value = result = func(*args, **{key: given for key, given in kwargs.items() if key != "out"})
        else:
            value = (kwargs["out"] if "out" in kwargs else args[0]).clone()
            args, kwargs = (args, {**kwargs, "out": value}) if "out" in kwargs else ((value, *args[1:]), kwargs)
            try:
                result = func(*args, **kwargs)
            except RuntimeError as error:
                if not any(sign in str(error) for sign in ("vmap", "broadcast")):
                    raise
                raise RuntimeError(f"{refused}, by numbers of one task") from error
        self._copies[id(value)] = (value, buffer)
        for tensor in (buffer, target):
            if self.scope is None:
                self._counters[id(tensor)] = value
            else:
                self.scope.update(tensor, value)
        return result

    def owns(self, tensor: Tensor | None) -> bool:
        """Return whether a tensor is a buffer of the net."""
        return tensor is not None and not isinstance(tensor, nn.Parameter) and id(tensor) in self._found()

    def _owned(self, target: Any) -> tuple[Tensor, nn.Module, str] | None:
        """Return the buffer that a tensor is, or is a view of, with its module and name."""
        if not isinstance(target, Tensor):
            return None
        owners = self._found()
        found = owners.get(id(target))
        if found is None and owners and self.scope is not None:
            found = owners.get(id(base_of(target)))
        return found

    def _found(self) -> dict[int, tuple[Tensor, nn.Module, str]]:
        if self._owners is None:
            self._owners = {}
            for module in traces.modules(self.net):
                own = own_buffers(module)
                for name in own:
                    for value in (dict.__getitem__(own, name), own[name]):
                        if value is not None:
                            self._owners[id(value)] = (value, module, name)
        return self._owners
