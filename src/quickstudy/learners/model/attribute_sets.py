"""A learner for tasks with any number of inputs and of outputs: it reads a support as a table, not as vectors.

Iwata & Kumagai 2020, "Meta-learning from Tasks with Heterogeneous Attribute Spaces", section 3. Every attribute i and
every response j (a class, or a target) is represented by what the support shows of it:

    v_i = mean_n f(x_ni),   c_j = mean_n f(y_nj)                      (each by itself)
    u_n = f(mean_i f(x_ni, v_i), mean_j f(y_nj, c_j))                 (a row, by all that is in it)
    w_ij = mean_n f(x_ni, y_nj, u_n),   c_j = mean_n f(y_nj, u_n)     (again, by the rows)
    y_j(x) = f(mean_i f(x_i, w_ij), c_j)

where each f is a perceptron of its own. Learned across tasks: the perceptrons, none of which knows how many attributes,
rows or classes there are, or in what order.
Departures: w_ij stands for an attribute together with a response, where the paper has v_i = mean_n f(x_ni, u_n), for an
attribute alone. For where classes have as many rows each, the first c_j are all equal, so that neither u_n nor such a
v_i could tell of which class a row is. And what is averaged goes on as it is, where the paper has a further perceptron
after each mean; u_n reads both its means side by side, not their sum.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples, Learner
from quickstudy.errors import InputError
from quickstudy.functional.classes import label_features, mask_absent, one_hot, present
from quickstudy.registry import register


class Perceptron(nn.Module):
    """Two linear layers on several vectors side by side, whose other dimensions broadcast."""

    def __init__(self, width: int, *sizes: int, outputs: int | None = None) -> None:
        super().__init__()
        # A linear layer of vectors side by side is the sum of layers, one for each; and they need not be repeated.
        self.first = nn.ModuleList(nn.Linear(size, width, bias=i == 0) for i, size in enumerate(sizes))
        self.second = nn.Linear(width, width if outputs is None else outputs)

    def forward(self, *parts: Tensor) -> Tensor:
        """Map parts (..., size), one for each size, to (..., outputs)."""
        total = self.first[0](parts[0])
        for layer, part in zip(self.first[1:], parts[1:], strict=True):
            total = total + layer(part)
        return self.second(F.relu(total))  # type: ignore[no-any-return]


class Table(NamedTuple):
    """A support."""

    x: Tensor
    """(S, D) values of the attributes."""
    y: Tensor
    """(S, J) responses: one-hot classes, or targets."""
    real: Tensor
    """(S,) False in padding rows."""
    has: Tensor
    """(D,) False for attributes that the task lacks."""
    asked: Tensor
    """(J,) False for classes without a row."""


class Representations(NamedTuple):
    """The state of one task."""

    pairs: Tensor
    """(D, J, W) representation of each attribute with each response."""
    responses: Tensor
    """(J, W) representation of each response."""
    has: Tensor
    """(D,) False for attributes that the task lacks."""
    asked: Tensor
    """(J,) False for classes without a row."""


@register(
    "learner",
    family="model",
    learns="how to read a table of any size",
    paper="Iwata & Kumagai 2020",
    tasks="both",
)
class AttributeSets(Learner):
    """Represents each attribute and each class by what the support shows of it; tasks may differ in both.

    Inputs are (S, D), or (S, D, 2) with the indicators of `tasks.Attributes`, which are of a whole task: an attribute
    that any support row has counts in all rows, and the query's indicators are not looked at.

    Args:
        width: of all representations and hidden layers.

    Raises:
        InputError: a width that is not positive.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise InputError(f"{width=} must be positive")
        self.attribute, self.response = Perceptron(width, 1), Perceptron(width, 1)
        self.values, self.answers = Perceptron(width, 1, width), Perceptron(width, 1, width)
        self.row, self.pair = Perceptron(width, width, width), Perceptron(width, 1, 1, width)
        self.again, self.query = Perceptron(width, 1, width), Perceptron(width, 1, width)
        self.head = Perceptron(width, width, width, outputs=1)

    def adapt(self, support: Examples) -> Representations:
        """Represent the support's attributes and responses."""
        x, y, real, has, asked = read(support)
        x, y = x.unsqueeze(-1), y.unsqueeze(-1)
        v, c = mean(self.attribute(x), real, 0), mean(self.response(y), real, 0)
        u = self.row(mean(self.values(x, v), has, 1), mean(self.answers(y, c), asked, 1)).unsqueeze(1)
        w = mean(self.pair(x.unsqueeze(2), y.unsqueeze(1), u.unsqueeze(1)), real, 0)
        return Representations(w, mean(self.again(y, u), real, 0), has, asked)

    def predict(self, state: Representations, inputs: Any) -> Tensor:
        """Return (Q, N) logits, or (Q, targets) for regression."""
        x, _ = columns(inputs)
        if x.shape[1] != len(state.has):
            raise InputError(f"the query has {x.shape[1]} attributes but the support {len(state.has)}")
        row = mean(self.query(x[:, :, None, None], state.pairs), state.has, 1)
        return mask_absent(self.head(row, state.responses).squeeze(-1), state.asked)


def columns(inputs: Any) -> tuple[Tensor, Tensor]:
    """Return values (S, D) and whether each row has each (S, D)."""
    if isinstance(inputs, Tensor) and inputs.ndim == 2:
        return inputs, torch.ones_like(inputs, dtype=torch.bool)
    if isinstance(inputs, Tensor) and inputs.ndim == 3 and inputs.shape[2] == 2:
        return inputs[..., 0], inputs[..., 1] > 0
    shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
    raise InputError(f"inputs must be (S, D), or (S, D, 2) with indicators as of tasks.Attributes, not {shape}")


def read(support: Examples) -> Table:
    """Return a support as a table."""
    x, has = columns(support.inputs)
    real = support.counted
    if support.ways is None:
        y = label_features(support, support.labels[0].numel(), x.dtype)
        asked = torch.ones_like(y[0], dtype=torch.bool)
    else:
        y, asked = one_hot(support, x.dtype), present(support)
    return Table(x, y, real, (has & real.unsqueeze(1)).any(0), asked)


def mean(rows: Tensor, counts: Tensor, dim: int) -> Tensor:
    """Return the mean of rows along a dimension over which only some count."""
    mask = counts.reshape(-1, *(1,) * (rows.ndim - dim - 1))
    return torch.where(mask, rows, torch.zeros_like(rows)).sum(dim) / counts.sum().clamp_min(1)
