"""Update rules: HOW an inner loop moves the tensors that it adapts.

A rule is a module, because it may have learned parameters: Meta-SGD's rates, or a network that is the whole rule.
`start` gives its state for a task, and `update` returns new theta and state. Both are pure functions of tensors, so
that they can be mapped over tasks, differentiated and recorded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Theta = dict[str, Tensor]
"""The adapted tensors, by name."""


class Rule(nn.Module):
    """Base of update rules."""

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> Any:
        """Return the rule's state at the beginning of a task. The number of steps is None or 0 if it is unknown."""
        return ()

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return theta after one step, and the rule's new state.

        Args:
            grads: gradients of the inner loss, by name.
            state: the state that `start` or the last `update` returned.
            theta: the adapted tensors before the step.
            loss: scalar inner loss at theta, for rules that use it.
        """
        raise NotImplementedError


Update = Callable[..., tuple[Theta, dict[str, dict[str, Tensor]]]]
"""`LearnedRule.update`, with the rule itself as its first argument."""


def spare_empty(update: Update) -> Update:
    """Decorate the update of a learned rule: tensors without numbers stay, and are not shown to it.

    They have no means or largest values, and what is NaN of one would be told to all.
    """

    @functools.wraps(update)
    def spared(
        self: Any, grads: Theta, state: dict[str, dict[str, Tensor]], theta: Theta, loss: Tensor | None = None
    ) -> tuple[Theta, dict[str, dict[str, Tensor]]]:
        full = {name: value for name, value in theta.items() if value.numel()}
        if len(full) == len(theta):
            return update(self, grads, state, theta, loss)
        moved, after = (
            update(self, *({n: of[n] for n in full} for of in (grads, state)), full, loss) if full else ({}, {})
        )
        return {n: moved.get(n, value) for n, value in theta.items()}, {n: after.get(n, state[n]) for n in theta}

    return spared


class LearnedRule(Rule):
    """A rule that is a network. It can train any net, not only the one it was meta-trained on.

    Its state is a dict with an entry for each tensor of theta. An entry is itself a dict of tensors, as `torch.optim`
    keeps for a parameter. So every entry holds whatever a rule remembers of all tensors together, such as the number of
    steps. Decorate `update` by `spare_empty`: it then sees no tensor without numbers.
    """

    def start(self, theta: Theta, steps: Tensor | int | None = None) -> dict[str, dict[str, Tensor]]:
        """Return the state of each tensor before the first step."""
        raise NotImplementedError
