"""How do the rows of a user's tables become rows of a learner's net?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from quickstudy.cli.own_images import Rows
from quickstudy.datasets.columns import choose
from quickstudy.datasets.reading.spreadsheets import Column, read_columns
from quickstudy.errors import InputError
from quickstudy.functional.names import composed


@dataclass(frozen=True)
class OwnTables:
    """How tables are read.

    Attributes:
        label: name of the column of classes; empty as long as no support was read.
        inputs: D pairs of a column and a word. Without a word the column's number is an input; with one the input is
            1 where the column has it, else 0.
    """

    label: str = ""
    inputs: tuple[tuple[str, str | None], ...] = ()

    what: ClassVar[Literal["row"]] = "row"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, from which `OwnTables(**values)` is made again."""
        return {"label": self.label, "inputs": [list(each) for each in self.inputs]}

    def support(self, path: Path, remarks: list[str]) -> tuple[OwnTables, Rows]:
        """Return how tables like this one are read, and its rows; `remarks` says what serves for what."""
        columns = read_columns(path)
        found = choose(columns, str(path), self.label or None)
        pairs = tuple(_pair(name, columns) for name in found.names)
        own = OwnTables(found.label, pairs)
        left = "; ".join(f"'{name}' {why}" for name, why in found.left_out.items())
        told = (
            f"column '{found.label}' names the class, {len(dict.fromkeys(name for name, _ in pairs))} others are inputs"
        )
        remarks.append(f"{told}{f'; left out: {left}' if left else ''}")
        labels = tuple(_word(value) for value in found.labels)
        if len(set(labels)) < 2:
            raise InputError(f"{path} has one class, '{labels[0]}'; give rows of two or more classes")
        return own, Rows(torch.from_numpy(found.inputs.astype(np.float64)), _numbered(len(labels)), labels)

    def queries(self, path: Path, classes: Iterable[str], remarks: list[str]) -> Rows:
        """Return the rows of a table with the same columns of inputs; the label may be absent.

        Raises:
            InputError: a column is absent, or a value.
        """
        columns = read_columns(path)
        absent = list(dict.fromkeys(name for name, _ in self.inputs if name not in columns))
        if absent:
            raise InputError(
                f"{path} has no column '{absent[0]}', which the support has; it has "
                f"{', '.join(repr(name) for name in list(columns)[:20])}"
            )
        inputs = np.stack([_column(columns[name], name, word, path) for name, word in self.inputs], 1)
        unseen = {
            f"'{value}' of '{name}'"
            for name in dict.fromkeys(name for name, word in self.inputs if word is not None)
            for value in columns[name]
            if str(value) not in [word for other, word in self.inputs if other == name]
        }
        if unseen:
            remarks.append(
                f"the support has no {', '.join(sorted(unseen)[:3])}, so to the learner they are no word at all"
            )
        spelled = {composed(name): name for name in classes}
        truths = columns.get(self.label)
        labels = [None] * len(inputs) if truths is None else [spelled.get(composed(_word(each))) for each in truths]
        return Rows(torch.from_numpy(inputs), _numbered(len(inputs)), tuple(labels))


def _pair(name: str, columns: Mapping[str, Column]) -> tuple[str, str | None]:
    """Return the column, and the word if it is one of words, of an input named 'column' or 'column=word'."""
    if name in columns and columns[name].dtype.kind != "O":
        return name, None
    column = max((each for each in columns if name.startswith(f"{each}=")), key=len)
    return column, name[len(column) + 1 :]


def _column(values: Column, name: str, word: str | None, path: Path) -> NDArray[np.float64]:
    if word is not None:
        return np.array([str(value) == word for value in values], dtype=np.float64)
    if values.dtype.kind not in "biuf":
        raise InputError(f"column '{name}' of {path} holds '{str(values[0])[:30]}', not numbers as in the support")
    numbers = values.astype(np.float64)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise InputError(f"{path} has no number in column '{name}' of row {int(bad.argmax()) + 1}; fill it in")
    return numbers


def _word(value: Any) -> str:
    """Return a label as a class's name: 1 and 1.0, which columns with and without gaps hold, are one class."""
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(i + 1) for i in range(count))
