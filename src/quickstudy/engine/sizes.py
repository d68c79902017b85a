"""How much at once? Every number of tasks that are computed together is chosen here, unless somebody asked for one.

Vectorised arithmetic wants many tasks, a CPU's cache and all memory want few. What counts is not the tasks but the
numbers in them, or in the largest maps that a net makes of them. On a GPU all tasks are computed at once, until memory
lacks (`engine.meta_loss`).
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from quickstudy.batching import count
from quickstudy.core import Learner, Task
from quickstudy.operators import trees
from quickstudy.operators.internals import AnyConvolution

ADAPTING_NUMBERS = 520_000
"""Numbers in the largest maps of the supports that are adapted to at once on a CPU. More is hardly faster and takes
memory, the more so as there are second derivatives through these maps."""
JUDGED_NUMBERS = 4_000_000
"""Numbers in the largest maps of the queries that are judged at once on a CPU. There is one derivative of them."""
DRAWN_NUMBERS = 1_000_000
"""Numbers in the inputs of tasks that are drawn, or evaluated, at once. A convolutional net keeps some hundreds of
bytes of activations for each, so that these stay well below a gigabyte; more at once is no faster on a CPU."""

_WIDENINGS: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()


@runtime_checkable
class Stream(Protocol):
    """A source of tasks, such as a task distribution or a bank."""

    def batch(self, start: int, count: int) -> Any:
        """Return tasks start, ..., start + count - 1, batched."""
        ...


def adapting(learner: Learner, tasks: Task, total: int) -> int:
    """Return how many of all `total` tasks adapt at once."""
    return _fitting(learner, tasks.support.inputs, ADAPTING_NUMBERS, total)


def judging(learner: Learner, tasks: Task, total: int) -> int:
    """Return how many of all `total` tasks, which have adapted, are judged on their queries at once."""
    return _fitting(learner, tasks.query.inputs, JUDGED_NUMBERS, total)


def drawing(tasks: Any) -> int:
    """Return how many tasks are drawn, or evaluated, at once.

    Args:
        tasks: what they are drawn from (see `Stream`), or a batch of them.
    """
    found = tasks.batch(0, 1) if isinstance(tasks, Stream) else tasks
    leaves = [leaf for leaf in trees.leaves(found) if isinstance(leaf, Tensor)]
    return max(1, DRAWN_NUMBERS * count(found) // max(1, sum(leaf.numel() for leaf in leaves)))


def _fitting(learner: Learner, inputs: Any, numbers: int, total: int) -> int:
    """Return how many tasks have so many numbers in a learner's largest maps on a CPU, of the inputs of all tasks."""
    leaves = [inputs] if isinstance(inputs, Tensor) else trees.leaves(inputs)
    leaves = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if any(leaf.device.type != "cpu" for leaf in leaves):
        return total
    size = sum(leaf.numel() for leaf in leaves) * _widening(learner)
    return max(1, int(numbers * total // max(1, size)))


def _widening(learner: nn.Module) -> float:
    """Return how many numbers a learner's layers make, at most, of one number of the inputs."""
    if learner not in _WIDENINGS:
        convolutions = [m for m in learner.modules() if isinstance(m, AnyConvolution)]
        _WIDENINGS[learner] = max([1.0, *(m.out_channels / m.in_channels for m in convolutions)])
    return _WIDENINGS[learner]
