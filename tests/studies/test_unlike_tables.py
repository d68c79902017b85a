import json

import pytest
import torch

from quickstudy.cli import main
from quickstudy.datasets import table
from quickstudy.recipes.tables import TablesAttributeSets, table_tasks
from quickstudy_studies.unlike_tables.page import NAMES


def test_the_command_writes_everything(tmp_path, capsys):
    assert main(["reproduce", "unlike-tables", "--quick", "--output", str(tmp_path)]) == 0
    assert "5-shot: of 1 tables held out" in capsys.readouterr().out
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [(run["table"], run["shots"]) for run in runs] == [("cancer", 1), ("cancer", 5)]
    for run in runs:
        means = {name: mean for name, (mean, _) in run["accuracy"].items()}
        assert set(means) == set(NAMES)
        assert run["gain"]["logistic"][0] == pytest.approx(means["meta"] - means["logistic"])
        # More than chance of two classes, with nothing learned across tables.
        assert min(means["logistic"], means["mean"], means["neighbour"]) > 0.6
    assert (tmp_path / "tables.png").stat().st_size > 5_000
    assert (tmp_path / "table.md").read_text().count("\n") == 4


def test_the_table_held_out_is_in_no_training_task():
    plan = TablesAttributeSets(held_out="iris").plan()
    assert plan.test.classes == table("iris").classes
    assert {name.partition(":")[0] for name in plan.train.classes} == {"cancer", "digits", "wine"}
    assert plan.train.uniform
    batch = plan.train.batch(0, 60)
    assert batch.support.inputs.shape == (60, 15, 16, 2)
    sizes = batch.support.inputs[..., 1].sum(2).amax(1)
    assert sizes.min() >= 2
    assert len(sizes.unique()) > 10
    assert set((batch.support.mask.sum(1)).tolist()) > {2, 3, 10, 15}


def test_tasks_know_their_own_support_alone():
    rows = table_tasks("wine", (4, 4), 3, 16).batch(0, 30)
    x, has, real = rows.support.inputs[..., 0], rows.support.inputs[..., 1] > 0, rows.support.mask.unsqueeze(2)
    count = (has & real).sum(1)
    mean = torch.where(has & real, x, 0.0).sum(1) / count.clamp_min(1)
    square = torch.where(has & real, x.square(), 0.0).sum(1) / count.clamp_min(1)
    assert float(mean.abs().max()) < 1e-4
    spread = square[has[:, 0]]
    # One, or none where an attribute is constant.
    assert bool((((spread - 1).abs() < 1e-3) | (spread == 0)).all())
