"""Numbers of 16 bits, where their range or their digits do not suffice."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """Return float16 numbers, whose squares overflow from 256 on and vanish below 0.0002, in float32; others as is."""
    return x.float() if x.dtype == torch.float16 else x


def single(x: Tensor) -> Tensor:
    """Return floating numbers of 16 bits, which no linear system is solved in, in float32; others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
