"""No figure of what is no number: predictions that are NaN or infinite are refused, not scored.

The largest of logits that are NaN is class 0, so that a learner that answers nothing would have the accuracy of a coin,
or a better one where queries are not balanced.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.core import Examples, Learner, Output
from quickstudy.errors import NonFiniteError
from quickstudy.evaluation.metrics.base import Metric
from quickstudy.evaluation.metrics.rows import row_mask
from quickstudy.functional.predictive import Predictive
from quickstudy.operators import trees


def no_answer(outputs: Output, query: Examples) -> Tensor:
    """Return (T,) whether a learner gives a row that counts no number for an answer.

    One logit may be minus infinity, for a probability of zero, but not all of a row.

    Args:
        outputs: (T, Q, ...) predictions.
        query: of T tasks.
    """
    mask = row_mask(query)
    if isinstance(outputs, Predictive):
        # Means and deviations; a weight of zero has a logarithm of minus infinity.
        return _in_rows(_bad(outputs[0], mask) | _bad(outputs[1], mask) | _rows(outputs[-1].isnan(), mask), mask)
    if isinstance(outputs, Tensor) and not query.labels.dtype.is_floating_point and outputs.ndim > 2:
        outputs = outputs.amax(2) if outputs.shape[2] else outputs
    found = [_bad(leaf, mask) for leaf in trees.leaves(outputs) if isinstance(leaf, Tensor)]
    return _in_rows(torch.stack(found).any(0), mask) if found else torch.zeros(len(mask), dtype=torch.bool)


def no_figure(scores: Tensor, metric: Metric) -> Tensor:
    """Return (T,) whether the metric (T,) of a task is no number, but for tasks where it is undefined."""
    return ~torch.isfinite(scores) & ~(scores.isnan() & metric.partial)


def refuse(bad: Tensor, learner: Learner, indices: Tensor | None = None) -> None:
    """Raise if there are tasks that a learner gives no answer to.

    Args:
        bad: (T,) whether it gives none.
        learner: any learner.
        indices: (T,) numbers of the tasks in the bank; None counts from 0.

    Raises:
        NonFiniteError: there is such a task; the message says how many, which is the first, and what to do.
    """
    if not bool(bad.any()):
        return
    first = int(bad.nonzero()[0])
    number = first if indices is None else int(indices[first])
    broken = next((name for name, p in learner.named_parameters() if not bool(torch.isfinite(p).all())), None)
    why = (
        "its inner loop diverges there: lower its learning rate or take fewer steps, or scale the inputs"
        if broken is None
        else f"its parameter '{broken}' is itself not finite: train anew, with a lower outer learning rate"
    )
    raise NonFiniteError(
        f"{type(learner).__name__} answers NaN or infinity in {int(bad.sum())} of {len(bad)} tasks, first in task "
        f"{number}, so it has no figure; {why}"
    )


def _bad(values: Tensor, mask: Tensor) -> Tensor:
    """Return (T, Q) whether a row of values (T, Q, ...) holds NaN or infinity."""
    return _rows(~torch.isfinite(values), mask)


def _rows(found: Tensor, mask: Tensor) -> Tensor:
    """Return (T, Q) whether any of a row is True; where there are no rows (T, Q), all of a task counts as each row."""
    if found.shape[:2] == mask.shape:
        return found.reshape(*mask.shape, -1).any(2)
    return found.reshape(len(mask), -1).any(1, keepdim=True).expand_as(mask)


def _in_rows(rows: Tensor, mask: Tensor) -> Tensor:
    return (rows & mask).any(1)
