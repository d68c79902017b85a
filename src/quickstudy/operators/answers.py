"""Checks that a net returns one tensor of real numbers, with a row for each row of its inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.operators import trees
from quickstudy.operators.calls import Given, Statistics, call


def answer(
    net: nn.Module,
    inputs: Any,
    params: dict[str, Tensor] | None = None,
    given: Given = None,
    mask: Tensor | None = None,
    extra: tuple[Any, ...] = (),
    flat: bool = False,
) -> tuple[Tensor, Statistics]:
    """Run a net as `calls.call` does, and check what it returns.

    Args:
        net: any module.
        inputs: S rows, a tensor or a tuple or dict of tensors.
        params: adapted parameters by name.
        given: batch statistics to use.
        mask: (S,) rows that count in batch statistics.
        extra: further positional arguments.
        flat: the output must be (S, D).

    Returns:
        The output (S, ...), and the batch statistics that were used.

    Raises:
        InputError: the output is no tensor of floating numbers, or has another number of rows or of dimensions.
        UnsupportedLayerError: a layer cannot be batched over tasks.
    """
    output, statistics = call(net, inputs, params, given, mask, extra)
    wrong = _wrong(output, _rows(inputs), flat)
    if wrong is not None:
        what = "features (rows, D)" if flat else "one tensor of floating numbers with a row for each input"
        raise InputError(f"the net ({type(net).__name__}) must return {what}, not {wrong}")
    return output, statistics


def _rows(inputs: Any) -> int | None:
    """Return the number of rows, or None if the inputs have no tensor that would say."""
    for leaf in trees.leaves(inputs):
        if isinstance(leaf, Tensor) and leaf.ndim:
            return len(leaf)
    return None


def _wrong(output: Any, rows: int | None, flat: bool) -> str | None:
    """Return what is wrong with an output, and the mend, or None."""
    if not isinstance(output, Tensor):
        return _structure(output)
    shape = tuple(output.shape)
    if output.layout != torch.strided:
        return f"a sparse or nested tensor {shape}; make it dense, with .to_dense() or torch.nested.to_padded_tensor"
    if output.is_complex():
        return f"complex numbers {shape}; return torch.view_as_real(output).flatten(1), or its magnitude"
    if not output.is_floating_point():
        return f"{shape} of {output.dtype}; return numbers before any argmax or rounding"
    if not output.ndim or (rows is not None and len(output) != rows):
        return f"{shape} for {rows} rows; let the first dimension of all that the net computes be the rows"
    if flat and output.ndim != 2:
        mend = ".flatten(1)" if output.ndim > 2 else ".unsqueeze(1)"
        return f"{shape}; flatten them with output{mend} (nets.conv4 does unless flatten=False)"
    return None


def _structure(output: Any) -> str:
    if output is None:
        return "None; end its forward with a return"
    kind = type(output).__name__
    if isinstance(output, Mapping):
        keys, form = [repr(key) for key in output], "net(inputs)[{}]"
    elif dataclasses.is_dataclass(output):
        keys, form = [field.name for field in dataclasses.fields(output)], "net(inputs).{}"
    elif isinstance(output, (tuple, list)):
        named = getattr(output, "_fields", None)
        keys, form = (list(named), "net(inputs).{}") if named else ([type(each).__name__ for each in output], "")
    else:
        return f"{kind}; wrap it in a module that returns a tensor"
    if not keys:
        return f"an empty {kind}"
    one = form.format(keys[0]) if form else "net(inputs)[0]"
    return f"{kind} of {', '.join(keys)}; wrap it in a module that returns {one}, say"
