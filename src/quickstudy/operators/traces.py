"""Putting back what a forward leaves on its modules besides its output.

A net may keep its last features or an attention map, append to a list, count its calls in a buffer. Within a transform
what it keeps is a tensor of that transform, which nobody can use, copy or save once the transform has ended.

So tensors are put back. Numbers and words stay as the forward left them, such as a counter that is an attribute.

Looked through are attributes of modules, and the lists, dictionaries, sets and plain objects in them. What lies
elsewhere, such as a list of the user's that a hook fills, cannot be found. Its tensors stay those of the transform, and
PyTorch raises an error where they are used later.

Threads that run a net which leaves something on its modules take turns; other nets need no turns.
"""

from __future__ import annotations

import collections
import copy
import operator
import sys
import threading
import weakref
from collections.abc import Iterable
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from quickstudy.errors import InputError
from quickstudy.operators.internals import (
    in_transform,
    own_forward_hooks,
    own_modules,
    own_parameters,
    own_pre_hooks,
    without_graph,
)

Module = TypeVar("Module", bound=nn.Module)

_TURNS = threading.RLock()
_LONG = 4096
"""Entries from which a list is only cut back to its length, and a dictionary or set is not looked through."""
_DEEP = 3
"""How many containers within each other are looked through."""
_STRUCTURE = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})
_MACHINERY = frozenset(nn.Module().__dict__) - _STRUCTURE
_NUMBERS = frozenset({int, float, str, bool, type(None)})
_LIBRARIES = frozenset(sys.stdlib_module_names) | {"torch", "numpy"}


class Marked(dict[str, Any]):
    """A module's dictionary of parameters, with what is known of the module."""

    known = False
    """Whether the module was run as a whole net."""
    writes = False
    """Whether something was left on the module."""


def modules(root: nn.Module) -> list[nn.Module]:
    """Return a module and all modules in it, each once, in PyTorch's order."""
    found: dict[int, nn.Module] = {}
    waiting = [root]
    while waiting:
        module = waiting.pop()
        if id(module) in found:
            continue
        found[id(module)] = module
        inside = own_modules(module)
        if inside:
            waiting += [child for child in reversed(inside.values()) if child is not None]
    return list(found.values())


def derives(found: list[nn.Module]) -> bool:
    """Return whether hooks of PyTorch's compute parameters of modules before each forward, as old weight norm's do."""
    return any(
        type(hook).__module__.startswith("torch.nn.utils") for each in found for hook in own_pre_hooks(each).values()
    )


def needs_turn(found: list[nn.Module]) -> bool:
    """Return whether a net of these modules, itself the first, may leave something on them."""
    if not getattr(own_parameters(found[0]), "known", False):
        return True
    for each in found:
        if own_forward_hooks(each) or own_pre_hooks(each) or getattr(own_parameters(each), "writes", False):
            return True
    return False


def copied(module: Module) -> Module:
    """Return a deep copy of a module, made while no thread has left anything on it for a moment.

    Tensors that a forward has left on modules, or old weight norm, have no history in the copy.
    """
    found = modules(module)
    with Turn() as turn:
        turn.take(found)
        left = [value for each in found for value in each.__dict__.values() if isinstance(value, Tensor)]
        return copy.deepcopy(module, {id(value): value.detach() for value in left if value.grad_fn is not None})


class Turn:
    """A thread's turn to run nets that leave something on their modules; others wait until it is left."""

    def __init__(self, waits: bool = True) -> None:
        self.waits = waits
        """Whether to wait for others."""
        self._taken = False

    def __enter__(self) -> Turn:
        return self

    def take(self, found: list[nn.Module]) -> None:
        """Wait for the turn, if a net of these modules needs one."""
        if self.waits and not self._taken and needs_turn(found):
            _TURNS.acquire()
            self._taken = True

    def __exit__(self, *error: object) -> None:
        if self._taken:
            self._taken = False
            _TURNS.release()


class Standing:
    """Nets as they stand before they run."""

    def __init__(self) -> None:
        self.roots: dict[int, nn.Module] = {}
        self._kept: dict[int, tuple[nn.Module, Any, Any]] = {}

    def keep(self, root: nn.Module, found: list[nn.Module]) -> None:
        """Take note of how a net of these modules stands.

        Raises:
            InputError: a layer has yet to learn its sizes from a first input.
        """
        self.roots[id(root)] = root
        if not getattr(own_parameters(root), "known", False):
            _check_sizes(root)
        for each in found:
            attributes = each.__dict__
            if id(attributes) in self._kept:
                continue
            self._kept[id(attributes)] = (each, attributes, attributes.copy())
            if type(each).__module__.startswith("torch.nn.modules."):
                continue  # they keep nothing in lists
            for name, value in attributes.items():
                if name in _MACHINERY or type(value) in _NUMBERS:
                    continue
                if name in _STRUCTURE:
                    self._kept[id(value)] = (each, value, _shallow(value))
                else:
                    self._look_into(each, value, _DEEP)

    def end(self, put_back: bool) -> None:
        """Mark the modules on which something was left, and put it back or leave it there."""
        for module, now, before in self._kept.values():
            if _same(now, before):
                continue
            own = own_parameters(module)
            if isinstance(own, Marked):
                own.writes = True
            if put_back:
                _restore(now, before)
        for root in self.roots.values():
            own = own_parameters(root)
            if isinstance(own, Marked):
                own.known = True

    def _look_into(self, module: nn.Module, value: Any, depth: int) -> None:
        if isinstance(value, (Tensor, nn.Module, str, bytes)) or not depth:
            return
        if isinstance(value, tuple):
            for part in value:
                self._look_into(module, part, depth - 1)
            return
        container = value if isinstance(value, (list, dict, set, collections.deque)) else _attributes(value)
        if container is None or id(container) in self._kept:
            return
        long = len(container) > _LONG
        self._kept[id(container)] = (module, container, len(container) if long else _shallow(container))
        if not long:
            for part in list(container.values() if isinstance(container, dict) else container):
                self._look_into(module, part, depth - 1)


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return the attributes of an object of a class of the user's; None for all others."""
    kind = type(value)
    if kind.__module__.partition(".")[0] in _LIBRARIES and kind.__name__ != "SimpleNamespace":
        return None
    found = getattr(value, "__dict__", None)
    return found if isinstance(found, dict) and not isinstance(value, type) else None


def _shallow(container: Any) -> Any:
    return dict(dict.items(container)) if isinstance(container, dict) else container.copy()


def _same(now: Any, before: Any) -> bool:
    """Return whether a container holds the very objects that it held; one that is long, at most as many."""
    if isinstance(before, int):
        return not isinstance(now, list) or len(now) <= before
    if len(now) != len(before):
        return False
    if isinstance(now, dict):
        return all(map(operator.is_, dict.values(now), before.values())) and list(now) == list(before)
    return all(map(operator.is_, now, before)) if not isinstance(now, set) else now == before


def _restore(now: Any, before: Any) -> None:
    """Put tensors back, and what had been where tensors are now. Numbers and words stay: they are of no transform."""
    if isinstance(before, int):
        if _of_tensors(now[before:]):
            del now[before:]
    elif isinstance(now, dict):
        for name in [name for name in now if name not in before]:
            if _of_tensors(dict.__getitem__(now, name)):
                dict.__delitem__(now, name)
        for name, value in before.items():
            found = dict.get(now, name)
            if (found is not value or name not in now) and (_of_tensors(found) or _of_tensors(value)):
                dict.__setitem__(now, name, _without_graph(value))
    elif _of_tensors(now) or _of_tensors(before):
        now.clear()
        (now.update if isinstance(now, set) else now.extend)(before)


def _of_tensors(value: Any, depth: int = _DEEP) -> bool:
    """Return whether a value is a tensor, or holds or refers to one."""
    if isinstance(value, (Tensor, weakref.ref)):
        return True
    if isinstance(value, (str, bytes, nn.Module)) or not depth:
        return False
    inside = value if isinstance(value, (list, tuple, dict, set, collections.deque)) else _attributes(value)
    parts: Iterable[Any] = () if inside is None else inside.values() if isinstance(inside, dict) else inside
    return any(_of_tensors(part, depth - 1) for part in parts)


def _without_graph(value: Any) -> Any:
    # What a forward computes anew needs no graph, with which it could not be copied.
    plain = isinstance(value, Tensor) and not in_transform(value) and value.grad_fn is not None
    return without_graph(value) if plain else value


def _check_sizes(root: nn.Module) -> None:
    for name, module in root.named_modules():
        own: Iterable[Any] = own_parameters(module).values()
        if any(is_lazy(value) for value in own):
            raise InputError(
                f"layer '{name or 'net'}' ({type(module).__name__}) has yet to learn its sizes from a first input; run "
                "the net once, net(inputs), before a learner is made of it"
            )
