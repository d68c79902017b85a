"""One door for whatever lies on the disk: a folder or an archive of images, or a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.columns import Missing
from quickstudy.datasets.images import images
from quickstudy.datasets.reading.decoding import SUFFIXES, Fit
from quickstudy.datasets.reading.spreadsheets import TABLE_SUFFIXES
from quickstudy.datasets.tables import table
from quickstudy.errors import DataError, DataNotFoundError, InputError
from quickstudy.registry import register

_OF_IMAGES = {"size": 84, "channels": 3, "fit": "stretch"}
_OF_TABLES = {"label": None, "inputs": None, "group": None, "missing": "refuse"}
_BY_PYTHON = (".npy", ".npz", ".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".mat", ".h5", ".hdf5")
_SHEETS = (".xlsx", ".xls", ".ods", ".json", ".jsonl", ".feather", ".arff", ".sav", ".dta", ".txt", ".data")


@register("dataset")
def read(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] = 84,
    channels: int = 3,
    fit: Fit = "stretch",
    label: str | None = None,
    inputs: str | Sequence[str] | None = None,
    group: str | None = None,
    missing: Missing = "refuse",
    name: str | None = None,
) -> ClassData:
    """Return what lies at a path as data, which remembers how it was read.

    A folder, or a zip or tar archive, is read as `images` does; a CSV, TSV or Parquet file as `table` does.

    Args:
        path: the folder or file.
        size: of `images`.
        channels: of `images`.
        fit: of `images`.
        label: of `table`.
        inputs: of `table`.
        group: of `table`.
        missing: of `table`.
        name: how results name the data; None means the name of the folder or file.

    Returns:
        Data whose `origin` has the absolute path under 'read', the arguments that are not their defaults under
        'arguments', the `fingerprint`, and what `table` tells. `read_again` takes it.

    Raises:
        DataNotFoundError: there is no such path.
        DataError: it is neither, or corrupt; and as of `images` and `table`.
        InputError: an argument of images is given for a table or the reverse; and as of `images` and `table`.
    """
    place = Path(path).expanduser().absolute()
    kind = kind_of(place)
    given: dict[str, Any] = {"size": size, "channels": channels, "fit": fit}
    given |= {"label": label, "inputs": inputs, "group": group, "missing": missing}
    changed = {key: value for key, value in given.items() if value != {**_OF_IMAGES, **_OF_TABLES}[key]}
    foreign = [key for key in changed if key in (_OF_TABLES if kind == "images" else _OF_IMAGES)]
    if foreign:
        what = "images, which have" if kind == "images" else "a table, which has"
        raise InputError(f"{place} is read as {what} no {' or '.join(foreign)}; leave that out")
    if name is not None:
        changed["name"] = name
    found: ClassData = (images if kind == "images" else table)(place, **changed)
    arguments = {key: list(value) if isinstance(value, (tuple, list)) else value for key, value in changed.items()}
    origin = {"read": str(place), "arguments": arguments, "fingerprint": found.fingerprint, **found.origin}
    return replace(found, origin=origin)


def read_again(origin: Mapping[str, Any]) -> ClassData:
    """Return the data that `read` gave, from their `origin`.

    Raises:
        InputError: the origin is not one of `read`.
        DataNotFoundError: the folder or file is gone.
        DataError: it holds other data by now.
    """
    if not isinstance(origin, Mapping) or not {"read", "arguments", "fingerprint"} <= set(origin):
        raise InputError("the data were not read by datasets.read, so they cannot be read again; make them as before")
    arguments: dict[str, Any] = dict(origin["arguments"])
    unknown = set(arguments) - {*_OF_IMAGES, *_OF_TABLES, "name"}
    if unknown:
        raise InputError(f"datasets.read has no argument '{min(unknown)}'; the origin was changed")
    if isinstance(arguments.get("size"), list):
        arguments["size"] = tuple(arguments["size"])  # JSON has no tuples
    found = read(str(origin["read"]), **arguments)
    if found.fingerprint != origin["fingerprint"]:
        raise DataError(f"{origin['read']} holds other data than when it was read before; bring the old ones back")
    return found


def kind_of(path: Path) -> str:
    """Return 'images' for a folder or an archive, 'table' for a table.

    Raises:
        DataNotFoundError: there is no such path.
        DataError: it is neither; the message says what to do.
    """
    if not path.exists():
        raise DataNotFoundError(f"there is no folder or file {path}; check the path")
    lower = path.name.lower()
    if path.is_dir():
        return "images"
    if not path.is_file():
        raise DataError(f"{path} is neither a folder nor a plain file; give a folder of images, an archive or a table")
    if lower.endswith(TABLE_SUFFIXES):
        return "table"
    if lower.endswith(SUFFIXES):
        raise DataError(f"{path} is one image; give the folder that holds a folder of images for each class")
    if lower.endswith(_BY_PYTHON):
        raise DataError(f"{path} is not read here; load it in Python and use datasets.arrays(X, y)")
    if lower.endswith(_SHEETS):
        raise DataError(f"{path} is not read here; save the table as CSV, with the names of columns in its first line")
    return "images"
