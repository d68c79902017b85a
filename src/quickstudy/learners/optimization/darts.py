"""DARTS: architecture search by gradient descent.

Liu, Simonyan & Yang 2019, "DARTS: Differentiable Architecture Search", equations 2 to 8 and algorithm 1. Each edge of a
cell applies all operations, weighed by softmax(alpha) (`nets.CellNet`). Weights w learn from the training half (the
support), alpha from the validation half (the query), in turns:

    w     <- w - xi grad_w L_train(w, alpha)
    alpha <- alpha - grad_alpha L_val(w, alpha)

and w, though it has been moved, still depends on alpha. Second order takes that along, which equation 7 writes as
grad_alpha L_val - xi (d^2 L_train / d alpha d w) grad_w' L_val(w'): `Unrolled()`. First order takes w for a constant:
`FirstOrder()`. Learned is alpha alone; w is drawn anew for each task, and in the end a net with the strongest operation
of every edge (`discrete`) is trained from scratch. The paper's scheme is `outer.Truncated(length=1)` on
`tasks.OneTask(training half, validation half)`.

Departures: the second-order derivative is exact, not the finite difference of equation 8. The step that it looks
through is kept, rather than taken again with the new alpha (first order is exactly the paper's sequence). Any update
rule takes the place of SGD with momentum. Alpha begins at 0. In the end every edge is kept, as in Dong & Yang 2020; the
paper keeps the two strongest into each node.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Differentiation, Unrolled
from quickstudy.inner.loop import GradientLearner, InnerState
from quickstudy.inner.rows import MiniBatches
from quickstudy.inner.starts import DrawnStart
from quickstudy.nets.mixed_cells import CellNet
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Given, Statistics
from quickstudy.registry import register
from quickstudy.rules import SGD, Rule
from quickstudy.rules.base import Theta


class Relaxed(DrawnStart):
    """All weights of a net, drawn anew for each task, with the mixture softmax(alpha) as its second argument."""

    net: CellNet

    def __init__(self, net: CellNet) -> None:
        super().__init__(net)
        self.alpha = nn.Parameter(torch.zeros(net.choices))

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Run the net with weights theta."""
        return answer(self.net, inputs, theta, given, mask, extra=(self.alpha.softmax(-1),))


@register("learner", family="optimisation", learns="architecture", paper="Liu et al. 2019", tasks="both")
class DARTS(GradientLearner):
    """Training of a net of mixed cells, whose mixture is learned.

    Args:
        net: a `nets.CellNet`, copied; of its parameters only shapes matter.
        rule: the update rule of weights; None for `rules.SGD(0.1)`.
        steps: training steps in meta-training.
        batch: rows of the support a step, in random order, and in meta-training also of the query at each judgement,
            the next ones each time; None for all.
        test_steps: training steps in evaluation mode; None for the same.
        batch_norm: 'support', 'transductive' or 'frozen'.
        differentiation: `Unrolled()` for second order, what None stands for, or `FirstOrder()`.

    Raises:
        InputError: the net has no mixture, or an argument is out of range.

    Examples:
        >>> import torch, quickstudy as qs
        >>> learner = qs.learners.DARTS(qs.nets.conv_cells(), steps=2)
        >>> [learner.adapted.net.names[number] for number in learner.architecture()]
        ['skip', 'skip', 'skip']
        >>> learner.discrete()(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
    """

    default_objective: ClassVar[str] = "InnerSteps"
    """Alpha is judged after every step."""
    adapted: Relaxed

    def __init__(
        self,
        net: CellNet,
        rule: Rule | None = None,
        steps: int = 100,
        batch: int | None = None,
        test_steps: int | None = None,
        batch_norm: BatchNormPolicy = "support",
        differentiation: Differentiation | None = None,
    ) -> None:
        if not isinstance(net, CellNet):
            raise InputError(
                f"{type(self).__name__} needs a net whose cells mix operations, such as nets.conv_cells(), not "
                f"{type(net).__name__}"
            )
        passing = Unrolled() if differentiation is None else differentiation
        given = SGD(0.1) if rule is None else rule
        super().__init__(Relaxed(net), given, passing, steps, test_steps, batch_norm, batch)

    def loss(self, state: InnerState, query: Examples) -> Tensor:
        """Return the loss on the query; in meta-training with mini-batches, on the rows that are next."""
        if not self.training or not isinstance(self.rows, MiniBatches) or self.rows.size >= len(query):
            return super().loss(state, query)
        order = torch.arange(len(query), device=state.step.device)
        if query.mask is not None:
            order = (~query.mask).long().argsort(stable=True)
        return super().loss(state, self.rows.take(self, state._replace(order=order), query))

    def architecture(self) -> tuple[int, ...]:
        """Return the number of the strongest operation of each edge (E), none but the zero operation left out."""
        alpha = self.adapted.alpha.detach()
        zero = torch.tensor(self.adapted.net.zero, device=alpha.device)
        return tuple(alpha.masked_fill(zero, -math.inf).argmax(-1).tolist())

    def discrete(self) -> CellNet:
        """Return a net with the strongest operation of each edge alone, to be trained from scratch."""
        structure: Any = self.adapted.structure()
        net: CellNet = structure.discrete(self.architecture())
        return net
