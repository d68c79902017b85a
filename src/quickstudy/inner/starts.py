"""Where an inner loop starts that does not learn its start: what is meta-learned lies elsewhere."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.inner.adapted import AllParameters, Theta
from quickstudy.inner.differentiation import Differentiation, FirstOrder
from quickstudy.inner.loop import GradientLearner, InnerState
from quickstudy.nets.initialisation import initialise


class FixedStart(AllParameters):
    """All parameters that require a gradient, from the values they have now, which are never learned.

    Args:
        net: is copied.
    """

    own: ClassVar[bool] = False

    def __init__(self, net: nn.Module) -> None:
        super().__init__(copy.deepcopy(net))
        self._adapted = tuple(super().names())
        self.net.requires_grad_(False)

    def names(self) -> list[str]:
        """Names of the adapted parameters."""
        return list(self._adapted)


class DrawnStart(FixedStart):
    """All parameters that require a gradient, drawn anew from a key as PyTorch draws them (`nets.initialisation`)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        # In a tuple, so that it is no submodule: of it only layers and shapes are used.
        self._structure = (copy.deepcopy(net),)

    def draw(self, key: Tensor) -> Theta:
        """Return theta_0 for a key ()."""
        like = dict(self.net.named_parameters())
        drawn = initialise(self._structure[0], key)
        return {name: drawn[name].to(like[name].dtype) for name in self.names()}


class DrawnStartLearner(GradientLearner):
    """A gradient learner each of whose tasks starts from parameters drawn with the task's key."""

    adapted: DrawnStart

    @property
    def stochastic(self) -> bool:
        """The start is drawn with a key."""
        return True

    def start(self, support: Examples, key: Tensor | None = None) -> InnerState:
        """Return the state before the first step."""
        state = super().start(support, key)
        key = random.key(0, state.step.device) if key is None else key
        theta = self.adapted.draw(random.fold_in(key, 11))
        steps = torch.full_like(state.step, self.inner_steps)
        return state._replace(theta=theta, initial=theta, rule=self.rule.start(theta, steps))


def loss_alone(learner: GradientLearner, differentiation: Differentiation) -> str | None:
    """Return why a gradient cannot pass so to what only an inner loss depends on, or None if it can."""
    if not isinstance(differentiation, FirstOrder):
        return None
    return (
        f"FirstOrder takes inner gradients for constants, and what {type(learner).__name__} learns is in them alone; "
        "use Unrolled, Implicit('neumann') or SAMA"
    )
