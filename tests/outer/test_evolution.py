"""Evolution strategies against closed forms and plain loops."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError, NonFiniteError
from quickstudy.functional import random
from quickstudy.objectives import query_loss
from quickstudy.outer import EvolutionStrategies
from quickstudy.outer.evolution import _NOISE, centred_ranks, standardised
from tests.helpers.populations import DIMENSIONS, TASKS, Point, Steep, batch, gradient, linear, point, quadratic

BATCH, KEYS = batch()


def estimate(outer: EvolutionStrategies, objective: Any, learner: Any = None, **options: Any) -> tuple[Tensor, Tensor]:
    learner = Point() if learner is None else learner
    outer.prepare(learner)
    losses = outer.estimate(MetaLoss(learner, objective, **options), BATCH, KEYS)
    return gradient(learner), losses


def noise(outer: EvolutionStrategies, size: int = DIMENSIONS) -> Tensor:
    return random.normal(random.fold_in(KEYS[0], _NOISE), outer.candidates // 2, size)


def test_centred_ranks_by_hand() -> None:
    assert centred_ranks(torch.tensor([3.0, -1.0, 10.0])).tolist() == [0.0, -0.5, 0.5]
    assert centred_ranks(torch.tensor([2.0, 2.0, 1.0, 9.0, float("inf")])).tolist() == [-0.125, -0.125, -0.5, 0.25, 0.5]
    assert centred_ranks(torch.full((4,), 7.0)).tolist() == [0.0] * 4


def test_standardised_by_hand() -> None:
    assert standardised(torch.tensor([1.0, 5.0])).tolist() == [-1.0, 1.0]
    assert standardised(torch.full((3,), 7.0)).tolist() == [0.0] * 3


def test_linear_losses_give_the_gradient_within_the_span_of_the_noise() -> None:
    outer = EvolutionStrategies(population=6, sigma=0.3, shaping="none")
    found, _ = estimate(outer, linear)
    slope, eps = BATCH.query.inputs.mean((0, 1)), noise(outer)
    # Of a linear loss a pair says the slope along eps exactly, whatever sigma.
    torch.testing.assert_close(found, (eps @ slope) @ eps / 3, rtol=1e-4, atol=1e-5)


def test_many_pairs_give_the_gradient_of_a_quadratic() -> None:
    """Smoothing a quadratic leaves its gradient g as it is; the estimate's variance along d is (|g|^2 + g_d^2) / n."""
    learner, pairs = Point(), 50_000
    found, _ = estimate(EvolutionStrategies(2 * pairs, sigma=0.5, shaping="none"), quadratic)
    exact = 2 * (point(learner) - BATCH.query.inputs.mean((0, 1)))
    error = ((exact.square().sum() + exact.square()) / pairs).sqrt()
    assert ((found - exact).abs() < 4 * error).all()
    assert exact.norm() > 20 * error.norm()


@pytest.mark.parametrize("shaping", ["ranks", "standardised", "none"])
def test_estimate_is_that_of_a_loop_over_candidates(shaping: Any) -> None:
    torch.manual_seed(0)
    learner = qs.learners.MAML(qs.nets.mlp(1, (5,), 1), lr=0.05, steps=2)
    before = {name: value.detach().clone() for name, value in learner.named_parameters()}
    tasks, keys = qs.tasks.Sinusoid(3, 4).draw(torch.arange(TASKS)), KEYS
    outer = EvolutionStrategies(population=8, sigma=0.1, shaping=shaping)
    outer.prepare(learner)
    losses = MetaLoss(learner, query_loss, chunk_size=7)
    shown = outer.estimate(losses, tasks, keys)
    size = sum(value.numel() for value in before.values())
    eps = torch.cat([noise(outer, size), -noise(outer, size)])
    table = []
    for each in eps:
        parts = each.split([value.numel() for value in before.values()])
        named = zip(before.items(), parts, strict=True)
        moved = {name: value + 0.1 * part.reshape(value.shape) for (name, value), part in named}
        other = qs.learners.MAML(qs.nets.mlp(1, (5,), 1), lr=0.05, steps=2)
        other.load_state_dict(moved)
        table.append([query_loss(other, batching.select(tasks, i), keys[i]).item() for i in range(TASKS)])
    found = torch.tensor(table)
    fitness = found.mean(1)
    shaped = {
        "none": fitness,
        "standardised": (fitness - fitness.mean()) / fitness.std(correction=0),
        "ranks": fitness.argsort().argsort() / 7 - 0.5,
    }[shaping]
    expected = (shaped.unsqueeze(1) * eps).sum(0) / (8 * 0.1)
    torch.testing.assert_close(
        torch.cat([value.grad.flatten() for value in learner.parameters()]), expected, rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(shown, found.median(0).values)
    for name, value in learner.named_parameters():
        assert torch.equal(value, before[name])
    assert "names" not in vars(learner.adapted)


def test_objective_combines_the_losses_of_each_candidate() -> None:
    outer = EvolutionStrategies(population=4, sigma=0.3, shaping="none")
    found, _ = estimate(outer, qs.objectives.WorstCase(of=quadratic))
    eps, start = noise(outer), point(Point())
    worst = [max((start + 0.3 * each - row[0]).square().sum() for row in BATCH.query.inputs) for each in (*eps, *-eps)]
    expected = sum((worst[i] - worst[i + 2]) * eps[i] for i in range(2)) / (4 * 0.3)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_recorded_is_plain() -> None:
    learner = qs.learners.MAML(qs.nets.mlp(1, (5,), 1), lr=0.05)
    tasks = qs.tasks.Sinusoid(3, 4)
    found = []
    for losses in (MetaLoss(learner, query_loss), MetaLoss(learner, query_loss, compile="record")):
        outer = EvolutionStrategies(population=6, sigma=0.1)
        outer.prepare(learner)
        for step in range(3):
            learner.zero_grad()
            keys = random.fold_in(random.key(0), torch.arange(TASKS) + step)
            shown = outer.estimate(losses, tasks.draw(torch.arange(TASKS) + step), keys)
        found.append((shown, *(value.grad for value in learner.parameters())))
    assert losses.compile == "record"
    assert sum(len(each._made) for each in losses._recorded.values()) == 1
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("compile", [False, "record"])
def test_frozen_parameters_stay(compile: Any) -> None:
    learner = qs.learners.MAML(qs.nets.mlp(1, (5,), 1), lr=0.05)
    first, *rest = learner.parameters()
    first.requires_grad_(False)
    outer = EvolutionStrategies(population=6, sigma=0.1)
    outer.prepare(learner)
    losses = MetaLoss(learner, query_loss, compile=compile)
    found = outer.estimate(losses, qs.tasks.Sinusoid(3, 4).draw(torch.arange(TASKS)), KEYS)
    assert losses.compile == compile
    assert found.isfinite().all()
    assert first.grad is None
    assert all(bool(value.grad.any()) for value in rest)


def test_candidates_that_diverge_are_the_last() -> None:
    def abyss(learner: Any, task: Any, key: Any) -> Tensor:
        first = learner.adapt(task.support)[0]
        return torch.where(first > -0.5, first, torch.nan)

    found, losses = estimate(EvolutionStrategies(population=6, sigma=0.1), abyss)
    assert found.isfinite().all()
    # Upwards from the abyss, for all that the losses beside it are lower.
    assert found[0] < 0
    assert losses.isfinite().all()
    with pytest.raises(NonFiniteError):
        qs.meta_train(
            qs.learners.MAML(qs.nets.mlp(1, (5,), 1), lr=1e30, steps=3),
            qs.tasks.Sinusoid(3, 4),
            EvolutionStrategies(population=6),
            steps=2,
            meta_batch=2,
            progress=False,
        )


def train(folder: Path | None, steps: int, outer: Any, objective: Any = None) -> qs.Run:
    torch.manual_seed(0)
    return qs.meta_train(
        qs.learners.MAML(qs.nets.mlp(1, (4,), 1), lr=0.05),
        qs.tasks.Sinusoid(3, 4),
        outer,
        objective=objective,
        steps=steps,
        meta_batch=2,
        run_dir=folder,
        progress=False,
    )


def test_resumed_run_is_the_same(tmp_path: Path) -> None:
    outer = EvolutionStrategies(population=6, sigma=0.05)
    train(tmp_path / "run", 3, outer)
    resumed = train(tmp_path / "run", 7, EvolutionStrategies(population=6, sigma=0.05))
    whole = train(None, 7, outer)
    for a, b in zip(resumed.learner.parameters(), whole.learner.parameters(), strict=True):
        assert torch.equal(a, b)


def test_goes_down_steps() -> None:
    def steps(learner: Any, task: Any, key: Any) -> Tensor:
        return (4 * (learner.adapt(task.support) - task.query.inputs[0]).abs()).floor().sum()

    outer = EvolutionStrategies(population=40, sigma=0.2, lr=0.1)
    run = qs.meta_train(Point(), Steep(), outer, objective=steps, steps=60, meta_batch=2, progress=False)
    # On each axis, on the lowest step.
    assert (point(run.learner) - 1).abs().max() < 0.25


def test_counts_evaluations() -> None:
    assert EvolutionStrategies(population=10).evaluations(4) == 40
    assert qs.outer.Gradient().evaluations(4) == 4
    assert qs.outer.PolicyGradient(samples=8).evaluations(4) == 4


def test_wrong_arguments() -> None:
    for options, message in (
        ({"population": 5}, "population must be an even number"),
        ({"population": 0}, "population must be an even number"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"shaping": "rank"}, "unknown shaping 'rank'; did you mean 'ranks'"),
        ({"lr": 0.0}, "outer lr must be positive"),
    ):
        with pytest.raises(InputError, match=message):
            EvolutionStrategies(**options)  # type: ignore[arg-type]
