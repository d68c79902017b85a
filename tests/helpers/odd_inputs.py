"""Odd rows, labels and numbers, drawn at random, with what is to become of each: taken as it is, or refused clearly.

A case is good or bad by how it was made, never by what the library says of it.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch

Generator = np.random.Generator


class Odd(NamedTuple):
    """A value that a user might pass."""

    value: Any
    good: bool | None
    """Whether it is to be taken (True), to be refused (False), or either, as long as the error is clear (None)."""
    kind: str


def _one_of(g: Generator, choices: list[Callable[[], Odd]], good: int) -> Odd:
    """Return one of the choices, of which the first ones are good; these more often, so that two or three meet."""
    return choices[g.integers(good if g.random() < 0.6 else len(choices))]()


def numbers(g: Generator, least: int | None = 1) -> Odd:
    """Return something passed where a whole number is asked for."""
    n = int(g.integers(-3, 9))
    good = least is None or n >= least
    choices: list[Callable[[], Odd]] = [
        lambda: Odd(n, good, "int"),
        lambda: Odd(g.choice([np.int8, np.int32, np.int64])(n), good, "numpy int"),
        lambda: Odd(np.array(n), good, "array of no dimension"),
        lambda: Odd(torch.tensor(n), good, "tensor of no dimension"),
        lambda: Odd(np.uint8(abs(n)), least is None or abs(n) >= least, "numpy uint"),
        lambda: Odd(float(g.choice([2.5, np.nan, np.inf, -np.inf, 2.0, 1e300])), False, "float"),
        lambda: Odd(np.float32(g.choice([2.5, np.nan, 2.0])), False, "numpy float"),
        lambda: Odd(torch.tensor(float(g.choice([2.5, np.nan]))), False, "tensor of a float"),
        lambda: Odd(g.choice(["3", "", "three", "nan", "1e3"]), False, "string"),
        lambda: Odd(bool(g.integers(2)), False, "bool"),
        lambda: Odd(np.bool_(g.integers(2)), False, "numpy bool"),
        lambda: Odd(torch.tensor(bool(g.integers(2))), False, "tensor of a bool"),
        lambda: Odd(int(g.choice([-1, 1])) * 2 ** int(g.integers(64, 80)), False, "beyond 64 bits"),
        lambda: Odd([n], False, "list"),
        lambda: Odd({"n": n}, False, "dict"),
        lambda: Odd(complex(n, 0), False, "complex"),
        lambda: Odd(decimal.Decimal(n), False, "decimal"),
        lambda: Odd(fractions.Fraction(5, 2), False, "fraction"),
        lambda: Odd(np.array([n, n]), False, "array"),
        lambda: Odd(torch.tensor([n]), False, "tensor of one dimension"),
        lambda: Odd(torch.tensor(3, device="meta"), False, "meta tensor"),
        lambda: Odd(np.ma.masked, False, "masked"),
        lambda: Odd(np.timedelta64(3, "s"), False, "length of time"),
        lambda: Odd(datetime.date(2020, 1, 1), False, "date"),
        lambda: Odd(object(), False, "object"),
        lambda: Odd(len, False, "function"),
        lambda: Odd(b"3", False, "bytes"),
    ]
    return _one_of(g, choices, 5)


def rows(g: Generator, count: int, width: int = 3) -> Odd:
    """Return something passed as `count` rows of `width` numbers; dtypes that a net of floats refuses are either."""
    x = g.normal(size=(count, width)).astype(np.float32)
    t = torch.from_numpy(x)
    bad = x.copy()
    bad[g.integers(count), g.integers(width)] = g.choice([np.nan, np.inf, -np.inf])
    mask = np.zeros(x.shape, bool)
    mask[g.integers(count), g.integers(width)] = True
    choices: list[Callable[[], Odd]] = [
        lambda: Odd(x, True, "array"),
        lambda: Odd(x.astype(np.float64), True, "array of 64 bits"),
        lambda: Odd(x.tolist(), True, "lists"),
        lambda: Odd(t, True, "tensor"),
        lambda: Odd(t.clone().requires_grad_(), True, "tensor with gradient"),
        lambda: Odd(t.mT.contiguous().mT, True, "not contiguous"),
        lambda: Odd(np.asfortranarray(x), True, "column by column"),
        lambda: Odd(x[::-1], True, "backwards"),
        lambda: Odd(np.broadcast_to(x[:1], x.shape), True, "one row again and again"),
        lambda: Odd(x.astype(">f4"), True, "foreign order of bytes"),
        lambda: Odd(np.ma.masked_array(x), True, "masked array without a mask"),
        lambda: Odd(np.asmatrix(x), True, "matrix"),
        lambda: Odd([*t], True, "list of tensors"),
        lambda: Odd([*x], True, "list of arrays"),
        lambda: Odd(bad, False, "not finite"),
        lambda: Odd(torch.from_numpy(bad), False, "tensor that is not finite"),
        lambda: Odd(bad.tolist(), False, "lists that are not finite"),
        lambda: Odd(torch.from_numpy(bad).to(torch.complex64), False, "complex that is not finite"),
        lambda: Odd(bad.astype(np.complex64), False, "array of complex that is not finite"),
        lambda: Odd(x.astype(np.complex64), None, "complex"),
        lambda: Odd(t.to(torch.complex64), None, "tensor of complex"),
        lambda: Odd(np.ma.masked_array(x, mask), False, "masked array"),
        lambda: Odd(t.to_sparse(), False, "sparse tensor"),
        lambda: Odd(t.to_sparse_csr(), False, "sparse rows"),
        lambda: Odd(scipy.sparse.csr_matrix(x), False, "SciPy's sparse matrix"),
        lambda: Odd(t.to("meta"), False, "meta tensor"),
        lambda: Odd(torch.nested.nested_tensor([t[:1], t[:2]], layout=torch.jagged), False, "nested tensor"),
        lambda: Odd(torch.quantize_per_tensor(t, 0.1, 0, torch.quint8), False, "quantised tensor"),
        lambda: Odd(t.to(torch.float8_e4m3fn), False, "float8"),
        lambda: Odd(t.to(torch.float8_e5m2), False, "float8 of another kind"),
        lambda: Odd(t.half(), None, "half"),
        lambda: Odd(t.bfloat16(), None, "bfloat16"),
        lambda: Odd(t.double(), None, "double"),
        lambda: Odd((t * 10).long(), None, "integers"),
        lambda: Odd(t > 0, None, "Booleans"),
        lambda: Odd((x * 10).astype(np.uint16), None, "unsigned integers"),
        lambda: Odd(x.astype(object), None, "array of objects"),
        lambda: Odd(np.array([[{}] * width] * count), False, "array of dicts"),
        lambda: Odd(x.astype("m8[s]"), False, "lengths of time"),
        lambda: Odd((x * 10).astype(np.int64).astype("M8[s]"), False, "dates"),
        lambda: Odd(x.astype(str), None, "strings of numbers"),
        lambda: Odd(np.array([["a"] * width] * count), False, "strings"),
        lambda: Odd([[0.0] * (i % 2 + 1) for i in range(max(count, 2))], False, "ragged lists"),
        lambda: Odd([[[1.0]], *x.tolist()], False, "ragged depths"),
        lambda: Odd([torch.ones(2), torch.ones(3)], False, "list of tensors of two shapes"),
        lambda: Odd(float(x[0, 0]), False, "a number"),
        lambda: Odd(np.float32(1.0), False, "a number of NumPy"),
        lambda: Odd(torch.tensor(1.0), False, "a tensor of no dimension"),
        lambda: Odd(None, False, "None"),
        lambda: Odd("rows", False, "a string"),
        lambda: Odd({}, False, "an empty dict"),
        lambda: Odd([], False, "an empty list"),
        lambda: Odd(object(), False, "an object"),
        lambda: Odd(x.view([("a", "f4"), ("b", "f4"), ("c", "f4")]) if width == 3 else None, False, "records"),
        lambda: Odd(x[:-1], False, "one row less"),
        lambda: Odd(np.concatenate([x, x[:1]]), False, "one row more"),
        lambda: Odd(x[:, 0], None, "one number a row"),
        lambda: Odd(x[:, None, :], None, "another dimension"),
        lambda: Odd(x[:, :0], None, "no number a row"),
        lambda: Odd([[2**70] * width] * count, False, "beyond 64 bits"),
        lambda: Odd(np.full((count, width), 1e300), False, "beyond 32 bits"),
    ]
    return _one_of(g, choices, 14)


def labels(g: Generator, count: int, ways: int) -> Odd:
    """Return something passed as the classes 0..ways-1 of rows; names of classes and floats are either."""
    y = np.concatenate([np.arange(ways), g.integers(0, ways, count - ways)])
    t = torch.from_numpy(y)
    mask = np.zeros(count, bool)
    mask[g.integers(count)] = True
    choices: list[Callable[[], Odd]] = [
        lambda: Odd(y, True, "array"),
        lambda: Odd(y.astype(g.choice(["i1", "i2", "i4", "u1", ">i8"])), True, "integers of another kind"),
        lambda: Odd(y.tolist(), True, "list"),
        lambda: Odd(t, True, "tensor"),
        lambda: Odd(t.to(torch.uint8), True, "tensor of bytes"),
        lambda: Odd([*t], True, "list of tensors"),
        lambda: Odd(y[::-1], True, "backwards"),
        lambda: Odd(np.ma.masked_array(y), True, "masked array without a mask"),
        lambda: Odd(y[:, None], False, "column"),
        lambda: Odd(t[:, None], False, "column of a tensor"),
        lambda: Odd(np.eye(ways, dtype=int)[y], False, "one-hot"),
        lambda: Odd(torch.eye(ways).long()[t], False, "one-hot tensor"),
        lambda: Odd(np.stack([y, y], 1), False, "two labels a row"),
        lambda: Odd(y - 2, None, "negative"),
        lambda: Odd(y + 1j, False, "complex"),
        lambda: Odd(t + 1j, False, "tensor of complex"),
        lambda: Odd(y.astype(float), None, "whole floats"),
        lambda: Odd(y + 0.5, None, "fractions"),
        lambda: Odd(np.where(mask, np.nan, y), False, "NaN"),
        lambda: Odd(np.ma.masked_array(y, mask), False, "masked array"),
        lambda: Odd(y.astype(str), None, "strings"),
        lambda: Odd(y.astype(object), None, "objects"),
        lambda: Odd([None] * count, False, "None"),
        lambda: Odd([[1], [1, 2]] * (count // 2) + [[1]] * (count % 2), False, "ragged"),
        lambda: Odd([2**70] * count, False, "beyond 64 bits"),
        lambda: Odd(t.to_sparse(), False, "sparse"),
        lambda: Odd(t.to("meta"), False, "meta"),
        lambda: Odd(torch.quantize_per_tensor(t.float(), 1, 0, torch.quint8), False, "quantised"),
        lambda: Odd(t.float().to(torch.float8_e4m3fn), False, "float8"),
        lambda: Odd(torch.nested.nested_tensor([t[:1].float(), t[:2].float()], layout=torch.jagged), False, "nested"),
        lambda: Odd(y.astype("m8[D]"), False, "lengths of time"),
        lambda: Odd(int(y[0]), False, "a number"),
        lambda: Odd(torch.tensor(1), False, "a tensor of no dimension"),
        lambda: Odd(y[:-1], False, "one less"),
        lambda: Odd(None, False, "nothing"),
        lambda: Odd({}, False, "a dict"),
        lambda: Odd(object(), False, "an object"),
        lambda: Odd(np.full(count, 10**12), None, "large"),
        lambda: Odd(y > 0, None, "Booleans"),
        lambda: Odd(np.full(count, "0", dtype=object), None, "one class"),
    ]
    return _one_of(g, choices, 8)
