"""ADML: adversarial meta-learning.

Yin, Tang, Xu & Wang 2018, "Adversarial Meta-Learning", algorithm 1. Two inner arms from one initialisation,

    theta_adv = theta - lr grad L(theta; adversarial support),  theta_c = theta - lr grad L(theta; clean support),

and the outer loss crosses them: L(theta_adv; clean query) + L(theta_c; adversarial query). Learned across tasks: an
initialisation that learns well from, and for, clean and perturbed examples. Adversarial examples are FGSM's, made
against the initialisation. Departures: both arms have one inner rate; the two outer losses are averaged in one step
rather than taken in turn; prediction uses the arm adapted to the support as given.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, prediction_loss
from quickstudy.errors import InputError
from quickstudy.functional.adversarial import fgsm
from quickstudy.inner.loop import InnerState
from quickstudy.learners.optimization.maml import MAML
from quickstudy.operators.calls import BatchNormPolicy, given_by
from quickstudy.registry import register


class Arms(NamedTuple):
    """Both arms of one task, and the perturbed support that the second learns from."""

    clean: InnerState
    adversarial: InnerState
    perturbed: Examples


@register("learner", family="optimisation", learns="a robust initialisation", paper="Yin et al. 2018", tasks="both")
class ADML(MAML):
    """MAML whose inner and outer losses cross clean and adversarial examples.

    Args:
        net: any module on one tensor of inputs.
        lr: inner learning rate of both arms.
        steps: inner steps in meta-training.
        epsilon: size of the perturbation, in units of the inputs.
        test_steps: inner steps in evaluation mode; None for the same.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 0.01,
        steps: int = 1,
        epsilon: float = 0.1,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        if epsilon < 0:
            raise InputError(f"epsilon must be 0 or more, not {epsilon}")
        super().__init__(net, lr, steps, test_steps, batch_norm)
        self.epsilon = epsilon

    @property
    def ends_where_it_starts(self) -> bool:
        """There are two ends."""
        return False

    def perturb(self, examples: Examples) -> Examples:
        """Return the rows moved against the initialisation."""
        if not isinstance(examples.inputs, Tensor):
            raise InputError("ADML perturbs one tensor of inputs; this task's inputs are a pytree")
        initial = self.adapted.initial(examples, given_by(self.batch_norm))
        theta = {name: value.detach() for name, value in initial.items()}

        def loss(inputs: Tensor) -> Tensor:
            rows = Examples(inputs, examples.labels, examples.mask, examples.ways, check=False)
            return self.inner_loss.value(self, theta, rows)

        moved = fgsm(loss, examples.inputs, self.epsilon)
        return Examples(moved, examples.labels, examples.mask, examples.ways, check=False)

    def start(self, support: Examples, key: Tensor | None = None) -> Arms:  # type: ignore[override]
        """Perturb the support; return both arms before the first step."""
        perturbed = self.perturb(support)
        return Arms(super().start(support), super().start(perturbed), perturbed)

    def step(self, state: Arms, support: Examples) -> Arms:  # type: ignore[override]
        """Make one inner step in each arm."""
        adversarial = super().step(state.adversarial, state.perturbed)
        return state._replace(clean=super().step(state.clean, support), adversarial=adversarial)

    def finish(self, state: Arms, support: Examples) -> Arms:  # type: ignore[override]
        """Finish both arms."""
        adversarial = super().finish(state.adversarial, state.perturbed)
        return state._replace(clean=super().finish(state.clean, support), adversarial=adversarial)

    def predict(self, state: Arms, inputs: Any) -> Tensor:  # type: ignore[override]
        """Predict with the arm adapted to the support as given."""
        return super().predict(state.clean, inputs)

    def loss(self, state: Arms, query: Examples) -> Tensor:
        """Return the mean of the crossed losses."""
        hard = self.perturb(query)
        crossed = torch.stack(
            [
                prediction_loss(super().predict(state.adversarial, query.inputs), query),
                prediction_loss(super().predict(state.clean, hard.inputs), query),
            ]
        )
        return crossed.mean()
