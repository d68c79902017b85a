"""Reports in words and in JSON, and tasks that do not count."""

import math
from typing import Any

import numpy as np
import torch

import quickstudy as qs
from quickstudy.evaluation import Report, differences
from quickstudy.learners import MAML, ProtoNet
from quickstudy.testing.specimens import mlp
from tests.helpers.blobs import make_blobs

DATA = make_blobs()


def tasks(**options: Any) -> qs.tasks.FewShot:
    return qs.tasks.FewShot(DATA, **{"ways": 3, "shots": 1, "queries": 4, **options})


def test_batch_norm_policy_is_named() -> None:
    data = qs.datasets.arrays(torch.rand(40, 1, 16, 16), [i % 4 for i in range(40)])
    learner = ProtoNet(qs.nets.conv4(1, 4, size=16), batch_norm="transductive")
    report = qs.evaluate(learner, qs.tasks.FewShot(data, ways=3, queries=2), 5)
    assert str(report).endswith("batch norm: transductive")
    assert report.to_json()["batch_norm"] == "transductive"


def test_to_json() -> None:
    import json

    report = json.loads(json.dumps(qs.evaluate(MAML(mlp(3), steps=2), tasks(), 5).to_json()))
    assert report["learner"] == "MAML"
    assert report["tasks"] == 5
    assert len(report["curve"]) == 3
    assert report["distribution"]["ways"] == [3, 3]


def test_tasks_where_all_are_undefined_have_no_mean() -> None:
    found = Report("auc", np.full(3, np.nan))
    assert math.isnan(found.mean)
    assert found.interval == math.inf
    assert math.isnan(differences({"a": found, "b": found})[0].mean)


def test_what_is_infinite_is_not_left_out_of_an_error() -> None:
    """Tasks without a query that counts are left out; a learner that diverged is not judged by its other tasks."""
    assert Report("mse", np.array([1.0, np.nan])).mean == 1.0
    assert Report("mse", np.array([1.0, np.inf])).mean == np.inf


def test_json_has_no_word_for_what_is_no_number() -> None:
    import json

    found = Report("accuracy", np.array([np.nan]), curve=(0.5, np.nan), presentations=np.array([[0.5, np.nan]]))
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (told["mean"], told["interval"], told["curve"]) == (None, None, [0.5, None])
    assert [each["mean"] for each in told["presentations"]] == [0.5, None]
