"""Read the columns of a table from a text or Parquet file."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.datasets.reading.archives import read_gzip
from quickstudy.errors import DataError, DataNotFoundError

Column = NDArray[Any]
"""(M,) Booleans, numbers with NaN for missing ones, dates, or objects: strings with None for missing ones."""

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz", ".parquet", ".pq")
"""Names of files taken for tables."""

# What programs write where there is no number. In columns of words they are words: 'NA' is a country and a river.
_NO_NUMBER = {"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?", "-", "."}
_TRUTHS = {"true": True, "false": False}
_MOST_BYTES = 2 << 30
_MOST_CELL = 1 << 20


def read_columns(path: Path) -> dict[str, Column]:
    """Return the columns of a file by name, in its order.

    Text is CSV or TSV with a header; commas, semicolons and tabs are told apart by the header. It is UTF-8, or UTF-16
    with its mark, and may be packed by gzip. A column whose cells are all numbers, Booleans or dates becomes such.

    Raises:
        DataNotFoundError: there is no such file.
        DataError: it is not such a file, has no header or no row, a name repeats, or a row is too short or long.
    """
    if not path.exists():
        raise DataNotFoundError(f"there is no file {path}; check the path")
    if not path.is_file():
        raise DataError(f"{path} is not a plain file; a table is one CSV, TSV or Parquet file")
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        raise DataError(f"{path} is none of the tables that are read ({', '.join(TABLE_SUFFIXES)}); save it as CSV")
    found = _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _text(path)
    if not found or not len(next(iter(found.values()))):
        raise DataError(f"{path} holds no row below its header; a table needs one line for each example")
    return found


def _text(path: Path) -> dict[str, Column]:
    content = read_gzip(path, _MOST_BYTES)
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        text = content.decode("utf-16" if content.startswith(marks) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 (byte {error.start}); save it as 'CSV UTF-8'") from error
    if "\0" in text:
        raise DataError(f"{path} holds zero bytes, so it is no text; save the table as CSV")
    header = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max("\t;,", key=header.count) if path.name.lower().endswith((".csv", ".csv.gz")) else "\t"
    names: list[str] | None = None
    cells: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            # An empty line is no row, but an empty cell of a table of one column is: quotes tell them apart nowhere.
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if names is None:
                names = _names(path, row)
                cells = [[] for _ in names]
            elif len(row) != len(names):
                wanted = f"{len(row)} cells and the header {len(names)}"
                raise DataError(f"line {reader.line_num} of {path} has {wanted}; mend or remove the line")
            else:
                for column, cell in zip(cells, row, strict=True):
                    column.append(cell.strip())
    except csv.Error as error:
        raise DataError(f"line {reader.line_num} of {path} cannot be read ({error}); mend its quotes") from error
    if names is None:
        raise DataError(f"{path} is empty; a table needs a header and one line for each example")
    return {name: typed(column) for name, column in zip(names, cells, strict=True)}


def _names(path: Path, header: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in header]
    if all(is_number(name) for name in names):
        raise DataError(f"the first line of {path} holds numbers; put a line with the names of the columns above it")
    # pandas writes the numbers of rows into a column without a name.
    names = [name or ("index" if place == 0 else "") for place, name in enumerate(names)]
    for place, name in enumerate(names):
        if not name or names.index(name) < place:
            what = f"the name '{name}' again" if name else "no name"
            raise DataError(f"column {place + 1} of {path} has {what}; give each column a name of its own")
    return names


def typed(cells: Sequence[str]) -> Column:
    """Return strings as the narrowest kind that holds them all: Booleans, whole numbers, numbers, dates, or strings."""
    known = [cell for cell in cells if cell and cell.lower() not in _NO_NUMBER]
    if known and all(cell.lower() in _TRUTHS for cell in known) and len(known) == len(cells):
        return np.array([_TRUTHS[cell.lower()] for cell in cells])
    if known and all(map(is_number, known)):
        if len(known) == len(cells) and all(cell.lstrip("+-").isdigit() for cell in cells):
            whole = np.array([int(cell) for cell in cells], dtype=object)
            if all(abs(value) < 1 << 63 for value in whole):
                return whole.astype(np.int64)
            return np.array(cells, dtype=object)  # identifiers that no number of 64 bits tells apart
        return np.array([float(cell) if is_number(cell) else np.nan for cell in cells])
    if known and all(map(_looks_like_date, known[:100])):
        try:
            return np.array([cell if _looks_like_date(cell) else "NaT" for cell in cells], dtype="datetime64[s]")
        except ValueError:
            pass  # '2024-13-45' is a word
    if not known:
        return np.full(len(cells), np.nan)
    return np.array([cell or None for cell in cells], dtype=object)


def is_number(cell: str) -> bool:
    """Return whether a cell holds a number as tables spell it."""
    # Python also reads '1_000' and digits of other scripts, which no table means.
    if not cell.isascii() or "_" in cell:
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return cell.lower() != "nan"


def _looks_like_date(cell: str) -> bool:
    return len(cell) >= 8 and cell[4:5] == "-" and cell[:4].isdigit() and cell[5:7].isdigit()


def _parquet(path: Path) -> dict[str, Column]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"{path} needs pyarrow: pip install pyarrow, or save the table as CSV") from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
        rows, names = file.metadata.num_rows, file.schema_arrow.names
        if rows * max(len(names), 1) * 8 > _MOST_BYTES:
            raise DataError(f"{path} has {rows} rows of {len(names)} columns, too many for memory; take a part of it")
        if len(set(names)) < len(names):
            raise DataError(f"{path} has two columns of one name; give each column a name of its own")
        table = file.read()
        return {name: _from_arrow(table.column(name)) for name in names}
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(f"{path} is truncated, corrupt or no Parquet file ({first}); save it again") from error


def _from_arrow(column: Any) -> Column:
    """Return a column of pyarrow; whatever is no number, truth, date or text becomes objects."""
    import pyarrow

    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pyarrow.types.is_decimal(kind):
        column, kind = column.cast(pyarrow.float64()), pyarrow.float64()
    if pyarrow.types.is_boolean(kind) and column.null_count:
        column = column.cast(pyarrow.uint8()).cast(pyarrow.float64())
    if pyarrow.types.is_date(kind) or pyarrow.types.is_timestamp(kind):
        return np.asarray(column.to_numpy()).astype("datetime64[s]")
    values = np.asarray(column.to_numpy())
    if values.dtype.kind in "biuf":
        return values
    found = np.empty(len(values), dtype=object)
    found[:] = column.to_pylist()
    return found
