"""Every learner keeps the contract."""

import pytest
import torch

import quickstudy as qs
from quickstudy import Examples, Task, registry
from quickstudy.learners import MAML
from quickstudy.testing import check_learner
from quickstudy.testing.specimens import (
    CLASSIFICATION,
    PROBLEMS,
    REGRESSION,
    WAYS,
    classification_task,
    conv4,
    mlp,
    problem_task,
    regression_task,
)
from tests.helpers.blobs import make_blobs
from tests.helpers.masked import masked_task

CONV4 = [name for name in CLASSIFICATION if name not in ("AttributeSets", "NearestNeighbour")]


def test_table_has_every_registered_learner() -> None:
    covered = {name.partition("-")[0] for name in (*CLASSIFICATION, *REGRESSION, *PROBLEMS)}
    assert covered == set(registry.table("learner"))


def test_table_has_regression_for_every_learner_that_claims_it() -> None:
    for_what = {name: entry.facts["tasks"] for name, entry in registry.table("learner").items()}
    claimed = {name for name, tasks in for_what.items() if tasks not in ("classification", "problems")}
    assert {name.partition("-")[0] for name in REGRESSION} == claimed
    assert {name.partition("-")[0] for name in PROBLEMS} == {n for n, tasks in for_what.items() if tasks == "problems"}


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification(name: str) -> None:
    check_learner(CLASSIFICATION[name](mlp, WAYS), classification_task())


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_variable_shots(name: str) -> None:
    check_learner(CLASSIFICATION[name](mlp, WAYS), masked_task())


@pytest.mark.parametrize("name", REGRESSION)
def test_regression(name: str) -> None:
    net = lambda **options: mlp(inputs=1, **options)  # noqa: E731
    check_learner(REGRESSION[name](net, 1), regression_task())


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_with_padding(name: str) -> None:
    net = lambda **options: mlp(inputs=1, **options)  # noqa: E731
    batch = qs.tasks.Sinusoid(shots=(2, 6), queries=3).batch(0, 1)
    assert int(batch.support.mask.sum()) < 6
    check_learner(REGRESSION[name](net, 1), qs.batching.select(batch, 0))


@pytest.mark.parametrize("ways", [WAYS, None])
@pytest.mark.parametrize("name", PROBLEMS)
def test_problems(name: str, ways: int | None) -> None:
    if name == "DatasetDistillation" and ways is None:
        pytest.skip("synthetic examples have classes")
    check_learner(PROBLEMS[name](), problem_task(ways))


@pytest.mark.parametrize("policy", ["support", "transductive"])
@pytest.mark.parametrize("name", CONV4)
def test_batch_norm(name: str, policy: str) -> None:
    learner = CLASSIFICATION[name](conv4, WAYS, batch_norm=policy)
    assert learner.batch_norm == policy
    assert learner.independent_queries == (policy == "support")
    check_learner(learner, classification_task(2, 1, (1, 16, 16)))


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_dense_labels(norm: str) -> None:
    def rows(count: int) -> Examples:
        return Examples(torch.randn(count, 1, 6, 6), torch.randint(0, 2, (count, 6, 6)), ways=2)

    net = qs.nets.fcn(1, 4, 2, depth=2, norm=norm)
    check_learner(MAML(net, lr=0.1, steps=2), Task(rows(3), rows(2)))


@pytest.mark.parametrize("name", ["MAML", "MatchingNet-context", "ProtoMAML", "RelationNet", "Reptile"])
def test_drawn_tasks_of_variable_ways(name: str) -> None:
    tasks = qs.tasks.FewShot(make_blobs(), ways=(2, WAYS), shots=(1, 4), queries=2)
    batch = tasks.batch(0, 12)
    sizes = batch.support.mask.sum(1)
    assert len(sizes.unique()) > 3
    for index in (int(sizes.argmin()), int(sizes.argmax())):
        # Labels of padding count as shown; whole classes may be padding.
        check_learner(CLASSIFICATION[name](mlp, WAYS), qs.batching.select(batch, index))


@pytest.mark.parametrize("name", sorted({*CLASSIFICATION, *REGRESSION, *PROBLEMS}))
def test_modules_own_apply(name: str) -> None:
    """PyTorch's idiom for initialising, which visits every module of a learner."""
    learner = PROBLEMS[name]() if name in PROBLEMS else (CLASSIFICATION | REGRESSION)[name](mlp, WAYS)
    visited = []
    learner.apply(lambda module: visited.append(module))
    assert {id(module) for module in visited} == {id(module) for module in learner.modules()}
