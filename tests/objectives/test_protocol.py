"""What holds for every objective: batched is looped, recorded is plain, and descriptions can be built from."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from quickstudy import batching, objectives
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.objectives import (
    AdversarialQuery,
    AnnealedSteps,
    DiscountedSteps,
    InnerSteps,
    Objective,
    Reward,
    WorstCase,
    named,
)
from quickstudy.registry import build, describe, table
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers.task_batches import KEYS, gradients, tasks

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "query_loss": lambda: objectives.query_loss,
    "InnerSteps": InnerSteps,
    "AnnealedSteps": AnnealedSteps,
    "DiscountedSteps": lambda: DiscountedSteps(0.7),
    "WorstCase": lambda: WorstCase(0.5),
    "AdversarialQuery": lambda: AdversarialQuery(0.2, steps=3, clean=0.5, random_start=True),
    "Reward": Reward,
    "adversarial steps, the worst of them": lambda: WorstCase(0.3, InnerSteps(AdversarialQuery(0.1, steps=2))),
    "annealed reward": lambda: AnnealedSteps(of=Reward()),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("learner", ["MAML", "Reptile"])
def test_batched_is_looped(name: str, learner: str) -> None:
    made, objective = CLASSIFICATION[learner](mlp, WAYS).double(), OBJECTIVES[name]()
    batch = batching.to_dtype(tasks(), torch.float64)
    losses, grads = gradients(MetaLoss(made, objective), batch)
    made.zero_grad()
    looped = torch.stack([objective(made, batching.select(batch, i), KEYS[i]) for i in range(len(KEYS))])
    torch.testing.assert_close(losses, looped.detach())
    combined = objective.combine(looped)
    if objective.differentiable:
        combined.backward()
    expected = [torch.zeros_like(p) if p.grad is None else p.grad for p in made.parameters()]
    torch.testing.assert_close(grads, expected)
    assert any(bool(g.any()) for g in grads) is objective.differentiable


@pytest.mark.parametrize("name", OBJECTIVES)
def test_recorded_is_plain_and_hears_of_the_schedule(name: str, caplog: pytest.LogCaptureFixture) -> None:
    made, objective = CLASSIFICATION["MAML"](mlp, WAYS), OBJECTIVES[name]()
    recorded, seen = MetaLoss(made, objective, compile="record"), []
    # The 1st, 2nd and 4th replays are compared by the recording itself, the others are not.
    for done in (0.0, 0.05, 0.1, 0.12, 0.3):
        objective.schedule(done)
        found, expected = gradients(recorded), gradients(MetaLoss(made, objective))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        seen.append(float(found[0][0]))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert (max(seen) > min(seen) + 1e-5) is (name == "AnnealedSteps")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weight_is_of_the_steps_that_count(name: str) -> None:
    weights = OBJECTIVES[name]().weight(torch.arange(1, 6), 5)
    assert float(weights.sum()) == pytest.approx(1)
    assert bool((weights >= 0).all())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_described_and_built_again(name: str) -> None:
    objective = OBJECTIVES[name]()
    description = json.loads(json.dumps(describe(objective)))
    again = named(build(description))
    assert describe(again) == description
    if name != "Reward":
        made, batch = CLASSIFICATION["MAML"](mlp, WAYS), tasks()
        torch.testing.assert_close(MetaLoss(made, again)(batch, KEYS), MetaLoss(made, objective)(batch, KEYS))


def test_functions_are_described_by_name() -> None:
    assert describe(objectives.query_loss) == "query_loss"
    assert describe(WorstCase(of=objectives.elbo))["arguments"] == {"share": 0.0, "of": "elbo"}
    own = describe(WorstCase(of=lambda learner, task, key: key.double()))
    assert own["arguments"]["of"] == {"custom": f"{__name__}.test_functions_are_described_by_name.<locals>.<lambda>"}


def test_every_registered_objective_can_be_named() -> None:
    for name, entry in table("objective").items():
        assert callable(named(name))
        assert entry.facts["why"]
    assert named(objectives.query_loss) is objectives.query_loss
    assert named(WorstCase).share == 0  # type: ignore[arg-type,attr-defined]


def test_buffers_move_with_the_objective() -> None:
    objective = WorstCase(of=AnnealedSteps())
    assert objective.to("meta").of.done.device.type == "meta"
