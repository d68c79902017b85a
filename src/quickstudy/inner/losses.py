"""WHAT inner steps descend: the inner loss, one part of the inner loop.

A part is asked with the learner that it is of, for what is learned across tasks are the learner's parameters. So a part
that reads them there holds no tensors; one that is also a `torch.nn.Module` may bring parameters of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from quickstudy.core import Examples, prediction_loss
from quickstudy.functional.classes import mask_absent, present
from quickstudy.inner.adapted import Theta, slice_ways
from quickstudy.inner.differentiation import Differentiation, FirstOrder

if TYPE_CHECKING:
    from quickstudy.inner.loop import GradientLearner


class InnerLoss:
    """Base of inner losses."""

    def value(self, learner: Any, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        """Return the loss () of theta on rows.

        Args:
            learner: whose part this is, a `GradientLearner`.
            theta: what adapts.
            rows: those that a step sees.
            classes: (N,) booleans, the classes that compete; None looks which of them the rows show.
        """
        raise NotImplementedError

    def refuses(self, learner: GradientLearner, differentiation: Differentiation) -> str | None:
        """Return why the outer gradient cannot pass such a loss so, or None if it can."""
        return None


class TaskLoss(InnerLoss):
    """The task's own loss: cross-entropy, squared error, or minus the log-likelihood (`core.prediction_loss`)."""

    def value(self, learner: Any, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        """Return the mean loss of the rows."""
        return prediction_loss(over_classes(learner.answers(theta, rows), rows, classes), rows)


class LearnedInnerLoss(InnerLoss):
    """Base of losses with something learned in them that nothing else depends on."""

    def refuses(self, learner: GradientLearner, differentiation: Differentiation) -> str | None:
        """Refuse gradients that do not reach the loss."""
        return constant_gradients(learner, differentiation)


def over_classes(outputs: Tensor, rows: Examples, classes: Tensor | None = None) -> Tensor:
    """Return outputs (S, N, ...) of a task's classes, with those at `ABSENT` that no row shows; of targets as they are.

    Args:
        outputs: (S, ...) of the net, which may have more than the task has classes.
        rows: S rows.
        classes: (N,) booleans, the classes that compete; None looks at the rows.

    Raises:
        InputError: the net has fewer outputs than the task has ways.
    """
    if rows.ways is None:
        return outputs
    return mask_absent(slice_ways(outputs, rows.ways), present(rows) if classes is None else classes)


def constant_gradients(learner: GradientLearner, differentiation: Differentiation) -> str | None:
    """Return why a gradient cannot pass so to what is in inner gradients alone, or None if it can."""
    if not isinstance(differentiation, FirstOrder):
        return None
    return (
        f"FirstOrder takes inner gradients for constants, and what {type(learner).__name__} learns is in them alone; "
        "use Unrolled, Implicit('neumann') or SAMA"
    )
