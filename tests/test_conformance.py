"""Every learner keeps the contract."""

import pytest

from learner_table import (
    CLASSIFICATION,
    REGRESSION,
    WAYS,
    classification_task,
    conv4,
    masked_task,
    mlp,
    regression_task,
)
from quickstudy import registry
from quickstudy.testing import check_learner

# Losses whose derivatives finite differences can follow through max-pooling and ReLU at 16 pixels are few.
CONV4 = ["ANIL", "CAVIA", "FineTune", "IMAML", "MAML", "MatchingNet", "ProtoMAML", "ProtoNet", "RelationNet", "Reptile"]


def test_table_has_every_registered_learner() -> None:
    covered = {name.partition("-")[0] for name in CLASSIFICATION}
    assert covered == set(registry.table("learner"))


def test_table_has_regression_for_every_learner_that_claims_it() -> None:
    claimed = {name for name, entry in registry.table("learner").items() if entry.facts["tasks"] == "both"}
    assert {name.partition("-")[0] for name in REGRESSION} == claimed


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


@pytest.mark.parametrize("policy", ["support", "transductive"])
@pytest.mark.parametrize("name", CONV4)
def test_batch_norm(name: str, policy: str) -> None:
    learner = CLASSIFICATION[name](conv4, WAYS, batch_norm=policy)
    assert learner.batch_norm == policy
    assert learner.independent_queries == (policy == "support")
    check_learner(learner, classification_task(2, 1, (1, 16, 16)))
