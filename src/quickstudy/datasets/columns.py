"""Choosing the label, the inputs and the groups among the columns of a table.

Shapes: M rows, D numbers of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quickstudy.datasets.reading.spreadsheets import Column, is_number
from quickstudy.errors import InputError

Missing = Literal["refuse", "mean", "drop"]

LABELS = ("label", "class", "target", "y")
"""Names of columns taken for the label, the first that there is, in letters of either case."""
_NUMBERS_OF_ROWS = ("index", "id", "unnamed: 0", "rowid", "row_id", "row")
_MOST_CATEGORIES = 32


@dataclass(frozen=True)
class Chosen:
    """What a table's columns are for.

    Attributes:
        inputs: (M, D).
        labels: (M,).
        groups: (M,) or None.
        label: name of the column of labels.
        names: D names; a category's is 'column=value'.
        left_out: why a column is no input, by its name.
    """

    inputs: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None
    label: str
    names: tuple[str, ...]
    left_out: Mapping[str, str]


def choose(
    columns: Mapping[str, Column],
    where: str,
    label: str | None = None,
    inputs: Sequence[str] | None = None,
    group: str | None = None,
    missing: Missing = "refuse",
) -> Chosen:
    """Return the inputs, labels and groups of a table.

    Args:
        columns: by name, as `read_columns` gives them.
        where: how messages call the table.
        label: column of labels; None takes the first of `LABELS`, else the only column of words, else the last column
            if it is one of words.
        inputs: columns of inputs; None takes all that serve. Columns of words become one number per word.
        group: column of groups.
        missing: what is done about missing values: 'refuse' them, take the 'mean' of the column's others, or 'drop'
            their rows. A missing word is then none of the words.

    Raises:
        InputError: a column is missing, named twice or does not serve, none is the label, or values are missing.
    """
    if missing not in ("refuse", "mean", "drop"):
        raise InputError(f"missing must be 'refuse', 'mean' or 'drop', not {missing!r}")
    for column in (*(inputs or ()), *(each for each in (label, group) if each is not None)):
        if column not in columns:
            raise InputError(f"{where} has no column '{column}'; it has {_listed(list(columns))}")
    label = _label(columns, where, group) if label is None else label
    reserved = (label,) if group is None else (label, group)
    if inputs is not None and (not inputs or label in inputs or len(set(inputs)) < len(inputs)):
        raise InputError("inputs must name at least one column, none twice, and not the label's")
    if label == group:
        raise InputError(f"column '{label}' cannot be both the label and the group")
    names = [each for each in columns if each not in reserved] if inputs is None else list(inputs)
    left_out: dict[str, str] = {}
    for name in names:
        _refuse_nearly_numbers(name, columns[name], where)
    if inputs is None:
        for name in names:
            why = _no_input(name, columns[name])
            if why:
                left_out[name] = why
        names = [name for name in names if name not in left_out]
        if not names:
            why = "; ".join(f"'{name}' {why}" for name, why in left_out.items())
            raise InputError(f"{where} has no column of inputs beside the label '{label}'{': ' if why else ''}{why}")
    kept = _kept(columns, [*names, *reserved], reserved, missing, where)
    blocks: list[NDArray[Any]] = []
    called: list[str] = []
    for name in names:
        block, values = _numbers(name, columns[name][kept], where)
        blocks.append(block)
        called += values
    return Chosen(
        inputs=np.concatenate(blocks, 1),
        labels=columns[label][kept],
        groups=None if group is None else columns[group][kept],
        label=label,
        names=tuple(called),
        left_out=left_out,
    )


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def _label(columns: Mapping[str, Column], where: str, group: str | None) -> str:
    for wanted in LABELS:
        for name in columns:
            if name.lower() == wanted and name != group:
                return name
    words = [name for name, column in columns.items() if name != group and _repeats(column)]
    if len(words) == 1 or (words and words[-1] == list(columns)[-1]):
        return words[-1]
    raise InputError(
        f"which column of {where} is the label? name it with label=...; there are {_listed(list(columns))}"
    )


def _absent(column: Column) -> NDArray[np.bool_]:
    if column.dtype.kind == "O":
        return np.array([value is None for value in column], dtype=bool)
    return (
        np.isnan(column)
        if column.dtype.kind in "fc"
        else np.isnat(column)
        if column.dtype.kind == "M"
        else (np.zeros(len(column), dtype=bool))
    )


def _words(column: Column) -> list[str]:
    """Return the different words of a column, sorted; none if it holds anything else."""
    if column.dtype.kind != "O" or not all(value is None or isinstance(value, str) for value in column):
        return []
    return sorted({value for value in column if value is not None})


def _repeats(column: Column) -> bool:
    """Return whether a column holds words that come again, so that they may be classes."""
    words = _words(column)
    return 0 < len(words) < len(column)


def _refuse_nearly_numbers(name: str, column: Column, where: str) -> None:
    """Refuse words most of which are numbers: as categories, or left out, they would silently be lost."""
    words = _words(column)
    strange = [word for word in words if not is_number(word)]
    commas = [word for word in strange if is_number(word.replace(",", ".", 1))]
    if words and 2 * (len(words) - len(strange) + len(commas)) > len(words):
        advice = "write decimal points" if commas else "empty or mend such cells"
        raise InputError(
            f"column '{name}' of {where} holds '{(commas or strange or words)[0][:30]}' among numbers; {advice}"
        )


def _no_input(name: str, column: Column) -> str:
    """Return why a column is not taken for an input unasked; empty if it is."""
    if _absent(column).all():
        return "is empty"
    if column.dtype.kind in "iuf":
        numbered = name.lower() in _NUMBERS_OF_ROWS or name.lower().endswith(("_id", " id")) or name.endswith("Id")
        # Tables are often sorted by class, so the number of a row gives its class away.
        return "numbers the rows" if numbered and len(np.unique(column)) == len(column) else ""
    if column.dtype.kind == "O":
        words = _words(column)
        if not words:
            return "holds neither numbers nor words"
        if len(words) == len(column):
            return "has another value in each row"
        return "" if len(words) <= _MOST_CATEGORIES else f"holds {len(words)} different words"
    return "" if column.dtype.kind == "b" else "holds dates"


def _kept(
    columns: Mapping[str, Column], names: Sequence[str], needed: Sequence[str], missing: Missing, where: str
) -> NDArray[np.bool_]:
    """Return which rows are used, or refuse missing values."""
    absent = {name: _absent(columns[name]) for name in names}
    short = {name: gone for name, gone in absent.items() if gone.any() and (missing == "refuse" or name in needed)}
    if missing != "drop" and short:
        rows = len(next(iter(absent.values())))
        what = ", ".join(f"'{name}' ({int(gone.sum())} of {rows} rows)" for name, gone in list(short.items())[:10])
        first = int(next(iter(short.values())).argmax())
        advice = "missing='drop' leaves such rows out"
        if not any(name in needed for name in short):
            advice = f"missing='mean' fills them in, {advice}"
        raise InputError(f"{where} has missing values in {what}, the first in row {first}; {advice}")
    kept = ~np.logical_or.reduce(list(absent.values())) if missing == "drop" else np.ones(len(columns[names[0]]), bool)
    if not kept.any():
        raise InputError(f"every row of {where} has a missing value; leave such columns out with inputs=[...]")
    return kept


def _numbers(name: str, column: Column, where: str) -> tuple[NDArray[Any], list[str]]:
    """Return a column as numbers (M, n), with their names; missing ones become the mean of the others."""
    if column.dtype.kind in "biuf":
        gone = _absent(column)
        if gone.any():
            column = np.where(gone, column[~gone].mean() if not gone.all() else 0.0, column)
        if column.dtype.kind == "f" and np.isinf(column).any():
            row = int(np.isinf(column).argmax())
            raise InputError(f"column '{name}' of {where} holds infinity, first in row {row}; clean or drop such rows")
        return column[:, None], [name]
    words = _words(column)
    if not words:
        kind = "dates" if column.dtype.kind == "M" else f"values of type {type(column[0]).__name__}"
        raise InputError(f"column '{name}' of {where} holds {kind}, not numbers; encode it first, or leave it out")
    if len(words) > _MOST_CATEGORIES or len(words) == len(column):
        example = next(value for value in column if value is not None)
        raise InputError(
            f"column '{name}' of {where} holds {len(words)} different words such as '{example[:30]}', not numbers; "
            "encode it first, or leave it out"
        )
    return np.array([[value == word for word in words] for value in column]), [f"{name}={word}" for word in words]
