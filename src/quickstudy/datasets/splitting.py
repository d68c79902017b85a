"""Dividing classes or tasks into parts of about given sizes, so that groups stay whole."""

from __future__ import annotations

import random
from collections.abc import Sequence

from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.names import composed


def groups_of(values: Sequence[str]) -> dict[str, list[int]]:
    """Return the places of each value, values in alphabetical order."""
    found: dict[str, list[int]] = {value: [] for value in sorted(set(values))}
    for index, value in enumerate(values):
        found[value].append(index)
    return found


def chosen(given: Sequence[int] | Sequence[str], names: Sequence[str], kind: str, kinds: str) -> list[int]:
    """Return the places of things that are given by their places or names.

    Args:
        given: places, those from the end negative, or names.
        names: of all things.
        kind: how a message calls one.
        kinds: how it calls several.

    Raises:
        InputError: there is no such thing, or one is given twice.
    """
    table = {name: place for place, name in enumerate(names)}
    spelled = {composed(name): place for name, place in table.items()}
    found: list[int] = []
    for each in given:
        if isinstance(each, str) and each not in table and composed(each) not in spelled:
            raise unknown_name(kind, each, names)
        place = table.get(each, spelled.get(composed(each), 0)) if isinstance(each, str) else int(each)
        if not -len(names) <= place < len(names):
            raise InputError(f"there is no {kind} number {place}; {kinds} are numbered 0..{len(names) - 1}")
        found.append(place % len(names))
    if len(set(found)) != len(found):
        raise InputError(f"{kinds} repeats a {kind}; name each once")
    return found


def divided(values: Sequence[str], fractions: Sequence[float], seed: int, what: str) -> list[list[int]]:
    """Return the places (indices of values) of each part, where places of one value are in one part.

    Args:
        values: the group of each thing that is divided.
        fractions: share of the things in each part.
        seed: parts are a pure function of the values and this number.
        what: how a message names the values.

    Raises:
        InputError: a part would be empty, or fractions are no shares.
    """
    if not len(fractions) or min(fractions) < 0 or not sum(fractions) > 0:
        raise InputError(f"fractions must be shares such as (0.6, 0.2, 0.2), none negative, not {fractions}")
    groups = groups_of(values)
    names = list(groups)
    chance = random.Random(seed)
    chance.shuffle(names)
    # Fill the part that is furthest below its share, roughly biggest groups first, so that whole groups still
    # give about the shares asked for; a random factor lets other seeds give other splits.
    weights = {value: len(groups[value]) * 2 ** chance.uniform(-0.5, 0.5) for value in names}
    names.sort(key=lambda value: -weights[value])
    total = sum(fractions)
    parts: list[list[int]] = [[] for _ in fractions]
    for done, value in enumerate(names):
        gap = [f / total * len(values) - len(part) for f, part in zip(fractions, parts, strict=True)]
        # When as many groups remain as parts are empty, these get one each.
        short = sum(not part for part in parts) >= len(names) - done
        open_parts = [i for i, part in enumerate(parts) if not (short and part)] or list(range(len(parts)))
        parts[max(open_parts, key=lambda i: gap[i])].extend(groups[value])
    if any(not part for part in parts):
        raise InputError(f"{len(names)} groups of '{what}' cannot fill {len(parts)} parts; use fewer parts or by=None")
    return parts
