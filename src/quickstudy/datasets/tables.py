"""Tables with a label for each row: files, pandas data frames, and small ones that come with scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from quickstudy.datasets.arrays import arrays
from quickstudy.datasets.base import ClassData
from quickstudy.datasets.columns import Missing, choose
from quickstudy.datasets.reading.spreadsheets import Column, read_columns
from quickstudy.errors import InputError, unknown_name
from quickstudy.registry import register

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"cancer": "load_breast_cancer", "digits": "load_digits", "iris": "load_iris", "wine": "load_wine"}
"""569 tumours of 30 attributes and 2 classes, 1,797 digits of 64 and 10, 150 flowers of 4 and 3, 178 wines of 13 and
3."""


@register("dataset")
def table(
    source: str | os.PathLike[str],
    label: str | None = None,
    inputs: str | Sequence[str] | None = None,
    group: str | None = None,
    missing: Missing = "refuse",
    name: str | None = None,
) -> ClassData:
    """Return the rows of a CSV, TSV or Parquet file as data, or one of scikit-learn's tables.

    Numbers are taken as they are, not standardised. Parquet needs the package pyarrow.

    Args:
        source: path of the file, whose first line names the columns; or 'cancer', 'digits', 'iris' or 'wine', whose
            classes are named `table:class` and which take no other argument.
        label: column of labels. None takes the first column called 'label', 'class', 'target' or 'y'. Without one it
            takes the only column of words that repeat, or the last column if it is such.
        inputs: columns that become inputs (M, D). None takes all others that serve. A column of up to 32 different
            words becomes one number 0 or 1 for each word. Dates, texts, identifiers and numbers of rows do not serve;
            `origin` tells which were left out.
        group: column of groups, no input. Where all rows of a class agree, it becomes the attribute 'group', for
            `split(by="group")`. Where they differ, it becomes the source of each row.
        missing: 'refuse' missing values, fill them in with the 'mean' of the column's other rows, or 'drop' rows.
        name: how results name the data; None means the file's name.

    Returns:
        inputs (M, D) of PyTorch's default dtype; the names of the D columns are in `origin`.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: the file is no such table, has no row, or a row is too short or long.
        InputError: a column is missing or does not serve, none is the label, or values are missing.
    """
    path = Path(source).expanduser()
    if str(source) in TABLES and not path.exists():
        if (label, inputs, group, missing, name) != (None, None, None, "refuse", None):
            raise InputError(f"the table '{source}' takes no other arguments; give the path of a file")
        return _of_sklearn(str(source))
    if not path.exists() and path.name == str(source) and not path.suffix:
        raise unknown_name("table", str(source), TABLES)
    columns = read_columns(path)
    found = _of_columns(columns, str(path), label, inputs, group, missing, name or path.name.split(".")[0])
    return found.map(lambda values: values.to(torch.get_default_dtype()))


def frame(
    df: pd.DataFrame,
    inputs: str | Sequence[str] | None = None,
    label: str | None = None,
    name: str = "frame",
    group: str | None = None,
    missing: Missing = "refuse",
) -> ClassData:
    """Return the rows of a pandas data frame as data.

    Args:
        df: the frame.
        inputs: names of D numeric columns, which become inputs (M, D), or of one column that holds an array a row.
            None takes all columns that serve. A column of up to 32 different words becomes one number for each word.
        label: name of the column of labels, as `y` of `arrays`; None as of `table`.
        name: how results name the data.
        group: as of `table`.
        missing: as of `table`.

    Raises:
        InputError: a column is missing, occurs twice, is not numeric, or holds missing values.
    """
    if not hasattr(df, "columns"):
        raise InputError(f"df must be a pandas data frame, not {type(df).__name__}; for arrays use datasets.arrays")
    if not len(df):
        raise InputError("the frame has no rows")
    if getattr(df.columns, "nlevels", 1) > 1:
        raise InputError("the frame's columns have several levels; join their names, with df.columns.map('_'.join)")
    names = list(df.columns)
    for each in names:
        if names.count(each) > 1:
            raise InputError(f"the frame has two columns '{each}'; give each column a name of its own")
    if isinstance(inputs, str) and inputs in names and label in names and _of_arrays(df[inputs]):
        if df[label].isna().any() or df[inputs].isna().any():
            raise InputError(f"column '{inputs}' or '{label}' has missing values; drop such rows")
        return arrays([np.asarray(value) for value in df[inputs]], df[label].to_numpy(), name)
    # Names may be numbers, which messages and `origin` spell as strings.
    columns = {str(each): _column(df[each]) for each in names}
    return _of_columns(columns, "the frame", label, inputs, group, missing, name)


def _of_arrays(column: pd.Series) -> bool:
    return bool(column.dtype == object and len(column) and hasattr(column.iloc[0], "__len__")) and not isinstance(
        column.iloc[0], str
    )


def _column(column: pd.Series) -> Column:
    """Return a column of a frame as `read_columns` gives those of a file."""
    if str(column.dtype) == "category":
        column = column.astype(column.cat.categories.dtype if not column.isna().any() else object)
    gone = column.isna().to_numpy()
    kind = column.dtype.kind
    if kind in "biuf":
        # pandas has Booleans and whole numbers with missing values, which NumPy has not.
        itemsize = column.dtype.itemsize
        return np.asarray(
            column.to_numpy("float64", na_value=np.nan) if gone.any() else column.to_numpy(f"{kind}{itemsize}")
        )
    if kind == "M":
        return np.asarray(column.dt.tz_localize(None).to_numpy("datetime64[s]"))
    values = np.empty(len(column), dtype=object)
    values[:] = [None if absent else value for value, absent in zip(column.tolist(), gone, strict=True)]
    return values


def _of_columns(
    columns: Mapping[str, Column],
    where: str,
    label: str | None,
    inputs: str | Sequence[str] | None,
    group: str | None,
    missing: Missing,
    name: str,
) -> ClassData:
    picked = [inputs] if isinstance(inputs, str) else None if inputs is None else list(map(str, inputs))
    chosen = choose(columns, where, label, picked, group, missing)
    found = arrays(chosen.inputs, chosen.labels, name, source=_numbered(chosen.groups))
    origin: dict[str, Any] = {
        "label": chosen.label,
        "columns": list(chosen.names),
        "left_out": dict(chosen.left_out),
    }
    if chosen.groups is None:
        return replace(found, origin=origin)
    # Rows are sorted by class now, and so are sources.
    kinds = [str(each) for each in np.unique(chosen.groups.astype(str))]
    sources = found.source
    assert sources is not None
    lows, highs = (
        torch.zeros(len(found.classes), dtype=torch.long).scatter_reduce(
            0, found.labels, sources, how, include_self=False
        )
        for how in ("amin", "amax")
    )
    if bool((lows == highs).all()):
        groups = tuple(kinds[place] for place in lows.tolist())
        return replace(found, attributes={"group": groups}, source=None, origin=origin)
    return replace(found, origin=origin)


def _numbered(groups: Column | None) -> Any:
    return None if groups is None else np.unique(groups.astype(str), return_inverse=True)[1]


def _of_sklearn(name: str) -> ClassData:
    # Importing it takes long.
    from sklearn import datasets

    bunch = getattr(datasets, TABLES[name])()
    return arrays(bunch.data, bunch.target, name, [f"{name}:{each}" for each in bunch.target_names])
