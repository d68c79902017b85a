"""Perturbed queries: they are harder, within the ball, and training on them makes a learner more robust."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from quickstudy import Examples, Task, batching, learners, outer, rules
from quickstudy.core import Learner
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.adversarial import fgsm
from quickstudy.objectives import AdversarialQuery, query_loss
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, classification_task, mlp, problem_task, regression_task
from tests.helpers.masked import masked_task

KEY = random.key(0)


def setting(kind: str) -> tuple[Learner, Task]:
    if kind == "regression":
        return CLASSIFICATION["MAML"](lambda **options: mlp(inputs=1, **options), 1), regression_task()
    if kind == "problem":
        return learners.L2O(rules.Adam(0.1), steps=3), problem_task()
    return CLASSIFICATION["ProtoNet" if kind == "metric" else "MAML"](mlp, WAYS), masked_task()


def inputs(examples: Examples) -> Tensor:
    found = examples.inputs if isinstance(examples.inputs, Tensor) else examples.inputs.inputs
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("kind", ["classification", "metric", "regression", "problem"])
@pytest.mark.parametrize("start", [False, True])
def test_harder_and_in_the_ball(kind: str, start: bool) -> None:
    learner, task = setting(kind)
    objective = AdversarialQuery(0.2, steps=5, random_start=start)
    state = learner.adapt(task.support)
    moved = objective.perturbed(learner, state, task.query, KEY)
    gap = inputs(moved) - inputs(task.query)
    assert type(moved) is type(task.query)
    assert 0.19 < float(gap.abs().max()) <= 0.2 + 1e-6
    if task.query.mask is not None:
        assert bool((gap[~task.query.mask] == 0).all())
    assert not inputs(moved).requires_grad
    hard, plain = learner.loss(state, moved).detach(), learner.loss(state, task.query).detach()
    assert float(hard) > float(plain) + 0.005
    torch.testing.assert_close(objective(learner, task, KEY).detach(), hard)


def test_the_larger_the_ball_the_harder() -> None:
    learner, task = setting("classification")
    with torch.no_grad():
        losses = [float(AdversarialQuery(epsilon)(learner, task, KEY)) for epsilon in (0.0, 0.1, 0.3, 1.0)]
    assert losses == sorted(losses)
    assert losses[-1] > losses[0] + 0.03


def test_one_step_is_the_fast_gradient_sign_method() -> None:
    learner, task = setting("regression")
    state = learner.adapt(task.support)
    expected = fgsm(lambda x: learner.loss(state, Examples(x, task.query.labels, check=False)), task.query.inputs, 0.1)
    for size in (None, 0.1):
        moved = AdversarialQuery(0.1, steps=1, size=size).perturbed(learner, state, task.query, KEY)
        torch.testing.assert_close(moved.inputs, expected, rtol=0, atol=1e-6)


def test_limits() -> None:
    learner, task = setting("classification")
    low, high = float(task.query.inputs.min()) - 0.01, float(task.query.inputs.max()) + 0.01
    objective = AdversarialQuery(0.5, limits=(low, high), random_start=True)
    moved = objective.perturbed(learner, learner.adapt(task.support), task.query, KEY)
    assert low <= float(moved.inputs.min())
    assert float(moved.inputs.max()) <= high


def test_nothing_to_perturb_with_leaves_the_loss() -> None:
    learner, task = setting("classification")
    expected = query_loss(learner, task, KEY)
    torch.testing.assert_close(AdversarialQuery(0.0)(learner, task, KEY), expected)
    torch.testing.assert_close(AdversarialQuery(0.3, clean=1.0)(learner, task, KEY), expected)
    half, whole = (AdversarialQuery(0.3, clean=clean)(learner, task, KEY) for clean in (0.5, 0.0))
    torch.testing.assert_close(half, (expected + whole) / 2)


def test_random_starts_follow_the_key() -> None:
    learner, task = setting("classification")
    objective = AdversarialQuery(0.3, steps=1, size=0.01, random_start=True)
    state = learner.adapt(task.support)
    a, b, c = (objective.perturbed(learner, state, task.query, random.key(i)).inputs for i in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.usefixtures("float64")
def test_the_attack_is_a_constant_for_the_outer_gradient() -> None:
    learner, task = setting("classification")
    learner, task = learner.double(), batching.to_dtype(task, torch.float64)
    objective = AdversarialQuery(0.2, steps=3)
    with torch.no_grad():
        moved = objective.perturbed(learner, learner.adapt(task.support), task.query, KEY)
    expected = torch.autograd.grad(query_loss(learner, Task(task.support, moved), KEY), list(learner.parameters()))
    found = torch.autograd.grad(objective(learner, task, KEY), list(learner.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


class WordsAndNumbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(5, 4), nn.Linear(8, WAYS)

    def forward(self, word: Tensor, number: Tensor) -> Tensor:
        return self.head(torch.cat([self.words(word), number], 1))  # type: ignore[no-any-return]


def test_only_floating_inputs_are_moved() -> None:
    plain, words = classification_task(), torch.arange(6) % 5
    learner = learners.MAML(WordsAndNumbers(), lr=0.1)

    def rows(examples: Examples) -> Examples:
        number = examples.inputs[:6]
        return Examples({"word": words[: len(number)], "number": number}, examples.labels[:6])

    task = Task(rows(plain.support), rows(plain.query))
    moved = AdversarialQuery(0.1).perturbed(learner, learner.adapt(task.support), task.query, KEY)
    assert torch.equal(moved.inputs["word"], words)
    assert not torch.equal(moved.inputs["number"], task.query.inputs["number"])
    only_words = Examples({"word": words}, task.query.labels)
    with pytest.raises(InputError, match="no floating number"):
        AdversarialQuery(0.1).perturbed(learner, learner.adapt(task.support), only_words, KEY)


def tempting_tasks(count: int, seed: int) -> Task:
    """Two classes; one number tells them apart by much, twenty others by little but together more surely."""
    generator = torch.Generator().manual_seed(seed)

    def rows(each: int) -> Examples:
        labels = torch.arange(2).repeat(count, each)
        sign = 2.0 * labels.unsqueeze(2) - 1
        noise = torch.randn(count, 2 * each, 21, generator=generator)
        strong, weak = sign * flip[..., :1] + 0.5 * noise[..., :1], 0.2 * sign * flip[..., 1:] + 0.1 * noise[..., 1:]
        return Examples(torch.cat([strong, weak], 2), labels, ways=2, check=False)

    # Which class has which sign differs from task to task, and so has to be learned from the support.
    flip = 2.0 * torch.randint(0, 2, (count, 1, 21), generator=generator) - 1
    return Task(rows(5), rows(10))


def test_training_on_perturbed_queries_makes_a_learner_robust() -> None:
    attack, test = AdversarialQuery(0.3, steps=7), tempting_tasks(100, seed=1)
    accuracy: dict[str, tuple[float, float]] = {}
    for name, objective in (("plain", query_loss), ("robust", attack)):
        torch.manual_seed(0)
        learner = learners.ProtoNet(nn.Linear(21, 8))
        way = outer.Gradient(lr=0.02)
        optimizer = way.optimizer(learner.named_parameters())
        losses = MetaLoss(learner, objective)
        for step in range(60):
            optimizer.zero_grad()
            way.estimate(losses, tempting_tasks(16, seed=100 + step), random.fold_in(KEY, torch.arange(16)))
            optimizer.step()

        def right(task: Task, learner: Learner = learner) -> tuple[Tensor, Tensor]:
            state = learner.adapt(task.support)
            hard = attack.perturbed(learner, state, task.query, KEY)
            answers = (learner.predict(state, query.inputs).argmax(1) for query in (task.query, hard))
            clean, tampered = ((found == task.query.labels).float().mean() for found in answers)
            return clean, tampered

        found = batching.map_tasks(right, test)
        accuracy[name] = (float(found[0].mean()), float(found[1].mean()))
    assert accuracy["plain"][0] > 0.95
    assert accuracy["robust"][1] > accuracy["plain"][1] + 0.3, accuracy


def test_arguments() -> None:
    for arguments, message in (
        ({"epsilon": -1}, "epsilon must be 0 or more"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"size": 0}, "size must be positive"),
        ({"clean": 2}, "clean must be a share"),
        ({"limits": (1, 0)}, "limits must be"),
    ):
        with pytest.raises(InputError, match=message):
            AdversarialQuery(**arguments)  # type: ignore[arg-type]
