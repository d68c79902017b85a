"""Truncated back-propagation and PES against hyper-gradients in closed form."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import batching
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import lifted
from quickstudy.errors import CheckpointError, InputError
from quickstudy.functional import random
from quickstudy.objectives import AnnealedSteps, DiscountedSteps, InnerSteps, Objective, WorstCase, query_loss
from quickstudy.outer import PES, Gradient, Outer, Truncated
from quickstudy.registry import lookup
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers import bilevel

STEPS, LENGTH, LR = 12, 3, 0.1


def keys(first: int, count: int) -> Tensor:
    return random.fold_in(random.key(1), torch.arange(first, first + count))


def slope(learner: qs.Learner) -> Tensor:
    grad = learner.rule.log_lr.grad
    assert grad is not None
    learner.zero_grad()
    return grad


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("compile", [False, "record"])
def test_segments_are_differentiated_as_in_closed_form(compile: batching.Compile) -> None:
    learner, outer = bilevel.learner(STEPS, LR), Truncated(LENGTH)
    losses = MetaLoss(learner, InnerSteps(), compile=compile)
    drawn = [bilevel.Parabolas().draw(torch.arange(1) + number) for number in range(6)]
    found = []
    for number, task in enumerate(drawn):
        outer.estimate(losses, task, keys(number, 1))
        found.append(slope(learner))
    assert losses.compile == compile
    assert [len(recorded._made) for recorded in losses._recorded.values()] == [1] * bool(compile)
    # A segment counts as the mean of its losses.
    weights = torch.full((STEPS,), 1 / LENGTH)

    def expected(task: qs.Task) -> Tensor:
        return bilevel.truncated_gradients(batching.select(task, 0), LR, STEPS, LENGTH, weights)

    # The first slot's first loop ends after one segment; the next goes all the way, whatever tasks come meanwhile.
    torch.testing.assert_close(found[0], expected(drawn[0])[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(torch.stack(found[1:5]), expected(drawn[1]), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found[5], expected(drawn[5])[0], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["MAML", "CAVIA", "ADML", "IMAML-unrolled", "ProtoMAML", "Reptile"])
def test_one_segment_is_the_gradient(name: str) -> None:
    learner = CLASSIFICATION[name.partition("-")[0]](mlp, WAYS).double()
    if name == "IMAML-unrolled":
        learner.differentiation = qs.inner.differentiation.Unrolled()
    tasks = batching.to_dtype(_few_shot(), torch.float64)
    steps = learner.inner_steps

    def gradient(outer: Outer, objective: Objective) -> Tensor:
        learner.zero_grad()
        outer.estimate(MetaLoss(learner, objective), tasks, keys(0, 4))
        return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])

    for objective in (InnerSteps(), query_loss):
        found, expected = gradient(Truncated(steps), objective), gradient(Gradient(), objective)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def _few_shot() -> qs.Task:
    from quickstudy.testing.contract import _variants
    from quickstudy.testing.specimens import classification_task

    return batching.stack(_variants(classification_task(), 4))  # type: ignore[no-any-return]


@pytest.mark.usefixtures("float64")
def test_truncation_is_biased_and_pes_is_not() -> None:
    # The end alone counts. Averaged over a loop's segments, a truncated gradient knows only of the last one.
    count = 4096
    learner, task = bilevel.learner(STEPS, LR), bilevel.Parabolas().draw(torch.zeros(1).long())
    whole = float(bilevel.hyper_gradient(batching.select(task, 0), LR, STEPS))
    cut = float(bilevel.truncated_gradients(batching.select(task, 0), LR, STEPS, LENGTH).sum())
    assert abs(cut - whole) > 0.5 * abs(whole)

    truncated, pes = Truncated(LENGTH), PES(LENGTH, sigma=0.01)
    tasks = batching.stack([batching.select(task, 0)] * count)
    found: dict[str, list[Tensor]] = {"truncated": [], "pes": []}
    for name, outer in (("truncated", truncated), ("pes", pes)):
        losses = MetaLoss(learner, query_loss)
        outer.slots(learner, tasks, keys(0, count)).end.fill_(STEPS)
        for segment in range(STEPS // LENGTH):
            outer.estimate(losses, tasks, keys(segment * count, count))
            found[name].append(slope(learner) * LENGTH / STEPS)
    torch.testing.assert_close(float(torch.stack(found["truncated"]).sum()), cut, rtol=1e-9, atol=1e-12)
    # Its error falls with the root of the number of pairs; with this seed it is within three parts of a hundred.
    assert float(torch.stack(found["pes"]).sum()) == pytest.approx(whole, rel=0.1)
    assert abs(float(torch.stack(found["pes"]).sum()) - cut) > 5 * abs(float(torch.stack(found["pes"]).sum()) - whole)


@pytest.mark.usefixtures("float64")
def test_pes_is_what_the_paper_writes() -> None:
    sigma, count = 0.05, 3
    learner, outer = bilevel.learner(STEPS, LR), PES(LENGTH, sigma)
    losses = MetaLoss(learner, InnerSteps())
    task = bilevel.Parabolas().draw(torch.arange(count))
    outer.slots(learner, task, keys(0, count)).end.fill_(STEPS)
    log_lr, weights = torch.tensor(LR).log(), torch.full((LENGTH,), 1 / LENGTH)
    start = {sign: torch.ones(count, bilevel.SIZE) for sign in (1, -1)}
    xi = torch.zeros(count)
    for segment in range(3):
        step_keys = keys(segment * count, count)
        outer.estimate(losses, task, step_keys)
        eps = sigma * random.normal(random.fold_in(random.fold_in(step_keys, 1), 0), dtype=torch.float64)
        xi = xi + eps
        value = {}
        for sign in (1, -1):
            per_task = []
            for i in range(count):
                lr = float((log_lr + sign * eps[i]).exp())
                one, begin = batching.select(task, i), start[sign][i]
                per_task.append(bilevel.value(one, lr, LENGTH, weights, begin))
                start[sign][i] = bilevel.path(one, lr, LENGTH, begin)[0][-1]
            value[sign] = torch.stack(per_task)
        expected = (xi * (value[1] - value[-1]) / (2 * sigma**2)).mean()
        torch.testing.assert_close(slope(learner), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("outer", [Truncated, PES])
def test_a_killed_run_goes_on_with_its_loops(outer: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: Path, steps: int) -> Tensor:
        learner = bilevel.learner(STEPS, LR)
        qs.meta_train(
            learner,
            bilevel.Parabolas(),
            outer(LENGTH),
            steps=steps,
            meta_batch=5,
            run_dir=folder,
            objective="InnerSteps",
            compile=False,
            progress=False,
        )
        return learner.rule.log_lr.detach()

    expected = run(tmp_path / "whole", 9)
    run(tmp_path / "parts", 4)
    assert torch.equal(run(tmp_path / "parts", 9), expected)
    assert not torch.equal(expected, torch.tensor(LR).log())


@pytest.mark.parametrize("without_paths", [False, True])
def test_loops_are_restored_whatever_the_order_of_their_keys(without_paths: bool) -> None:
    # An MLP rule's `start` and `update` return dictionaries with the same keys in another order. Two of its numbers
    # have one shape, so that a mistaken order need not show.
    problems = qs.tasks.Quadratics(3)

    def estimates(outers: list[Outer]) -> list[Tensor]:
        learner = qs.learners.L2O(qs.rules.MLPRule(hidden=3, width=3), steps=6)
        losses = MetaLoss(learner, InnerSteps())
        for value, (_, parameter) in enumerate(learner.named_parameters()):
            parameter.data.copy_(torch.sin(torch.arange(parameter.numel()) + value).reshape(parameter.shape) / 3)
        found = []
        for number in range(4):
            outer = outers[number // 2]
            if number == 2 and outers[0] is not outer:
                saved = outers[0].state_dict()
                # Earlier checkpoints kept leaves in the order in which the last step had left them.
                outer.load_state_dict({k: list(v.values()) for k, v in saved.items()} if without_paths else saved)
            learner.zero_grad()
            tasks = problems.draw(torch.arange(2) + 2 * number)
            outer.estimate(losses, tasks, keys(2 * number, 2))
            found.append(torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None]))
        return found

    whole = PES(2, 0.05)
    expected = estimates([whole, whole])
    found = estimates([PES(2, 0.05), PES(2, 0.05)])
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not torch.equal(expected[2], expected[3])


def test_the_recipe_of_a_learned_optimizer_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    def weights(folder: Path, steps: int) -> list[Tensor]:
        recipe = lookup("recipe", "learned-optimizer").build(
            steps=steps, meta_batch=2, fewest=2, most=6, length=2, schedule="constant", device="cpu"
        )
        return list(recipe.train(folder, progress=False).learner.state_dict().values())

    expected = weights(tmp_path / "whole", 16)
    weights(tmp_path / "parts", 9)
    assert all(map(torch.equal, weights(tmp_path / "parts", 16), expected))


def test_loops_of_another_meta_batch_are_refused() -> None:
    learner, outer = bilevel.learner(STEPS, LR), Truncated(LENGTH)
    losses = MetaLoss(learner, InnerSteps())
    outer.estimate(losses, bilevel.Parabolas().draw(torch.arange(4)), keys(0, 4))
    other = Truncated(LENGTH)
    saved = outer.state_dict()
    other.load_state_dict({name: {path: leaf[:2] for path, leaf in leaves.items()} for name, leaves in saved.items()})
    with pytest.raises(CheckpointError, match="another learner or meta-batch"):
        other.estimate(losses, bilevel.Parabolas().draw(torch.arange(4)), keys(0, 4))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("objective", [query_loss, InnerSteps(), DiscountedSteps(0.5)])
@pytest.mark.parametrize(("steps", "length"), [(5, 20), (5, 2), (6, 3), (30, 20)])
def test_mean_over_a_loop_is_the_objective(objective: Objective, steps: int, length: int) -> None:
    learner, task, key = bilevel.learner(steps, LR), bilevel.Parabolas().draw(torch.arange(1)), keys(0, 1)
    outer = Truncated(length)
    losses = MetaLoss(learner, objective)
    outer.slots(learner, task, key).end.fill_(steps)
    found = []
    for _ in range(-(-steps // length)):
        outer.estimate(losses, task, key)
        found.append(slope(learner))
    if steps <= length:
        Gradient().estimate(losses, task, key)
        torch.testing.assert_close(found[0], slope(learner), rtol=1e-9, atol=1e-12)
    (slots,) = outer._slots.values()
    # No step is taken beyond the end.
    torch.testing.assert_close(
        slots.states.theta["weight"][0, 0], bilevel.path(batching.select(task, 0), LR, steps)[0][-1]
    )
    weights = losses.objective.weight(torch.arange(1, steps + 1), steps)
    expected = bilevel.truncated_gradients(batching.select(task, 0), LR, steps, length, weights.double()).sum()
    torch.testing.assert_close(torch.stack(found).mean(), expected, rtol=1e-9, atol=1e-12)


def test_budgets_mean_the_same_for_all_outer_optimisers() -> None:
    problems = qs.tasks.Budgets(qs.tasks.Quadratics(), (3, 3))
    task, learner = problems.draw(torch.arange(1)), qs.learners.L2O(qs.rules.LSTMRule(hidden=3), steps=7)
    whole = MetaLoss(learner, InnerSteps())(task, keys(0, 1))
    short = qs.learners.L2O(learner.rule, steps=3)
    torch.testing.assert_close(whole, MetaLoss(short, InnerSteps())(task, keys(0, 1)))
    with pytest.raises(InputError, match="up to 3 steps, but L2O makes 2"):
        qs.meta_train(qs.learners.L2O(learner.rule, steps=2), problems, steps=1, progress=False)


def test_loops_that_have_not_come_again_are_kept() -> None:
    outer, other = Truncated(2), Truncated(2)
    learner = qs.learners.L2O(qs.rules.LSTMRule(hidden=3), steps=6)
    losses = MetaLoss(learner, InnerSteps())
    families = [qs.tasks.Quadratics(dimensions) for dimensions in (3, 4)]
    for family in families:
        outer.estimate(losses, family.draw(torch.arange(2)), keys(0, 2))
    other.load_state_dict(outer.state_dict())
    other.estimate(losses, families[0].draw(torch.arange(2)), keys(0, 2))
    assert set(other.state_dict()) == set(outer.state_dict())


def test_families_with_nets_alike_are_two() -> None:
    learner, outer = qs.learners.L2O(qs.rules.LSTMRule(hidden=3), steps=6), PES(2)
    losses = MetaLoss(learner, InnerSteps())
    for conditioning in (1.0, 10.0):
        outer.estimate(losses, qs.tasks.Quadratics(3, conditioning=conditioning).draw(torch.arange(2)), keys(0, 2))
    assert len(outer._slots) == 2


def test_a_pair_that_diverges_says_nothing_and_begins_anew() -> None:
    learner, outer = bilevel.learner(STEPS, LR), PES(LENGTH)
    losses = MetaLoss(learner, InnerSteps())
    task = bilevel.Parabolas().draw(torch.arange(4))
    slots = outer.slots(learner, task, keys(0, 4))
    slots.end.fill_(STEPS)
    outer.estimate(losses, task, keys(0, 4))
    learner.zero_grad()
    slots.states[0].theta["weight"][1] = torch.inf
    shown = outer.estimate(losses, task, keys(4, 4))
    assert torch.isfinite(shown).all()
    assert torch.isfinite(slope(learner))
    assert slots.done.tolist() == [2 * LENGTH, STEPS, 2 * LENGTH, 2 * LENGTH]


def test_slots_are_at_all_stages() -> None:
    learner, outer = bilevel.learner(STEPS, LR), Truncated(LENGTH)
    losses = MetaLoss(learner, InnerSteps())
    for step in range(6):
        outer.estimate(losses, bilevel.Parabolas().draw(torch.arange(8) + 8 * step), keys(8 * step, 8))
        (slots,) = outer._slots.values()
        assert sorted(slots.done.tolist()) != [slots.done[0].item()] * 8 or step == 0
        assert int(slots.done.max()) <= STEPS


def test_refusals() -> None:
    with pytest.raises(InputError, match="at least 1"):
        Truncated(0)
    with pytest.raises(InputError, match="sigma"):
        PES(sigma=0.0)
    assert "no inner loop" in (Truncated().refuses(qs.learners.ProtoNet(mlp()), InnerSteps()) or "")
    imaml = CLASSIFICATION["IMAML"](mlp, WAYS)
    assert "of a loop's end" in (Truncated().refuses(imaml, InnerSteps()) or "")
    assert "InnerSteps" in (PES().refuses(imaml, lifted(lambda *_: torch.zeros(()))) or "")
    assert PES().refuses(imaml, InnerSteps()) is None
    assert "different stages" in (Truncated().refuses(imaml, WorstCase(of=InnerSteps())) or "")
    maml = qs.learners.MAML(mlp(WAYS), steps=4)
    assert "first segment" in (Truncated(2).refuses(maml, AnnealedSteps()) or "")
    assert Truncated(4).refuses(maml, AnnealedSteps()) is None
