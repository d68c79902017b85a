"""Sums over inner steps: the weights by hand, the sum by a plain loop, the gradient by finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quickstudy import batching, learners, objectives, rules
from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.objectives import AnnealedSteps, DiscountedSteps, InnerSteps, query_loss
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp, problem_task, regression_task
from tests.helpers.masked import masked_task

pytestmark = pytest.mark.usefixtures("float64")
KEY = random.key(0)


def learner(name: str = "MAML", steps: int = 4) -> Learner:
    made = CLASSIFICATION[name](mlp, WAYS).double()
    made.steps = made.test_steps = steps  # type: ignore[assignment]
    return made


def task() -> Task:
    return batching.to_dtype(masked_task(), torch.float64)  # type: ignore[no-any-return]


def weights(objective: InnerSteps, steps: int) -> list[float]:
    return objective.weight(torch.arange(1, steps + 1), steps).tolist()  # type: ignore[no-any-return]


class LastStep(InnerSteps):
    def weight(self, step: Tensor, steps: int) -> Tensor:
        return query_loss.weight(step, steps)


def test_weights_by_hand() -> None:
    assert weights(InnerSteps(), 4) == [0.25] * 4
    assert weights(DiscountedSteps(0.5), 3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert weights(DiscountedSteps(1.0), 5) == pytest.approx([0.2] * 5)
    assert query_loss.weight(torch.arange(1, 4), 3).tolist() == [0, 0, 1]


def test_annealed_weights_follow_the_schedule_of_maml_plus_plus() -> None:
    """Five inner steps and 15 of 100 epochs, as for miniImageNet."""
    objective = AnnealedSteps(over=0.15)
    assert weights(objective, 5) == pytest.approx([0.2] * 5)
    for epoch in range(15):
        objective.schedule(epoch / 100)
        decay = 1 / 5 / 15
        early = max(1 / 5 - epoch * decay, 0.03 / 5)
        last = min(1 / 5 + epoch * 4 * decay, 1 - 4 * 0.03 / 5)
        assert weights(objective, 5) == pytest.approx([early] * 4 + [last], abs=1e-6)
    objective.schedule(0.1499)
    assert weights(objective, 5) == pytest.approx([0.006] * 4 + [0.976], abs=1e-6)
    for done in (0.15, 0.7, 1.0):
        objective.schedule(done)
        assert weights(objective, 5) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("objective", [InnerSteps(), AnnealedSteps(), DiscountedSteps(0.7)])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_weights_sum_to_one(objective: InnerSteps, steps: int) -> None:
    for done in (0.0, 0.05, 0.1499, 0.2):
        if isinstance(objective, AnnealedSteps):
            objective.schedule(done)
        assert sum(weights(objective, steps)) == pytest.approx(1)


@pytest.mark.parametrize("name", ["MAML", "FOMAML", "ADML", "MetaSGD", "CAVIA", "ProtoMAML", "Reptile"])
def test_the_sum_is_that_of_a_plain_loop(name: str) -> None:
    made, given = learner(name, 3), batching.to_dtype(classification_task(), torch.float64)
    expected = torch.zeros(())
    for steps, share in ((1, 4 / 7), (2, 2 / 7), (3, 1 / 7)):
        made.steps = made.test_steps = steps  # type: ignore[assignment]
        expected = expected + share * query_loss(made, given, KEY)
    torch.testing.assert_close(DiscountedSteps(0.5)(made, given, KEY), expected, rtol=1e-12, atol=0)


def test_of_the_last_step_alone_it_is_the_query_loss() -> None:
    made, given = learner(), task()
    grads = []
    for objective in (LastStep(), query_loss):
        loss = objective(made, given, KEY)
        grads.append([loss, *torch.autograd.grad(loss, list(made.parameters()))])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_annealed_ends_as_the_query_loss() -> None:
    objective, made, given = AnnealedSteps(), learner(), task()
    objective.schedule(0.5)
    torch.testing.assert_close(objective(made, given, KEY), query_loss(made, given, KEY), rtol=0, atol=0)


@pytest.mark.parametrize("every", [0, 2])
@pytest.mark.parametrize("objective", [InnerSteps(), DiscountedSteps(0.5)])
def test_the_gradient_matches_finite_differences(objective: InnerSteps, every: int) -> None:
    made, given = learner("MetaSGD"), task()
    made.differentiation = Unrolled(checkpoint=every)  # type: ignore[assignment]
    parameters = list(made.parameters())
    found = torch.autograd.grad(objective(made, given, KEY), parameters)
    directions = [torch.randn_like(p) for p in parameters]
    values = []
    with torch.no_grad():
        for sign in (1, -2, 1):
            for p, d in zip(parameters, directions, strict=True):
                p += sign * 1e-6 * d
            values.append(objective(made, given, KEY))
    slope = sum((g * d).sum() for g, d in zip(found, directions, strict=True))
    assert float(slope) == pytest.approx(float(values[0] - values[1]) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("differentiation", [Unrolled, FirstOrder])
def test_checkpoints_change_nothing(differentiation: type) -> None:
    """Also where the states before the loop's end are judged: of these, not of the last alone, is the gradient."""
    made, given = learner(steps=9), batching.stack([task(), task()])
    keys = random.fold_in(KEY, torch.arange(2))
    found = []
    for every in (0, 1, 4):
        made.differentiation = differentiation()  # type: ignore[assignment]
        if differentiation is Unrolled:
            made.differentiation = Unrolled(checkpoint=every)  # type: ignore[assignment]
        made.zero_grad()
        MetaLoss(made, InnerSteps()).backward(given, keys)
        found.append([p.grad for p in made.parameters()])
    torch.testing.assert_close(found[1:], found[:1] * 2, rtol=1e-10, atol=1e-12)


def test_problems_are_judged_along_the_way() -> None:
    made = learners.L2O(rules.Adam(0.1), steps=3)
    given = batching.to_dtype(problem_task(), torch.float64)
    expected = torch.zeros(())
    for made.steps in (1, 2, 3):
        expected = expected + query_loss(made, given, KEY) / 3
    torch.testing.assert_close(InnerSteps()(made, given, KEY), expected)


def test_regression_and_other_objectives_along_the_way() -> None:
    made = CLASSIFICATION["MAML"](lambda **options: mlp(inputs=1, **options), 1).double()
    given = batching.to_dtype(regression_task(), torch.float64)
    attack = objectives.AdversarialQuery(0.1, steps=2)
    expected = torch.zeros(())
    for steps in (1, 2):
        made.steps = steps  # type: ignore[assignment]
        expected = expected + attack(made, given, KEY) / 2
    torch.testing.assert_close(InnerSteps(of=attack)(made, given, KEY), expected)


def test_refuses_what_has_no_inner_steps() -> None:
    with pytest.raises(InputError, match="ProtoNet has no inner steps"):
        InnerSteps()(CLASSIFICATION["ProtoNet"](mlp, WAYS), task(), KEY)
    with pytest.raises(InputError, match="makes no inner step"):
        InnerSteps()(learner(steps=0), task(), KEY)
    with pytest.raises(InputError, match="Implicit passes through the end"):
        InnerSteps()(learner("IMAML"), task(), KEY)
    with pytest.raises(InputError, match="does not judge a state"):
        InnerSteps(of="sequence")
    with torch.no_grad():  # Whatever needs no gradient may do without one.
        assert float(InnerSteps()(learner("IMAML"), task(), KEY)) > 0


def test_arguments() -> None:
    for over in (0, 1.5):
        with pytest.raises(InputError, match="over must be"):
            AnnealedSteps(over)
    for discount in (0, 1.1):
        with pytest.raises(InputError, match="discount must be"):
            DiscountedSteps(discount)
