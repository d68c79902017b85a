"""Every combination of outer optimiser, objective and learner: it trains, or is refused with a reason."""

import pytest
import torch

import quickstudy as qs
from quickstudy.cli import axes
from quickstudy.cli.axes import refusal
from quickstudy.errors import InputError
from quickstudy.testing.specimens import FEATURES

OUTERS, OBJECTIVES, LEARNERS = list(axes.outers()), list(axes.objectives()), list(axes.learners())
PRETRAINING_CLASSES = 7


def settings(name: str) -> qs.outer.Outer:
    """Return an outer optimiser that does little in a step."""
    if name == "EvolutionStrategies":
        return qs.outer.EvolutionStrategies(population=4, sigma=1.0)
    if name == "CMAES":
        return qs.outer.CMAES(population=4)
    if name == "Truncated":
        return qs.outer.Truncated(length=3)
    if name == "PES":
        return qs.outer.PES(length=2, sigma=1.0)
    if name == "PolicyGradient":
        return qs.outer.PolicyGradient(samples=2)
    return axes.outers()[name]


def tasks_for(objective: str, task: qs.Task) -> qs.tasks.TaskDistribution:
    if objective != "pretraining":
        return qs.tasks.OneTask(task)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(PRETRAINING_CLASSES).repeat_interleave(4)
    data = qs.datasets.arrays(torch.randn(len(labels), FEATURES, generator=generator), labels)
    return qs.tasks.Supervised(data, 8)


def trains(outer: str, objective: str, learner: str) -> None:
    """Meta-train a combination for two steps; something must have moved, and all be finite."""
    torch.manual_seed(0)
    specimen, task = axes.specimen(learner)
    before = {name: value.detach().clone() for name, value in specimen.named_parameters()}
    where = f"{outer}, {objective}, {learner}"
    run = qs.meta_train(
        specimen,
        tasks_for(objective, task),
        settings(outer),
        steps=2,
        meta_batch=2,
        log_every=1,
        objective=axes.objectives()[objective],
        compile=False,
        progress=False,
    )
    assert all(torch.isfinite(value).all() for value in specimen.state_dict().values()), where
    assert len([row for row in run.history if "loss" in row]) == 2, where
    moved = [name for name, value in specimen.named_parameters() if not torch.equal(value, before[name])]
    # So few candidates may all be right as often; far from a minimum, conjugate gradient may find no way down.
    assert moved or objective == "Reward" or outer == "Gradient(Implicit)", f"nothing moved: {where}"


def all_that(outer: str, objective: str) -> list[tuple[str, str | None]]:
    found, goal, optimiser = axes.learners(), axes.objectives()[objective], axes.outers()[outer]
    return [(name, refusal(optimiser, learner, goal)) for name, (learner, _) in found.items()]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("outer", OUTERS)
def test_what_is_not_refused_trains(outer: str, objective: str) -> None:
    for name, reason in all_that(outer, objective):
        if reason is None:
            trains(outer, objective, name)


def test_what_is_refused_is_refused_by_training_too() -> None:
    seen = set()
    for found in axes.combinations():
        if found.reason is None:
            continue
        # One of each kind: starting each of thousands would take minutes.
        kind = (found.outer.partition("(")[0], found.reason.replace(found.learner, "").replace(found.objective, ""))
        if kind in seen:
            continue
        seen.add(kind)
        assert found.reason.strip()
        learner, task = axes.specimen(found.learner)
        with pytest.raises(InputError) as error:
            qs.meta_train(
                learner,
                tasks_for(found.objective, task),
                axes.outers()[found.outer],
                steps=1,
                objective=axes.objectives()[found.objective],
                progress=False,
            )
        assert str(error.value) == found.reason
    assert len(seen) > 40
