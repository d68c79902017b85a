"""CMA-ES: minima that gradient descent crawls to, and runs that go on bit for bit."""

import sys
from pathlib import Path

import cmaes
import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import CheckpointError, InputError
from quickstudy.outer import CMAES
from tests.helpers.populations import DIMENSIONS, Point, Steep, batch, gradient, ill_conditioned, point, quadratic
from tests.outer.test_evolution import train

BATCH, KEYS = batch()


def distance(outer: qs.outer.Outer, steps: int = 250) -> float:
    run = qs.meta_train(Point(), Steep(), outer, objective=ill_conditioned, steps=steps, meta_batch=2, progress=False)
    return float((point(run.learner) - 1).norm())


def test_finds_the_minimum_of_an_ill_conditioned_quadratic() -> None:
    assert distance(CMAES(sigma=0.3)) < 0.05
    # Too large a step for the steepest direction ends nowhere, and this is the largest that is not.
    assert distance(qs.outer.Gradient(9e-6, optimizer="sgd")) > 0.3


def test_diagonal_covariance_finds_it_too_but_later() -> None:
    assert distance(CMAES(sigma=0.3, covariance="diagonal"), 100) > 2 * distance(CMAES(sigma=0.3), 100)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_mean_is_the_librarys(covariance: str) -> None:
    learner = Point()
    outer = CMAES(0.2, population=6, covariance=covariance)
    outer.prepare(learner)
    before = point(learner)
    shown = outer.estimate(MetaLoss(learner, quadratic), BATCH, KEYS)
    kind = cmaes.CMA if covariance == "full" else cmaes.SepCMA
    search = kind(before.double().numpy(), 0.2, seed=int(KEYS[0]) % 2**32, population_size=6)
    asked = [search.ask() for _ in range(6)]
    targets = BATCH.query.inputs[:, 0]
    found = (torch.from_numpy(np.stack(asked)).float().unsqueeze(1) - targets).square().sum(2)
    search.tell(list(zip(asked, found.mean(1).double().tolist(), strict=True)))
    torch.testing.assert_close(before - gradient(learner), torch.from_numpy(search.mean).float())
    torch.testing.assert_close(shown, found.median(0).values)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_resumed_run_is_the_same(tmp_path: Path, covariance: str) -> None:
    def outer() -> CMAES:
        return CMAES(0.1, covariance=covariance)

    train(tmp_path / "run", 4, outer())
    resumed = train(tmp_path / "run", 9, outer())
    whole = train(None, 9, outer())
    for a, b in zip(resumed.learner.parameters(), whole.learner.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_is_numbers_alone(tmp_path: Path) -> None:
    outer = CMAES(0.1, population=7)
    train(tmp_path / "run", 4, outer)
    state = outer.state_dict()
    assert set(state) == {"start", "seed", "told"}
    assert state["told"].shape == (4, 7)
    other = CMAES(0.1, population=8)
    other.prepare(qs.learners.MAML(qs.nets.mlp(1, (4,), 1), lr=0.05))
    with pytest.raises(CheckpointError, match="of another learner or population"):
        other.load_state_dict(state)
    with pytest.raises(CheckpointError, match="lacks what CMA-ES was told"):
        other.load_state_dict({})


def test_chooses_covariance_and_population_by_size() -> None:
    outer = CMAES()
    outer.prepare(Point())
    assert outer.full
    assert outer.evaluations(3) == 3 * (4 + int(3 * np.log(DIMENSIONS)))
    outer.prepare(Point(201))
    assert not outer.full


def test_lacking_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cmaes", None)
    with pytest.raises(InputError, match=r"needs the extra 'evolution'.*EvolutionStrategies"):
        train(None, 1, CMAES())


def test_wrong_arguments() -> None:
    for options, message in (
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"population": 2}, "population must be 3 or more"),
        ({"covariance": "none"}, "covariance must be"),
    ):
        with pytest.raises(InputError, match=message):
            CMAES(**options)  # type: ignore[arg-type]
