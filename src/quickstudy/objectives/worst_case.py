"""The worst tasks of a meta-batch rather than the mean of all: robustness.

    loss = max_i L_i                                         (Collins, Mokhtari & Shakkottai 2020, equation 2)
    loss = CVaR_s(L) = min_c c + 1/s mean_i max(L_i - c, 0)  (Rockafellar & Uryasev 2000, equation 4)

"Task-Robust Model-Agnostic Meta-Learning" minimises the largest loss over all tasks; "Optimization of Conditional
Value-at-Risk" the mean of the worst share s of them, in which the minimum over c is that mean itself. Departure from
the former, which learns a distribution over finitely many tasks: streams have no end, so the worst are those of the
meta-batch at hand, which must not be small.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.errors import InputError
from quickstudy.objectives.base import LossOfTask, Objective, Wrapper
from quickstudy.registry import register


@register("objective", why="robustness: the worst tasks")
class WorstCase(Wrapper):
    """Mean of the worst tasks' losses.

    Args:
        share: of the meta-batch that counts, 0 to 1; where it is less than one task, the worst task alone counts.
        of: the objective of each task, or its name.

    Raises:
        InputError: the share is out of range.
    """

    def __init__(self, share: float = 0.0, of: Objective | LossOfTask | str = "query_loss") -> None:
        super().__init__(of)
        if not 0 <= share <= 1:
            raise InputError(f"share must lie in 0 (the worst task alone) to 1 (all tasks), not {share}")
        self.share = share

    def combine(self, losses: Tensor) -> Tensor:
        """Return the mean () of the worst share of losses (T,); a task may count in part."""
        worst = max(self.share * len(losses), 1.0)
        place = torch.arange(len(losses), dtype=losses.dtype, device=losses.device)
        weights = (worst - place).clamp(0, 1) / worst
        # What does not count may be infinite.
        return torch.where(weights > 0, losses.sort(descending=True).values, 0) @ weights
