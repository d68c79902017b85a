"""Figures that the recipes promise, at their default settings: minutes each, so `make test-slow`."""

import json
from pathlib import Path

import pytest

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.registry import lookup
from tests.helpers.real_data import require

ROWS = Path(__file__).parents[2] / "docs" / "results" / "rows"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def result(name, tmp_path, tasks=600, **options):
    recipe = lookup("recipe", name).build(**options)
    run = recipe.train(tmp_path / name, progress=False)
    return qs.evaluate(run.learner, recipe.plan().test, tasks)


def test_sinusoid_maml_after_one_step_on_five_shots(tmp_path):
    """Finn et al. 2017 report 0.67; Li et al. 2017 find Meta-SGD below MAML."""
    maml = result("sinusoid-maml", tmp_path)
    assert maml.mean <= 0.7
    assert result("sinusoid-metasgd", tmp_path).mean < maml.mean


def test_sinusoid_cavia_below_maml_on_ten_shots(tmp_path):
    """Zintgraf et al. 2019 report about 0.19 against 0.33."""
    assert result("sinusoid-cavia", tmp_path, shots=10).mean < result("sinusoid-maml", tmp_path, shots=10).mean


def test_omniglot_protonet(tmp_path):
    """At least 97 % on classes never seen (Vinyals' validation classes), after ten minutes on one core."""
    require("omniglot")
    assert result("omniglot-protonet", tmp_path, tasks=1000).accuracy >= 0.97


def test_a_row_of_the_results_comes_out_again(tmp_path):
    """A stranger's figure lies within the interval of the ledger's: the seeds are the same, the machine another."""
    kept = json.loads((ROWS / "sinusoid-cavia-10-shots.json").read_text())
    options = ["--output", str(tmp_path / kept["row"]), "--seeds", str(len(kept["seeds"]))]
    assert main(["reproduce", kept["row"], *options]) == 0
    found = json.loads((tmp_path / kept["row"] / "row.json").read_text())
    assert abs(found["mean"] - kept["mean"]) <= kept["interval"]
    assert [each["seed"] for each in found["seeds"]] == [each["seed"] for each in kept["seeds"]]
    shown = f"| {kept['mean']:.3f} ± {kept['interval']:.3f} |"
    assert f"| `{kept['row']}` | mse {shown}" in (ROWS.parent / "ledger.md").read_text()
