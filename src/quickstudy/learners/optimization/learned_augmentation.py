"""Learned augmentation: how far training rows are turned, shifted, scaled and made noisy is chosen by other rows.

Mounsaveng, Laradji, Ben Ayed, Vazquez & Pedersoli 2021, "Learning Data Augmentation with Online Bilevel Optimization
for Image Classification". Rows x_i of a mini-batch are changed by A with draws u_i, fresh in each step,

    theta_t+1 = theta_t - alpha grad mean_i L(f_theta(A(x_i; u_i, omega)), y_i)

and omega is learned such that the loss on the query, which is not augmented, falls. Learned across tasks: omega alone,
the ranges from which A draws (`nets.Affine`, `nets.Jitter`), as in Benton et al. 2020, "Learning Invariances in Neural
Networks from Training Data" (Augerino), who need a penalty on small ranges where here other rows judge. The task brings
its net and theta_0 (`quickstudy.problem.Problem`). The paper's online scheme is `outer.Truncated(length=1)` on
`tasks.OneTask` or `tasks.Restarts`.
Departures: ranges in the place of a generative network of transformations; any update rule.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.inner.differentiation import Differentiation
from quickstudy.inner.loop import InnerState
from quickstudy.inner.rows import ChangedRows, RowChoice
from quickstudy.learners.optimization.learned_rows import LearnedRows
from quickstudy.nets.augmentations import Affine
from quickstudy.problem import Optimizee
from quickstudy.registry import register
from quickstudy.rules import Rule


class Augmented(ChangedRows):
    """Rows that are changed at random before each step."""

    unseen: ClassVar[str] = "augmentations, which are drawn anew for"

    def __init__(self, of: RowChoice) -> None:
        super().__init__(of)
        self.drawn = True

    def ordered(self, learner: LearnedAugmentation) -> bool:
        """False, because the order of rows decides which draw each row gets."""
        return True

    def start(self, state: InnerState, support: Examples, key: Tensor | None) -> InnerState:
        """Keep the key of each step's draws."""
        state = super().start(state, support, key)
        return state._replace(key=random.key(0, state.step.device) if key is None else key)

    def take(self, learner: LearnedAugmentation, state: InnerState, support: Examples) -> Examples:
        """Return the rows, changed."""
        rows = self.of.take(learner, state, support)
        assert isinstance(rows.inputs, Optimizee)
        assert isinstance(state.key, Tensor)
        changed = learner.augment(rows.inputs.inputs, random.fold_in(random.fold_in(state.key, 5), state.step))
        return Examples(Optimizee(changed, rows.inputs.net), rows.labels, rows.mask, rows.ways, check=False)


@register("learner", family="optimisation", learns="augmentation", paper="Mounsaveng et al. 2021", tasks="problems")
class LearnedAugmentation(LearnedRows):
    """Fits a problem's net to rows that are changed at random in each step, by learned ranges.

    Args:
        augment: module from inputs (R, ...) and a key () to inputs; None for `nets.Affine()`.
        rule: the update rule; None for `rules.SGD(0.1)`.
        steps: steps on a problem in meta-training.
        batch: rows of the support a step, in random order; None for all rows.
        test_steps: steps in evaluation mode; None for the same.
        differentiation: `Unrolled()`, what None stands for; no other gradient reaches draws of each step.
        checkpoint: as for `L2O`.

    Raises:
        InputError: an argument is out of range; in `adapt`, no `Problem`, or inputs that cannot be augmented so.

    Examples:
        >>> import quickstudy as qs
        >>> learner = qs.learners.LearnedAugmentation(qs.nets.Affine(rotation=10.0))
        >>> {name: round(value, 3) for name, value in learner.augment.ranges().items()}
        {'rotation': 10.0, 'shift': 0.02, 'scale': 0.05}
    """

    def __init__(
        self,
        augment: nn.Module | None = None,
        rule: Rule | None = None,
        steps: int = 100,
        batch: int | None = None,
        test_steps: int | None = None,
        differentiation: Differentiation | None = None,
        checkpoint: int | None = None,
    ) -> None:
        super().__init__(Augmented, rule, steps, batch, test_steps, differentiation, checkpoint)
        self.augment = Affine() if augment is None else augment
