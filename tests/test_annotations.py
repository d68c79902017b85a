"""Values of files against annotations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, Unpack

import pytest

from quickstudy.annotations import fits, misfits


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (3, int), (3, float), (None, int | None), ((1, 2), Sequence[int]), ((1, 2), list[int]), ((), tuple[int, ...]),
        ("a", Literal["a", "b"]), (True, bool), (True, bool | Literal["record"] | None),
        ("record", bool | Literal["record"]),
        ({"a": 1.5}, Mapping[str, float]), (True, Any), ({"a": ["b"]}, dict[str, list[str]]),
    ],
)  # fmt: skip
def test_what_fits(value: Any, hint: Any) -> None:
    assert fits(value, hint)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int), (False, float), (True, int | None), (2.5, int), ("3", int), ((1, "x"), Sequence[int]), (None, int),
        ("c", Literal["a", "b"]), ({"a": "b"}, Mapping[str, float]), ([1], int), ({}, str), ("x", list[str]),
    ],
)  # fmt: skip
def test_what_does_not_fit(value: Any, hint: Any) -> None:
    assert not fits(value, hint)


class Rest(TypedDict, total=False):
    rate: float


class Base:
    def __init__(self, rate: float = 1.0) -> None:
        self.rate = rate


class Part(Base):
    def __init__(self, size: int, free=None, **rest: Unpack[Rest]) -> None:  # type: ignore[no-untyped-def]
        super().__init__(**rest)


@dataclass
class Options:
    lr: float = 0.1
    names: tuple[str, ...] = ()


def test_arguments_are_named() -> None:
    assert misfits(Part, {"size": 3, "free": object(), "rate": 2, "unknown": "x"}) == ""
    assert misfits(Part, {"size": "x"}) == "'size' is 'x', which is no int"
    assert misfits(Part, {"size": 1, "rate": "x"}) == "'rate' is 'x', which is no float"
    assert misfits(Options, {"lr": "", "names": ()}) == "'lr' is '', which is no float"
    assert misfits(Options, {"names": (1,)}).startswith("'names' is (1,), which is no tuple[str")
