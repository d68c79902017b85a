"""Adversarial examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad


def fgsm(loss: Callable[[Tensor], Tensor], inputs: Tensor, epsilon: float) -> Tensor:
    """Return inputs moved by the fast gradient sign method, x + epsilon sign(dL/dx), as constants.

    Goodfellow et al., "Explaining and Harnessing Adversarial Examples" (2015), section 4.
    """
    with torch.no_grad():
        moved: Tensor = inputs + epsilon * grad(loss)(inputs).sign()
        return moved
