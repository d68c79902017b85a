"""A context that all tasks share, encoded once for a batch of them: a graph, say, or a table of items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from quickstudy.core import Examples, Learner, Output, State
from quickstudy.functional.checks import as_inputs
from quickstudy.learners.bases.around import AroundLearner
from quickstudy.operators import trees
from quickstudy.operators.answers import answer

Read = Callable[[Any, Any], Any]
"""(features of the context, inputs of rows) -> what the learner is given as inputs of these rows."""


class ContextState(NamedTuple):
    """The learner's state for one task, and the features of the context, which are the same in all tasks."""

    task: State
    features: Any


def places(features: Any, inputs: Tensor) -> Any:
    """Return the features (S, ...) of the places (S,) in the context that rows name."""
    return trees.map_leaves(lambda leaf: leaf[inputs], features)


class SharedContext(AroundLearner):
    """A learner of features that an encoder makes of a context, once for all tasks of a batch.

    Inputs of rows say where in the context a row is, so tasks are small. The encoder is called in `adapt` on tensors
    that have no task dimension, and under `torch.func.vmap` such a computation is done once. `predict` finds the
    features in the state. The encoder's parameters are meta-learned, and do not adapt to a task.

    Batch norm in the encoder takes its statistics from the whole context. A layer that draws random numbers, such as
    dropout, draws afresh for each task, and all that follows it is computed for each task.

    Args:
        learner: learns each task from the features of its rows.
        encoder: makes features of the context; it is called as nets are, with a dict as keyword arguments and with a
            tuple as positional ones, and returns a tensor (M, ...) or a pytree of tensors.
        context: a tensor, or a pytree of tensors: all that the encoder sees. It moves with the learner to a device, and
            is not saved with the weights, so `quickstudy.load` needs the learner that was built (`learner=`).
        read: makes the learner's inputs of the features and a task's inputs; None takes inputs as places (S,) and gives
            the features there.

    Examples:
        >>> import torch
        >>> from quickstudy.learners import ProtoNet
        >>> learner = SharedContext(ProtoNet(nn.Identity()), nn.Linear(2, 3), torch.randn(100, 2))
        >>> state = learner.adapt(Examples(torch.tensor([4, 96]), [0, 1]))
        >>> learner.predict(state, torch.tensor([5, 3, 70])).shape
        torch.Size([3, 2])
    """

    def __init__(self, learner: Learner, encoder: nn.Module, context: Any, read: Read | None = None) -> None:
        super().__init__()
        self.learner, self.encoder, self.read = learner, encoder, read or places
        self.default_objective = learner.default_objective  # type: ignore[misc]
        self.default_outer = learner.default_outer  # type: ignore[misc]
        leaves, structure = trees.flatten(as_inputs(context))
        self._numbers = trees.unflatten(list(range(len(leaves))), structure)
        for number, leaf in enumerate(leaves):
            # Not saved: it is data, not what was learned.
            self.register_buffer(f"context_{number}", leaf, persistent=False)

    @property
    def context(self) -> Any:
        """The context, as the encoder is given it."""
        return trees.map_leaves(lambda number: getattr(self, f"context_{number}"), self._numbers)

    def adapt(self, support: Examples, key: Tensor | None = None) -> ContextState:
        """Encode the context and learn from the features of the support."""
        features, _ = answer(self.encoder, self.context)
        return ContextState(self.learner.learn(self._on(features, support), key), features)

    def predict(self, state: ContextState, inputs: Any) -> Output:
        """Return the learner's predictions for the features of these rows."""
        return self.learner.predict(state.task, self.read(state.features, inputs))

    def loss(self, state: ContextState, query: Examples) -> Tensor:
        """Return the learner's own loss."""
        return self.learner.loss(state.task, self._on(state.features, query))

    def _on(self, features: Any, rows: Examples) -> Examples:
        return Examples(self.read(features, rows.inputs), rows.labels, rows.mask, rows.ways, check=False)
