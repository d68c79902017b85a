"""Arrays as a net takes them: their dtype, the scale of 8-bit images, the place of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quickstudy.functional.checks import check_finite, is_tree
from quickstudy.nets.drawings import Drawings
from quickstudy.operators import trees

Array = NDArray[Any]
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def as_taken(X: Any, module: nn.Module) -> Any:
    """Return X (S, ...) as a learner's net takes it: dtype, scale of `uint8`, place of the channels.

    Integers and Booleans of a pytree stay what they are, as in meta-training: they are ids and masks.
    """
    if is_tree(X):
        return trees.map_leaves(lambda leaf: _cast(leaf, module, (*_INTEGERS, torch.bool)), X)
    inputs = _cast(X, module, _INTEGERS if any(isinstance(each, _EMBEDDINGS) for each in module.modules()) else ())
    first = next((each for each in module.modules() if isinstance(each, nn.Conv2d)), None)
    if first is None:
        return inputs
    channels = (1, 3) if any(isinstance(each, Drawings) for each in module.modules()) else (first.in_channels,)
    if inputs.ndim == 3 and 1 in channels:
        return inputs.unsqueeze(1)
    if inputs.ndim == 4 and inputs.shape[1] not in channels and inputs.shape[-1] in channels:
        return inputs.permute(0, 3, 1, 2).contiguous()
    return inputs


def _cast(X: Array, module: nn.Module, keep: tuple[torch.dtype, ...]) -> Tensor:
    """Return an array as a tensor of the learner's dtype; numbers of the kinds in `keep` stay integers or Booleans."""
    # The net within decides, not a scale or a noise of the learner's own.
    tensors = (*(t for child in module.children() for t in child.parameters()), *module.parameters(), *module.buffers())
    dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float64)
    # Torch has few operations on wide unsigned integers and none on foreign byte orders or negative strides.
    kind = np.dtype(np.int64) if X.dtype.kind == "u" and X.dtype != np.uint8 else X.dtype.newbyteorder("=")
    inputs = torch.from_numpy(np.array(X, dtype=kind, order="C"))
    if inputs.dtype == torch.uint8:
        inputs = inputs.to(dtype) / 255
    elif inputs.dtype in keep:
        inputs = inputs if inputs.dtype == torch.bool else inputs.long()
    else:
        inputs = inputs.to(dtype)
        check_finite(f"X, cast to the learner's {dtype},", inputs)
    return inputs
