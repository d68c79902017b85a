"""Other tensors in the place of a module's parameters and buffers, for one thread alone and for a while.

`torch.func.functional_call` puts them into the module and takes them out again. For a moment every thread sees them,
and a layer under two names gets the wrong ones back. Here the module stays as it is. The dictionaries that its
parameters and buffers are read from answer each thread by itself: `Slots`. They know a tensor by its identity, so a
layer or a parameter under several names is one.

What a forward leaves on its modules is put back when the scope ends (`undisturbed`), for it may be of a transform.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.operators import precision, traces
from quickstudy.operators.internals import level, own_buffers, own_modules, own_parameters, set_own, transforming

log = logging.getLogger(__name__)


class Scope:
    """The view of one thread: what it sees in place of the tensors that modules hold."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.level = level()
        self.values: dict[int, Tensor] = {} if outer is None else outer.values
        """Tensors in the place of others, by the identity of these."""
        self.written: dict[tuple[int, str], Any] = {} if outer is None else dict(outer.written)
        """What was assigned to names of parameters and buffers, by the identity of their `Slots` and by name."""
        self.updated: dict[int, Tensor] = {} if outer is None else dict(outer.updated)
        """What buffers became in place, by the identity of the buffer."""
        self.standing = traces.Standing()
        self.turn: traces.Turn = traces.Turn(outer is None or outer.turn.waits)
        self._alive: list[Tensor] = []

    def seen(self, slots: Slots, name: str, value: Any) -> Any:
        """Return what is seen under a name of a module that holds a value there."""
        if self.written:
            value = self.written.get((id(slots), name), value)
        value = self.values.get(id(value), value)
        return self.updated.get(id(value), value) if self.updated else value

    def resolved(self, value: Any) -> Any:
        """Return what is seen in place of a tensor, also in lists and tuples."""
        if isinstance(value, (list, tuple)) and value and type(value) in (list, tuple):
            parts = [self.resolved(part) for part in value]
            return value if all(a is b for a, b in zip(parts, value, strict=True)) else type(value)(parts)
        value = self.values.get(id(value), value)
        return self.updated.get(id(value), value) if self.updated else value

    def update(self, buffer: Tensor, value: Tensor) -> None:
        """Let a buffer be seen as another tensor from now on."""
        self.updated[id(buffer)] = value
        self._alive.append(buffer)


class _Here(threading.local):
    scope: Scope | None = None
    carried: dict[int, Tensor] | None = None


_HERE = _Here()
_INSTALLING = threading.Lock()
_TOLD: set[str] = set()


def scope() -> Scope | None:
    """Return this thread's scope, if one is open."""
    return _HERE.scope


class Slots(traces.Marked):
    """A module's dictionary of parameters or buffers. It shows each thread what that thread has put in their place."""

    def __getitem__(self, name: str) -> Any:
        value = dict.__getitem__(self, name)
        scope = _HERE.scope
        return value if scope is None else scope.seen(self, name, value)

    def __setitem__(self, name: str, value: Any) -> None:
        scope = _HERE.scope
        if scope is None or name not in self:
            dict.__setitem__(self, name, value)
        else:
            scope.written[id(self), name] = value

    def get(self, name: str, default: Any = None) -> Any:
        """Return what is seen under a name."""
        return self[name] if name in self else default  # noqa: SIM401

    def items(self) -> Any:
        """Return names and what is seen under them."""
        return dict.items(self) if _HERE.scope is None else {name: self[name] for name in self}.items()

    def values(self) -> Any:
        """Return what is seen."""
        return dict.values(self) if _HERE.scope is None else {name: self[name] for name in self}.values()

    def held(self) -> dict[str, Any]:
        """Return what the module holds, whatever is seen."""
        return dict(dict.items(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Copies and files hold what the module holds, in a plain dictionary.
        return dict, (self.held(),)


def prepare(module: nn.Module) -> list[nn.Module]:
    """Let the tensors of a module and of all modules in it be exchanged; return these modules, each once."""
    found = traces.modules(module)
    for each in found:
        if type(own_parameters(each)) is not Slots or type(own_buffers(each)) is not Slots:
            with _INSTALLING:
                own = [own if type(own) is Slots else Slots(own) for own in (own_parameters(each), own_buffers(each))]
                set_own(each, *own)
    return found


@contextmanager
def undisturbed(*modules: nn.Module) -> Iterator[Scope]:
    """Put back, where the present transform's outermost scope ends, whatever was left on the modules meanwhile.

    Attributes, buffers, and what lists, sets and dictionaries of the modules hold are then as they were. Within the
    scope all of it can be read. Other threads never see what is assigned to buffers, and wait for the end of the scope
    where they would see what else is left on modules.

    Raises:
        InputError: a layer has yet to learn its sizes from a first input.
    """
    outer = _HERE.scope
    if outer is not None and outer.level == level():
        for module in modules:
            _keep(outer, module)
        yield outer
        return
    opened = Scope(outer)
    if outer is None and _HERE.carried is not None:
        opened.values, opened.turn.waits = dict(_HERE.carried), False
    with opened.turn:
        try:
            for module in modules:
                _keep(opened, module)
            _HERE.scope = opened
            yield opened
        finally:
            _HERE.scope = outer
            opened.standing.end(put_back=True)
            if opened.written:
                _tell(name for _, name in opened.written)


@contextmanager
def in_turn(module: nn.Module) -> Iterator[Scope | None]:
    """Run a net: undisturbed in a transform, else so that it keeps what it leaves on its modules."""
    if _HERE.scope is not None or transforming():
        with undisturbed(module) as scope:
            yield scope
        return
    found = prepare(module)
    if not traces.needs_turn(found):
        yield None
        return
    if traces.derives(found):
        with undisturbed(module) as scope:
            yield scope
        return
    standing = traces.Standing()
    with traces.Turn() as turn:
        turn.take(found)
        standing.keep(module, found)
        try:
            yield None
        finally:
            standing.end(put_back=False)


def _keep(scope: Scope, module: nn.Module) -> None:
    if id(module) not in scope.standing.roots:
        found = prepare(module)
        scope.turn.take(found)
        scope.standing.keep(module, found)


def _tell(names: Iterable[str]) -> None:
    for name in sorted(set(names) - _TOLD):
        _TOLD.add(name)
        log.warning(
            "what a net assigns to its buffer '%s' while it learns a task is not kept: no task affects another", name
        )


@contextmanager
def exchanged(module: nn.Module, values: dict[str, Tensor]) -> Iterator[Scope]:
    """Show this thread these values in place of the module's parameters and buffers of those names.

    Raises:
        InputError: there is no such name, or a layer has yet to learn its sizes from a first input.
    """
    with undisturbed(module) as scope:
        before = scope.values
        scope.values = {**before, **_places(scope, module, values)}
        try:
            yield scope
        finally:
            scope.values = before


def _places(scope: Scope, module: nn.Module, values: dict[str, Tensor]) -> dict[int, Tensor]:
    """Return values by the identity of what the module holds under their names, whatever else is seen there."""
    places: dict[int, Tensor] = {}
    owners: dict[str, nn.Module] = {}
    for name, value in values.items():
        path, _, last = name.rpartition(".")
        owner = owners.get(path)
        if owner is None:
            owner = owners[path] = _at(module, path, name)
        own = own_parameters(owner)
        held = None
        if last in own or last in (own := own_buffers(owner)):  # type: ignore[assignment]
            held = dict.__getitem__(own, last)
            if scope.written:
                held = scope.written.get((id(own), last), held)
        if held is None:
            raise _unknown(module, name)
        places[id(held)] = value
    return places


def _at(module: nn.Module, path: str, name: str) -> nn.Module:
    for part in path.split(".") if path else ():
        inside = own_modules(module).get(part)
        if inside is None:
            raise _unknown(module, name)
        module = inside
    return module


def _unknown(module: nn.Module, name: str) -> InputError:
    return InputError(f"'{name}' is no parameter or buffer of {type(module).__name__}, so nothing can take its place")


def with_parameters(module: nn.Module, values: dict[str, Tensor], function: Callable[..., Any], *args: Any) -> Any:
    """Return function(*args), with these values in place of the module's parameters of those names."""
    with exchanged(module, values):
        return function(*args)


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that sees what is exchanged now, and multiplies as is done now, wherever it is called.

    Autograd works for a GPU in a thread of its own, while the thread that waits for it may hold what others wait for.
    """
    values = {} if _HERE.scope is None else dict(_HERE.scope.values)
    thread = threading.get_ident()
    function = precision.carried(function)

    def inner(*args: Any) -> Any:
        scope, before = _HERE.scope, _HERE.carried
        if scope is not None:
            seen, scope.values = scope.values, {**scope.values, **values}
            try:
                return function(*args)
            finally:
                scope.values = seen
        if values or threading.get_ident() != thread:
            _HERE.carried = values
        try:
            return function(*args)
        finally:
            _HERE.carried = before

    return inner
