"""How does an object remember what it was built with?

`registry.register` wraps what it enters, so that each object holds the name and the arguments of the call that made it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quickstudy.functional.numbers import checks_of


def _arguments(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    named = dict(bound.arguments)
    named.pop("self", None)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            named.update(named.pop(parameter.name, {}))
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL and not named[parameter.name]:
            # A class without `__init__` has that of `torch.nn.Module`; nothing can be given by the name of `*args`.
            del named[parameter.name]
    return named


def _signature(classes: tuple[type, ...]) -> inspect.Signature:
    """Return the signature of the first class of a method resolution order that has its own `__init__`, with the
    arguments of the next ones in place of the keywords (`**rest: Unpack[...]`) that it passes on to them."""
    rank = next(i for i, cls in enumerate(classes) if "__init__" in cls.__dict__)
    signature = inspect.signature(classes[rank].__init__)  # type: ignore[misc]
    own = list(signature.parameters.values())
    if not str(own[-1].annotation).startswith("Unpack["):
        return signature
    passed = _signature(classes[rank + 1 :]).parameters.values()
    named = {parameter.name for parameter in own}
    others = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in passed if item.name not in named]
    return signature.replace(parameters=[*own[:-1], *others])


def _numbers_checked(signature: inspect.Signature) -> Callable[[Any, Any], tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return a function of positional and named arguments that returns them with every number checked."""
    checks = checks_of(signature)

    def checked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in checks:
                bound.arguments[name] = checks[name](name, value)
        return bound.args, bound.kwargs

    return checked


def record_init(cls: type, kind: str, label: str) -> None:
    """Let the instances of a class keep, as `config`, the arguments that they were built with."""
    init: Callable[..., None] = cls.__init__  # type: ignore[misc]
    signature = _signature(cls.__mro__)
    checked = _numbers_checked(signature)

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        (self, *args), kwargs = checked((self, *args), kwargs)  # type: ignore[assignment]
        # The outermost class records: a subclass that calls its parent's __init__ stays itself.
        if "config" not in self.__dict__:
            arguments = _arguments(signature, (self, *args), kwargs)
            object.__setattr__(self, "config", {kind: label, "arguments": arguments})
        init(self, *args, **kwargs)

    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    cls.__init__ = wrapped  # type: ignore[misc]


def record_call(function: Callable[..., Any], kind: str, label: str) -> Callable[..., Any]:
    """Return a function whose results keep, as `config`, the arguments that they were made with."""
    signature = inspect.signature(function)
    checked = _numbers_checked(signature)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = checked(args, kwargs)
        result = function(*args, **kwargs)
        arguments = _arguments(signature, args, kwargs)
        if kind == "dataset":
            arguments = {name: _of_data(name, value) for name, value in arguments.items()}
        made = {kind: label, "arguments": arguments}
        if isinstance(result, tuple) and kind == "dataset":
            for number, part in enumerate(result):
                arguments = {"parts": Made(made), "number": number}
                object.__setattr__(part, "config", {kind: "part", "arguments": arguments})
        else:
            object.__setattr__(result, "config", made)
        return result

    return wrapped


PLACES = {"path", "root", "source"}
"""Arguments of data sets that say where files lie."""


def _of_data(name: str, value: Any) -> Any:
    """Return an argument of a data set as it is recorded: a path in full, since whoever makes the data again may stand
    in another folder, and in place of other data how these were made, since the data would stay in memory."""
    if name in PLACES and isinstance(value, (str, os.PathLike)):
        place = os.path.abspath(os.path.expanduser(value))
        return place if os.path.exists(place) else value
    if isinstance(value, (list, tuple)):
        return [_of_data("", item) for item in value]
    config = getattr(value, "config", None)
    return Made(config) if isinstance(config, dict) else value


@dataclass(frozen=True)
class Made:
    """The result of a call that is described by the call.

    Attributes:
        config: the name and the arguments of the call, as `register` records them.
    """

    config: dict[str, Any]
