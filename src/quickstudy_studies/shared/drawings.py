"""Drawings as text, so that results.json holds what figures show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_text(drawing: Tensor) -> str:
    """Return a square drawing (H, H), numbers from 0 to 1, as a byte for each pixel in hexadecimal digits."""
    levels = (255 * drawing.detach().cpu()).round().clamp(0, 255).to(torch.uint8)
    return levels.numpy().tobytes().hex()


def as_drawing(text: str) -> np.ndarray[Any, Any]:
    """Return the drawing (H, H) that `as_text` wrote, within half a level of a byte."""
    levels = np.frombuffer(bytes.fromhex(text), np.uint8).astype(np.float32) / 255
    return levels.reshape(math.isqrt(len(levels)), -1)
