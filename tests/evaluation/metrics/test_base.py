"""The table of metrics: asked by name, added to in one file, and used by name everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.evaluation import Report, compare, find_metric, mean_of_rows, metric
from quickstudy.registry import TABLES, table
from quickstudy.reports import plots, report
from tests.helpers.blobs import make_blobs

LOWER = {"mse", "rmse", "mae", "smape", "loss", "regret"}
HIGHER = {"accuracy", "iou", "auc", "average_precision", "log_likelihood", "mrr", "hits@k", "ndcg@k", "return"}


@pytest.fixture
def twice_wrong() -> Iterator[str]:
    """Return the name of a metric of a user's own: twice the share of wrong answers, undefined where all are right."""

    @metric("twice_wrong", label="Doubled error", unit="points", lower_is_better=True, predicts="classes", partial=True)
    def of(outputs: Tensor, query: qs.Examples) -> Tensor:
        found = 2 * mean_of_rows(outputs.argmax(2) != query.labels, query)
        return found.where(found > 0, math.nan)

    yield "twice_wrong"
    del TABLES["metric"]["twice_wrong"]


def test_every_metric_knows_its_direction_and_its_label() -> None:
    assert set(table("metric")) >= LOWER | HIGHER
    for name in LOWER | HIGHER:
        found = find_metric(name.replace("@k", "@3"))
        assert found.lower_is_better == (name in LOWER)
        assert found.label[0].isupper()
        assert found.gain(1.0, over=3.0) == (2.0 if name in LOWER else -2.0)
        assert table("metric")[name].summary.startswith("Return ")


def test_units_stand_beside_labels() -> None:
    assert find_metric("accuracy").title == "Accuracy"
    assert find_metric("log_likelihood").title == "Log-likelihood of a query, in nats"
    assert find_metric("smape").title.endswith(", in %")


def test_numbers_are_read_from_names() -> None:
    assert find_metric("hits@10").name == "hits@10"
    assert find_metric("hits@10").label == "Relevant item among the first 10"
    for wrong in ("hits@0", "hits@k", "hits@", "ndcg@-1", "ndcg@2.5"):
        with pytest.raises(InputError, match="a whole number of at least 1 after the @"):
            find_metric(wrong)
    for unknown in ("acuracy", "accuracy@3", "hits"):
        with pytest.raises(InputError, match=rf"unknown metric '{unknown}'; did you mean '(accuracy|hits@k)'"):
            find_metric(unknown)
    with pytest.raises(InputError, match="asked for by its name, such as 'accuracy', not by 5"):
        find_metric(5)  # type: ignore[arg-type]


def test_a_metric_of_a_user_is_used_by_name(twice_wrong: str) -> None:
    tasks = qs.tasks.FewShot(make_blobs(), ways=3, shots=1, queries=2)
    learner = qs.learners.ProtoNet(torch.nn.Linear(4, 2))
    plain = qs.evaluate(learner, tasks, 30)
    wrong = 2 * (1 - plain.values)
    assert (wrong > 0).any()
    assert (wrong == 0).any()
    own = qs.evaluate(learner, tasks, 30, metric=twice_wrong)
    np.testing.assert_allclose(own.values, np.where(wrong > 0, wrong, np.nan))
    assert own.mean == pytest.approx(wrong[wrong > 0].mean())
    assert own.calibration == plain.calibration
    counted = int((wrong > 0).sum())
    assert f"{counted} of 30 tasks)" in str(own)
    assert own.to_json()["counted"] == counted
    assert own.gain(own.mean + 1) == 1.0
    tasks.metric = twice_wrong
    assert qs.evaluate(learner, tasks, 30).metric == twice_wrong
    reports, gaps = compare({"a": learner, "b": qs.learners.NearestNeighbour()}, tasks, 30)
    assert {each.metric for each in reports.values()} == {twice_wrong}
    both = reports["a"].values - reports["b"].values
    assert gaps[0].mean == pytest.approx(np.nanmean(both))
    assert plots.bars(reports).axes[0].get_xlabel() == "Doubled error, in points"


def test_a_page_of_a_comparison_names_the_metric_and_puts_the_best_first(twice_wrong, tmp_path) -> None:
    values = np.array([0.5, 1.0, np.nan])
    reports = {
        name: Report(twice_wrong, values + more, learner="ProtoNet", tasks={"name": "x"})
        for name, more in (("worse", 0.5), ("better", 0.0))
    }
    text = report.write_comparison(reports, {}, tmp_path / "page.html").read_text()
    assert "Doubled error, in points, 95 % interval, 2 of 3 tasks" in text
    assert '<div class="card">better<b>1.500' not in text
    assert '<div class="card">better<b>0.750<small> ± ' in text
    assert "<td>better minus worse</td>" in text
