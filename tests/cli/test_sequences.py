"""Sequences through the command: trained, evaluated, compared with other families, and reported."""

import json

import pytest

from quickstudy.cli import main


@pytest.fixture(scope="module")
def mann(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences") / "mann"
    options = ["--steps", "2", "--hidden", "8", "--controller", "8", "--slots", "8", "--presentations", "3"]
    options += ["--meta-batch", "2", "--validation-tasks", "2", "--device", "cpu"]
    assert main(["train", "glyphs-mann", *options, "--run-dir", str(folder)]) == 0
    return folder


def test_evaluate_shows_and_saves_the_curve(mann, capsys):
    assert main(["evaluate", str(mann), "--tasks", "4"]) == 0
    assert "presentation" in capsys.readouterr().out
    stored = json.loads((mann / "evaluation.json").read_text())
    assert len(stored["presentations"]) == 3
    assert stored["distribution"]["presentations"] == 3
    assert len(stored["seen_classes"]["presentations"]) == 3


def test_families_are_compared_on_either_kind_of_task(mann, runs, tmp_path, capsys):
    """The first run's tasks serve for all: sequences, or five-way one-shot."""
    protonet = runs / "protonet"
    assert main(["compare", str(mann), str(protonet), "--tasks", "3", "--json", str(tmp_path / "a.json")]) == 0
    assert "presentation" in capsys.readouterr().out
    assert main(["compare", str(protonet), str(mann), "--tasks", "3", "--json", str(tmp_path / "b.json")]) == 0
    assert "presentation" not in capsys.readouterr().out
    first, second = (json.loads((tmp_path / name).read_text())["reports"] for name in ("a.json", "b.json"))
    assert set(first) == set(second) == {"mann", "protonet"}
    for name in first:
        assert len(first[name]["presentations"]) == 3
        assert second[name]["presentations"] == []
        assert second[name]["distribution"]["shots"] == [1, 1]


def test_report_draws_the_curve(mann):
    assert main(["report", str(mann), "--tasks", "4"]) == 0
    text = (mann / "report.html").read_text()
    assert "Accuracy as a class is presented again" in text
    assert "presentation of a class" in text
    assert "sequences of 5 classes, 3 presentations of each" in text


def test_sequences_have_no_shots(mann, capsys):
    assert main(["evaluate", str(mann), "--shots", "2"]) != 0
    assert "no shots" in capsys.readouterr().err


def test_what_learned_an_algorithm_is_evaluated_and_reported(tmp_path, capsys):
    options = ["--steps", "2", "--controller", "8", "--slots", "8", "--length", "3", "--validation-tasks", "2"]
    assert main(["train", "copy-ntm", *options, "--device", "cpu", "--run-dir", str(tmp_path)]) == 0
    assert main(["evaluate", str(tmp_path), "--tasks", "4"]) == 0
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    assert stored["distribution"]["length"] == [6, 6]
    # Nearest neighbour names rows, and here a row has a label for each of its bits.
    assert stored["baselines"] == {}
    assert main(["report", str(tmp_path), "--tasks", "4"]) == 0
