import json

import torch

from quickstudy.cli import main
from quickstudy.recipes.tuning import TARGETS, DigitsAuxiliary


def test_the_command_writes_everything(tmp_path, capsys):
    assert main(["reproduce", "auxiliary-losses", "--quick", "--output", str(tmp_path)]) == 0
    assert "Learned weights: a teacher's logits" in capsys.readouterr().out
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert set(run["weights"]) == set(TARGETS)
    assert list(run["test"]) == ["none", *TARGETS, "all, weight 1", "learned"]
    assert (tmp_path / "weights.png").stat().st_size > 5_000
    assert (tmp_path / "table.md").read_text().count("\n") == 14


def test_parts_share_no_row_and_the_teacher_knows_its_digits():
    task, test = DigitsAuxiliary(split=1).problem()
    parts = [{row.numpy().tobytes() for row in rows.inputs["inputs"]} for rows in (task.support, task.query, test)]
    assert [len(part) for part in parts] == [100, 300, 697]
    assert len(set.union(*parts)) == 1097
    brought = task.support.inputs
    assert {name: brought[name].shape[1] for name in TARGETS} == TARGETS
    right = brought["teacher"].argmax(1) == task.support.labels
    assert float(right.float().mean()) > 0.9
    torch.testing.assert_close((4 * brought["teacher"]).exp().sum(1), torch.ones(100))
