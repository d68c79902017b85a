"""HOW an inner loop moves what it adapts: what an update rule is.

A rule is a module, because it may have learned parameters: Meta-SGD's rates, or a network that is the whole rule.
`start` gives its state for a task, `update` returns new theta and state; both are pure functions of tensors, so that
they can be mapped over tasks, differentiated and recorded.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

Theta = dict[str, Tensor]
"""What is adapted: tensors by name."""


class Rule(nn.Module):
    """Base of update rules."""

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> Any:
        """Return the rule's state at the beginning of a task, of so many steps where that is known (not None or 0)."""
        return ()

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return theta after one step, and the rule's new state.

        Args:
            grads: of the inner loss, by name.
            state: what `start` or the last `update` returned.
            theta: what is adapted, before the step.
            loss: scalar inner loss at theta, for rules that look at it.
        """
        raise NotImplementedError


class LearnedRule(Rule):
    """A rule that is a network, with which any net can be trained, not only the one it was meta-trained on.

    Its state is a dict with an entry for each tensor of theta, itself a dict of tensors: what `torch.optim` keeps for a
    parameter. So whatever a rule remembers of all tensors together, such as the number of steps, each entry holds.
    """

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> dict[str, dict[str, Tensor]]:
        """Return what is remembered of each tensor before the first step."""
        raise NotImplementedError
