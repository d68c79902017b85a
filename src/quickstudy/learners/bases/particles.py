"""The base of learners that keep several sets of weights per task, each adapted by the inner loop."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, Output, prediction_loss
from quickstudy.errors import InputError
from quickstudy.functional.averaging import average_logits, each, mixture
from quickstudy.functional.classes import mask_absent, present
from quickstudy.inner.adapted import Adapted, AllParameters, Theta
from quickstudy.inner.differentiation import Unrolled
from quickstudy.inner.loop import GradientLearner, InnerState
from quickstudy.inner.losses import InnerLoss, over_classes
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Given, Statistics, given_by
from quickstudy.rules import Rule


class Particles(Adapted):
    """M sets of a net's parameters, side by side in the first dimension, each with a learned start of its own.

    Args:
        net: any module; its own weights are the first particle's start, the others' are drawn as PyTorch draws them.
        count: M.
    """

    def __init__(self, net: nn.Module, count: int) -> None:
        # The net itself is only a form: its weights are never trained.
        super().__init__(copy.deepcopy(net))
        named = dict(net.named_parameters())
        others = [named]
        for _ in range(count - 1):
            other = copy.deepcopy(net)
            for module in other.modules():
                draw = getattr(module, "reset_parameters", None)
                if callable(draw):
                    draw()
            others.append(dict(other.named_parameters()))
        self.starts = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter(torch.stack([other[name].detach() for other in others]))
                for name, value in named.items()
                if value.requires_grad
            }
        )
        if not len(self.starts):
            raise InputError("no parameter of the net requires a gradient, so there is nothing to adapt; unfreeze some")
        self.net.requires_grad_(False)

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return the learned starts, each (M, ...)."""
        return {name.replace("/", "."): value for name, value in self.starts.items()}

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Return outputs (M, rows, ...) and statistics of every particle."""
        return run_each(self.net, theta, inputs, given, mask)


class Spread(AllParameters):
    """A net's own parameters, of which the inner loop moves M copies (from where the learner draws them)."""

    own = False
    drawn = True

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Return outputs (M, rows, ...) and statistics of every copy."""
        return run_each(self.net, theta, inputs, given, mask)


def run_each(net: nn.Module, theta: Theta, inputs: Any, given: Given, mask: Tensor | None) -> tuple[Tensor, Statistics]:
    """Run a net with every set of weights of theta."""
    if isinstance(given, tuple) and given:
        found = each(lambda one, its: answer(net, inputs, one, its, mask), theta, given)
    else:
        found = each(lambda one: answer(net, inputs, one, given, mask), theta)
    return found  # type: ignore[no-any-return]


class EachLoss(InnerLoss):
    """The sum of the particles' own losses, whose gradient is each particle's of its own."""

    def value(self, learner: Any, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        """Return the sum over M."""
        outputs = learner.answers(theta, rows)
        classes = present(rows) if classes is None and rows.ways is not None else classes
        losses: Tensor = each(lambda one: prediction_loss(over_classes(one, rows, classes), rows), outputs)
        return losses.sum()


class ParticleLearner(GradientLearner):
    """Base of learners that predict with the mean of M adapted models' distributions.

    Args:
        adapted: where the models start.
        rule: moves theta, whose first dimension is M.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        noise: standard deviation of targets to begin with, learned; classification does not use it.
        batch_norm: 'support' or 'transductive'.
    """

    def __init__(
        self,
        adapted: Adapted,
        rule: Rule,
        steps: int,
        test_steps: int | None = None,
        noise: float = 0.5,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        super().__init__(adapted, rule, Unrolled(), steps, test_steps, batch_norm, loss=EachLoss())
        if not noise > 0:
            raise InputError(f"noise must be positive, not {noise}")
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise)))

    @property
    def learns_only_start(self) -> bool:
        """The noise enters no inner step."""
        return True

    def predict(self, state: InnerState, inputs: Any) -> Output:
        """Return log-probabilities (Q, N), or a mixture (Q, ...) for regression."""
        outputs, _ = self.adapted.run(state.theta, inputs, given_by(self.batch_norm, state.statistics))
        if not isinstance(state.present, Tensor):
            return mixture(outputs, self.log_noise.exp())
        is_present, ways = state.present, len(state.present)
        return average_logits(each(lambda one: mask_absent(one[:, :ways], is_present), outputs))
