"""The demonstration, with few steps of everything."""

import json

import pytest

from quickstudy.cli import demo
from quickstudy.cli.demo import META_LEARNED, main


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Take two steps, and few queries and tasks."""
    recipes = demo.recipes

    def few(quick):
        chosen = recipes(quick)
        for recipe in chosen.values():
            recipe.steps, recipe.queries, recipe.validate_every, recipe.hidden = 2, 2, 2, 8
        return chosen

    monkeypatch.setattr(demo, "recipes", few)
    monkeypatch.setattr(demo, "QUICK_TASKS", 20)


def test_demo_trains_compares_and_reports(tmp_path, glyph_cache, capsys):
    assert main(tmp_path, quick=True) == 0
    page = (tmp_path / "report.html").read_text()
    assert "Prototypical network" in page
    assert "Nearest neighbour" in page
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results) == {"ProtoNet", "FineTune", "LogisticRegression", "NearestNeighbour"}
    assert all(0 <= report["mean"] <= 1 for report in results.values())
    out = capsys.readouterr().out
    assert str(tmp_path) in out.replace("\n", "")
    assert "Time: " in out
    assert "evaluation" in out


def test_the_whole_demo_has_both_kinds_of_learners():
    assert set(META_LEARNED) < set(demo.recipes(False))
    assert set(demo.recipes(True)) < set(demo.recipes(False))


def test_interrupted_demo_goes_on(tmp_path, glyph_cache, capsys):
    main(tmp_path, quick=True)
    before = (tmp_path / "protonet" / "last.safetensors").read_bytes()
    main(tmp_path, quick=True)
    assert (tmp_path / "protonet" / "last.safetensors").read_bytes() == before
