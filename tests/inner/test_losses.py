"""What inner steps descend."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy import Examples, batching
from quickstudy.core import masked_mean
from quickstudy.errors import InputError
from quickstudy.functional.classes import ABSENT
from quickstudy.inner.adapted import AllParameters, Theta
from quickstudy.inner.differentiation import SAMA, FirstOrder, Implicit, Unrolled
from quickstudy.inner.losses import InnerLoss, LearnedInnerLoss, TaskLoss, over_classes
from quickstudy.learners import GradientLearner
from quickstudy.objectives import query_loss
from quickstudy.rules import SGD
from quickstudy.testing import check_learner
from quickstudy.testing.specimens import classification_task, regression_task

pytestmark = pytest.mark.usefixtures("float64")


class Tempered(nn.Module, LearnedInnerLoss):
    """Cross-entropy of outputs times a learned factor, a parameter of the part's own."""

    def __init__(self) -> None:
        super().__init__()
        self.log_factor = nn.Parameter(torch.tensor(0.3))

    def value(self, learner: Any, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        outputs = over_classes(learner.answers(theta, rows), rows, classes)
        losses = F.cross_entropy(self.log_factor.exp() * outputs, rows.labels, reduction="none")
        return masked_mean(losses, rows.mask)


class Twice(InnerLoss):
    """Two times the mean absolute error."""

    def value(self, learner: Any, theta: Theta, rows: Examples, classes: Tensor | None = None) -> Tensor:
        return 2 * (learner.answers(theta, rows) - rows.labels).abs().mean()


def test_a_part_of_ones_own_is_descended_as_in_a_plain_loop() -> None:
    task, net = regression_task(), nn.Linear(1, 1)
    support = batching.to_dtype(task.support, torch.float64)
    learner = GradientLearner(AllParameters(net), SGD(0.1), Unrolled(), 3, loss=Twice())
    weight, bias = net.weight.detach().clone(), net.bias.detach().clone()
    for _ in range(3):
        sign = (support.inputs @ weight.T + bias - support.labels).sign()
        weight = weight - 0.1 * 2 * (sign * support.inputs).mean(0, keepdim=True)
        bias = bias - 0.1 * 2 * sign.mean(0)
    theta = learner.adapt(support).theta
    torch.testing.assert_close(theta["weight"].detach(), weight)
    torch.testing.assert_close(theta["bias"].detach(), bias)


def test_parameters_of_a_part_are_learned() -> None:
    task = batching.to_dtype(classification_task(), torch.float64)
    learner = GradientLearner(AllParameters(nn.Linear(4, 3)), SGD(0.5), Unrolled(), 2, loss=Tempered())
    assert "inner_loss.log_factor" in dict(learner.named_parameters())
    factor = learner.inner_loss.log_factor
    query_loss(learner, task, torch.zeros(())).backward()
    values = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            factor += step
            values.append(float(query_loss(learner, task, torch.zeros(()))))
            factor -= step
    assert float(factor.grad) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)
    check_learner(learner, task)


def test_a_learned_loss_refuses_constant_gradients() -> None:
    def learner(loss: InnerLoss) -> GradientLearner:
        return GradientLearner(AllParameters(nn.Linear(4, 3)), SGD(0.5), Unrolled(), 2, loss=loss)

    assert "constants" in str(learner(Tempered()).accepts(FirstOrder()))
    assert learner(TaskLoss()).accepts(FirstOrder()) is None
    for other in (Unrolled(), Implicit("neumann"), SAMA()):
        assert learner(Tempered()).accepts(other) is None


def test_only_classes_of_the_task_compete() -> None:
    rows = Examples(torch.zeros(2, 1), [0, 2], ways=3)
    outputs = torch.arange(8.0).reshape(2, 4)
    expected = torch.tensor([[0.0, ABSENT, 2.0], [4.0, ABSENT, 6.0]])
    torch.testing.assert_close(over_classes(outputs, rows), expected)
    every = torch.tensor([True, True, True])
    torch.testing.assert_close(over_classes(outputs, rows, every), outputs[:, :3])
    with pytest.raises(InputError, match="3 ways"):
        over_classes(outputs[:, :2], rows)
    assert over_classes(outputs, Examples(torch.zeros(2, 1), torch.zeros(2))) is outputs
