"""What an inner loop adapts, and where it starts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.adapted import Adapted, AllParameters, HeadParameters, Optimizees
from quickstudy.inner.starts import DrawnStart, FixedStart
from quickstudy.learners import MAML, GradientLearner
from quickstudy.nets.initialisation import initialise
from quickstudy.operators.substitution import with_parameters
from quickstudy.outer import EvolutionStrategies, Gradient
from quickstudy.testing.specimens import (
    CLASSIFICATION,
    PROBLEMS,
    WAYS,
    classification_task,
    mlp,
    problem_task,
)

KEY = random.key(3)


def plain(adapted: Adapted) -> dict[str, Any]:
    """Return what an object remembers besides its modules and parameters."""
    return {name: copy.copy(value) for name, value in vars(adapted).items() if name not in ("_modules", "_parameters")}


ADAPTED = {
    "all": lambda: AllParameters(mlp(WAYS)),
    "head": lambda: HeadParameters(mlp(WAYS)),
    "fixed": lambda: FixedStart(mlp(WAYS)),
    "drawn": lambda: DrawnStart(mlp(WAYS)),
}


@pytest.mark.parametrize("name", ADAPTED)
def test_asking_for_names_changes_nothing(name: str) -> None:
    adapted = ADAPTED[name]()
    before = plain(adapted)
    first = next(adapted.net.parameters())
    adapted.names()
    first.requires_grad_(False)
    names = adapted.names()
    assert plain(adapted).keys() == before.keys()
    for key, value in before.items():
        assert plain(adapted)[key] is value or plain(adapted)[key] == value
    assert adapted.names() == names


def candidates(adapted: AllParameters) -> dict[str, Tensor]:
    """Return tensors that take the place of parameters, and deny that they are learned."""
    return {f"net.{name}": value.detach().clone() for name, value in adapted.net.named_parameters()}


def test_candidates_are_adapted_where_the_parameters_noted_last_were() -> None:
    adapted = AllParameters(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))
    adapted.net[0].requires_grad_(False)
    values = candidates(adapted)
    # What was learned when it was built is what it goes by until it is told.
    assert with_parameters(adapted, values, adapted.names) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    adapted.learned_now()
    assert with_parameters(adapted, values, adapted.names) == ["1.weight", "1.bias"]


@pytest.mark.parametrize("outer", [Gradient(), EvolutionStrategies()], ids=lambda outer: type(outer).__name__)
def test_outer_optimisers_let_inner_loops_take_note(outer: Any) -> None:
    learner = MAML(mlp(WAYS))
    next(learner.parameters()).requires_grad_(False)
    outer.prepare(learner)
    found = with_parameters(learner.adapted, candidates(learner.adapted), learner.adapted.names)
    assert found == [name for name, value in learner.adapted.net.named_parameters() if value.requires_grad]


def test_nothing_to_learn_is_refused_when_note_is_taken() -> None:
    adapted = AllParameters(mlp(WAYS).requires_grad_(False))
    with pytest.raises(InputError, match="nothing to adapt"):
        adapted.learned_now()
    # A fixed start has nothing that is learned, and names of its own.
    fixed = FixedStart(mlp(WAYS))
    fixed.learned_now()
    assert fixed.names() == [name for name, _ in mlp(WAYS).named_parameters()]


def test_drawn_start_is_that_of_the_key() -> None:
    net = mlp(WAYS)
    adapted, support = DrawnStart(net), classification_task().support
    assert adapted.drawn
    assert not FixedStart(net).drawn
    expected = initialise(net, random.fold_in(KEY, 11))
    torch.testing.assert_close(adapted.initial(support, None, KEY), dict(expected), rtol=0, atol=0)
    torch.testing.assert_close(
        adapted.initial(support), dict(initialise(net, random.fold_in(random.key(0), 11))), rtol=0, atol=0
    )


@pytest.mark.parametrize(("told", "drawn"), [(0.0, False), (0.4, True), (1.0, False)])
def test_share_of_problems_whose_rule_is_told(told: float, drawn: bool) -> None:
    adapted, support = Optimizees(told), problem_task().support
    assert adapted.drawn == drawn
    keys = random.fold_in(KEY, torch.arange(500))
    steps = [int(adapted.steps(support, torch.tensor(7), key)) for key in keys]
    assert set(steps) <= {0, 7}
    assert steps.count(7) / 500 == pytest.approx(told, abs=0.07)


def test_share_is_one() -> None:
    with pytest.raises(InputError, match="told must be a share"):
        Optimizees(1.5)


def test_what_says_where_a_loop_starts_are_parameters() -> None:
    learners = [build(mlp, WAYS) for build in CLASSIFICATION.values()] + [build() for build in PROBLEMS.values()]
    inner = [learner for learner in learners if isinstance(learner, GradientLearner)]
    assert len(inner) > 20
    for learner in inner:
        assert learner.adapted.start_names() <= {name for name, _ in learner.adapted.named_parameters()}


@pytest.mark.parametrize("steps", [0, 2])
def test_a_net_with_fewer_outputs_than_ways_is_refused_after_any_number_of_steps(steps: int) -> None:
    data = qs.datasets.arrays(torch.randn(12, 3), [0, 1, 2, 3] * 3)
    learner = qs.learners.MAML(torch.nn.Linear(3, 2), steps=steps)
    with pytest.raises(InputError, match=r"outputs of shape \(\d+, 2\) but the task has 4 ways"):
        qs.evaluate(learner, qs.tasks.FewShot(data, ways=4, queries=2), 2)
