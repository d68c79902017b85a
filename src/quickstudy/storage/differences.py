"""What differs between two descriptions, in JSON, and what is it called?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from quickstudy.errors import Difference

MAY_CHANGE = {"steps", "validate_every", "patience", "device", "compile", "tensorboard"}
"""Options of a recipe that may differ when a run goes on."""


def differences(here: Any, there: Any, path: str = "") -> Iterator[Difference]:
    """Yield what differs, the names of nested values joined by dots."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for name in dict.fromkeys((*here, *there)):
            # 'arguments' and 'dict' are how a description is nested, not what a user gave a name to.
            below = path if name in ("arguments", "dict") else f"{path}.{name}".lstrip(".")
            yield from differences(here.get(name), there.get(name), below)
    elif here != there:
        yield Difference(path, here, there)


def of_options(here: Any, there: Any) -> list[Difference]:
    """Return which options of a recipe differ between the notes of two runs; none where one has no recipe."""
    given, kept = (notes.get("options") if isinstance(notes, Mapping) else None for notes in (here, there))
    if not isinstance(given, Mapping) or not isinstance(kept, Mapping):
        return []
    return [each for each in differences(given, kept) if each.name not in MAY_CHANGE]
