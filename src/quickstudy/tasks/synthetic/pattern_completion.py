"""Completion of binary patterns, the first experiment of Miconi et al. 2018 (section 4.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution


@register("tasks")
class PatternCompletion(TaskDistribution):
    """Random patterns of -1 and 1 are shown, then come back with half of their bits erased (0), to be restored.

    Support rows have a pattern as input and as target; a query row for each pattern has the erased pattern as input and
    the whole one as target. The paper has 5 patterns of 1,000 bits.

    Args:
        bits: of a pattern.
        patterns: of a task.
        presentations: of each pattern in the support, in random order.
        erased: fraction of the bits that queries lack.
        seed: the stream's seed.

    Raises:
        InputError: a number that is not positive, or a fraction outside [0, 1].
    """

    name = "pattern-completion"
    metric = "mse"

    def __init__(
        self, bits: int = 100, patterns: int = 5, presentations: int = 2, erased: float = 0.5, seed: int = 0
    ) -> None:
        super().__init__(seed)
        if min(bits, patterns, presentations) < 1 or not 0 <= erased <= 1:
            raise InputError(f"{bits=}, {patterns=} and {presentations=} must be at least 1, {erased=} between 0 and 1")
        self.bits, self.patterns, self.presentations, self.erased = bits, patterns, presentations, erased

    def plan(self, indices: Tensor) -> Plan:
        """Draw patterns, the order in which they are shown, and which bits are erased."""
        keys, p = self.keys(indices), self.patterns
        bits = random.below(random.fold_in(keys, 1), 2, p, self.bits)
        each = random.fold_in(random.fold_in(keys, 2).unsqueeze(1), torch.arange(p, device=keys.device))
        ranks = random.permutation(each, self.bits)
        return {
            "patterns": 2 * bits - 1,
            "order": random.permutation(random.fold_in(keys, 3), p * self.presentations) % p,
            "erased": ranks < round(self.erased * self.bits),
        }

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs and targets (T, S, bits)."""
        patterns = plan["patterns"].to(torch.get_default_dtype())
        shown = patterns.gather(1, plan["order"].unsqueeze(-1).expand(-1, -1, self.bits))
        query = torch.where(plan["erased"], 0.0, patterns)
        return Task(Examples(shown, shown, check=False), Examples(query, patterns, check=False))

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        facts = {"bits": self.bits, "patterns": self.patterns, "presentations": self.presentations}
        return {**super().describe(), **facts, "erased": self.erased}
