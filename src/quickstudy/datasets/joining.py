"""Several data sets as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.operators import trees
from quickstudy.registry import register


@register("dataset")
def join(parts: Sequence[ClassData], name: str | None = None, by: str = "data") -> ClassData:
    """Return data sets with different classes as one, which knows of each class where it comes from.

    `tasks.FewShot(data, within='data')` then draws the classes of each task from one of them, each as often as the
    others, however many classes they have.

    Args:
        parts: data whose inputs have one shape and dtype (or one structure of them).
        name: of the whole; None joins the names of the parts by plus signs.
        by: attribute that says which part a class is from: the name of the part.

    Returns:
        The classes of all parts, in their order. Of attributes, those that all parts have are kept; so are sources and
        targets. Sources keep their numbers: those of different parts are not compared.

    Raises:
        InputError: there is no part, names of parts or classes repeat, inputs differ in structure, shape or dtype, or
            there is an attribute of the name `by` already.

    Examples:
        >>> from quickstudy.datasets import arrays
        >>> both = join([arrays([[0.0], [1.0]], ["a", "b"], "few"), arrays([[2.0]], ["c"], "one")])
        >>> both.classes, both.attributes["data"]
        (('a', 'b', 'c'), ('few', 'few', 'one'))
    """
    if not parts:
        raise InputError("join needs at least one data set")
    first = parts[0]
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise InputError(f"parts have the names {names}; give each its own, with dataclasses.replace(data, name=...)")
    for part in parts[1:]:
        for field in ("inputs", "targets"):
            one, other = getattr(first, field), getattr(part, field)
            if one is not None and other is not None and _kind(one) != _kind(other):
                raise InputError(
                    f"{field} of '{first.name}' are {_kind(one)} and of '{part.name}' {_kind(other)}; make them alike "
                    "first, with data.map(...)"
                )
    if any(by in part.attributes for part in parts):
        raise InputError(f"a part has an attribute '{by}' already; name another with by=...")
    starts = torch.tensor([0, *(len(part.classes) for part in parts)]).cumsum(0).tolist()
    shared = [key for key in first.attributes if all(key in part.attributes for part in parts)]
    return ClassData(
        inputs=trees.map_leaves(lambda *leaves: torch.cat(leaves), *(part.inputs for part in parts)),
        labels=torch.cat([part.labels + start for part, start in zip(parts, starts, strict=False)]),
        classes=tuple(each for part in parts for each in part.classes),
        name="+".join(names) if name is None else name,
        attributes={key: tuple(value for part in parts for value in part.attributes[key]) for key in shared}
        | {by: tuple(part.name for part in parts for _ in part.classes)},
        source=_all([part.source for part in parts]),
        targets=_all([part.targets for part in parts]),
    )


def _kind(value: Any) -> str:
    kinds = trees.map_leaves(lambda leaf: f"{tuple(leaf.shape[1:])} of {leaf.dtype}", value)
    return kinds if isinstance(kinds, str) else str(dict(sorted(trees.named_leaves(kinds))))


def _all(values: list[Tensor | None]) -> Tensor | None:
    """Return the rows of all, if all have some."""
    given = [value for value in values if value is not None]
    return torch.cat(given) if len(given) == len(values) else None
