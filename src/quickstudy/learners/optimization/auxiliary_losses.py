"""Learned weights of auxiliary losses, judged by the main loss afterwards.

Navon, Achituve, Maron, Chechik & Fetaya 2021, "Auxiliary Learning by Implicit Differentiation", equations 1 and 2, with
the linear combination of losses (section 4.1):

    theta*(phi) = argmin L_main(theta; support) + sum_k exp(phi_k) L_k(theta; support)
    phi         = argmin L_main(theta*(phi); query)

Learned across tasks: a logarithm of a weight for each auxiliary loss; harmful ones go to zero. The start is fixed.
The paper's outer gradient is `outer.Gradient(through=Implicit("neumann"))`. Unrolled and online gradients
(`outer.Truncated`) work too.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, masked_mean, prediction_loss
from quickstudy.errors import InputError
from quickstudy.functional.classes import mask_absent
from quickstudy.inner.adapted import Theta, slice_ways
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.inner.loop import GradientLearner, InnerState
from quickstudy.inner.losses import LearnedInnerLoss, over_classes
from quickstudy.inner.starts import FixedStart
from quickstudy.operators.calls import BatchNormPolicy, Given, Statistics, given_by
from quickstudy.registry import register
from quickstudy.rules import SGD

INPUTS = "inputs"
"""Which entry of inputs that are a dict the net sees; others are targets of auxiliary losses."""


class Columns(FixedStart):
    """The start of a net whose first outputs are the main ones and whose others are for auxiliary losses."""

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Run the net on what of the inputs it sees."""
        return super().run(theta, inputs[INPUTS] if isinstance(inputs, dict) else inputs, given, mask)


class Weighted(LearnedInnerLoss):
    """The main loss plus the weighted auxiliary ones."""

    def value(self, learner: AuxiliaryLosses, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        """Return the sum."""
        weights, main, auxiliary = learner.log_weight.exp(), learner.outputs, learner.auxiliary
        outputs = learner.answers(theta, rows)
        if outputs.ndim != 2 or outputs.shape[1] != main + sum(auxiliary.values()):
            raise InputError(
                f"the net has outputs of shape {tuple(outputs.shape)}; it needs outputs={main} of the main loss + "
                f"{sum(auxiliary.values())} of auxiliary ones"
            )
        total, at = prediction_loss(over_classes(outputs[:, :main], rows, classes), rows), main
        for number, (name, size) in enumerate(auxiliary.items()):
            errors = (outputs[:, at : at + size] - targets(name, size, rows)).square()
            total = total + weights[number] * masked_mean(errors, rows.mask)
            at += size
        return total


def targets(name: str, size: int, rows: Examples) -> Tensor:
    """Return the targets (S, size) of an auxiliary loss, which the inputs bring.

    Raises:
        InputError: they do not, or they are of another size.
    """
    brought = rows.inputs if isinstance(rows.inputs, dict) else {INPUTS: rows.inputs}
    if name not in brought:
        raise InputError(f"the support's inputs lack the targets '{name}' of an auxiliary loss; has {list(brought)}")
    found: Tensor = brought[name].reshape(len(rows), -1)
    if found.shape[1] != size:
        raise InputError(f"auxiliary targets '{name}' have {found.shape[1]} numbers a row, not {size}")
    return found


@register("learner", family="optimisation", learns="weights of losses", paper="Navon et al. 2021", tasks="both")
class AuxiliaryLosses(GradientLearner):
    """Training of a net by gradient descent on a main loss and weighted auxiliary ones.

    The net's first `outputs` outputs are judged by the main loss, the others by auxiliary ones: squared errors to
    targets that inputs bring, `Examples({"inputs": x, "depth": z, ...}, labels)`, or to the inputs themselves. Queries
    need bring the net's inputs alone.

    Args:
        net: any module with `outputs` + sum of `auxiliary` outputs, copied; training starts from its parameters.
        outputs: of the main loss: classes N or numbers of a target.
        auxiliary: for each auxiliary loss, the name of its targets (S, ...) among the inputs ('inputs' for
            reconstruction) and how many numbers they have.
        weight: of each auxiliary loss at the beginning.
        lr: inner learning rate.
        steps: training steps.
        batch: rows a step, in random order; None for all rows.
        test_steps: training steps in evaluation mode; None for the same.
        batch_norm: 'support', 'transductive' or 'frozen'.
        differentiation: how the gradient passes where the outer optimiser does not say; None for `Unrolled()`.

    Raises:
        InputError: an argument is out of range; in `adapt`, targets are missing or do not fit.
    """

    def __init__(
        self,
        net: nn.Module,
        outputs: int,
        auxiliary: dict[str, int],
        weight: float = 1.0,
        lr: float = 0.1,
        steps: int = 100,
        batch: int | None = None,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
        differentiation: Differentiation | None = None,
    ) -> None:
        passing = Unrolled() if differentiation is None else differentiation
        super().__init__(Columns(net), SGD(lr), passing, steps, test_steps, batch_norm, batch, loss=Weighted())
        if outputs < 1 or not auxiliary or any(size < 1 for size in auxiliary.values()):
            raise InputError(f"outputs and the sizes of at least one auxiliary target must be positive: {auxiliary}")
        if not 0 < weight < math.inf:
            raise InputError(f"weight must be positive and finite, for its logarithm is learned, not {weight}")
        self.outputs, self.auxiliary = outputs, dict(auxiliary)
        self.log_weight = nn.Parameter(torch.full((len(auxiliary),), math.log(weight)))

    def predict(self, state: InnerState, inputs: Any) -> Tensor:
        """Return the main outputs (Q, N)."""
        outputs, _ = self.adapted.run(state.theta, inputs, given_by(self.batch_norm, state.statistics))
        outputs = outputs[:, : self.outputs]
        if not isinstance(state.present, Tensor):
            return outputs
        return mask_absent(slice_ways(outputs, len(state.present)), state.present)

    def weights(self) -> dict[str, float]:
        """Return the weight of each auxiliary loss."""
        return dict(zip(self.auxiliary, self.log_weight.detach().exp().tolist(), strict=True))
