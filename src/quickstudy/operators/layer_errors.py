"""Errors from within a net, with the name of the layer or the shapes of the inputs that do not fit."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from quickstudy.errors import InputError, UnsupportedLayerError
from quickstudy.operators import trees

_SYMPTOMS = (
    "vmap",
    "batching rule",
    "in-place",
    "inplace",
    "doesn't match the broadcast shape",
    "is not implemented",
    "does not have a",
    "data-dependent",
    ".item()",
)


def raise_naming_layer(net: nn.Module, error: Exception) -> None:
    """Raise UnsupportedLayerError naming the innermost layer in the traceback, if vmap or a derivative failed there."""
    text = str(error)
    if not any(symptom in text for symptom in _SYMPTOMS):
        return
    found = _innermost(net, error)
    if found is not None:
        first = text.strip().splitlines()[0]
        raise UnsupportedLayerError(
            f"layer {found} cannot be batched over tasks or differentiated twice: {first.rstrip('.')}. Replace the "
            "layer, or freeze it (requires_grad_(False)) and pass its outputs as inputs."
        ) from error


def _innermost(net: nn.Module, error: Exception) -> str | None:
    """Return the name and type of the innermost layer in the traceback."""
    names = {id(module): name for name, module in net.named_modules()}
    found: nn.Module | None = None
    trace = error.__traceback__
    while trace is not None:
        candidate = trace.tb_frame.f_locals.get("self")
        if isinstance(candidate, nn.Module) and id(candidate) in names:
            found = candidate
        trace = trace.tb_next
    return None if found is None else f"'{names[id(found)] or 'net'}' ({type(found).__name__})"


_MISFITS = (
    "shapes cannot be multiplied",
    "channels, but got",
    "same dtype",
    "should be the same",
    "expected scalar type",
    "must match the size",
    "must be equal to input",
    "greater than actual input size",
    "Output size is too small",
    "D input",
    "(batched) input",
    "Given normalized_shape",
    "forward() missing",
    "forward() takes",
    "forward() got an unexpected keyword",
)


def raise_naming_inputs(net: nn.Module, inputs: Any, error: Exception) -> None:
    """Raise InputError if a layer refused the shape or dtype of its inputs."""
    text = str(error)
    if not any(misfit in text for misfit in _MISFITS):
        return
    leaves = [(path, leaf) for path, leaf in trees.named_leaves(inputs) if isinstance(leaf, Tensor)]
    given = " and ".join(f"{path} {tuple(leaf.shape)} of {leaf.dtype}".lstrip() for path, leaf in leaves)
    layer, first = _innermost(net, error) or "'net'", text.splitlines()[0]
    raise InputError(
        f"the net does not take inputs {given}: layer {layer} says '{first}'; give inputs of the shape and dtype "
        "that the net was built for, or build the net to match"
    ) from error
