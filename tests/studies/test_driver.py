"""Every study, interrupted after its first piece, goes on with the second and makes the first no second time."""

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from quickstudy_studies import STUDIES
from quickstudy_studies.driver import Part, Plan, Study, in_runs, of_runs
from tests.helpers.real_data import require

NEEDS = {
    "challenge-alphabets": "omniglot",
    "challenge-known": "omniglot",
    "memory": "omniglot",
    "pretrained": "omniglot",
    "robustness": "omniglot",
    "sequences": "omniglot",
    "training-classes": "omniglot",
    "wrong-episodes": "omniglot",
}
LIBRARIES = {"hyper-parameters": "optuna", "simulators": "cmaes"}
SHORT = {"auxiliary-losses", "class-imbalance", "learned-loss", "noisy-labels", "two-modes", "unlike-tables"}
"""Studies whose quick form takes seconds; the others take longer."""


def figure(content):
    drawn = Figure()
    drawn.add_subplot().plot(content)
    return drawn


def interrupt(done, total):
    if done:
        raise KeyboardInterrupt


class Counted:
    """A study's plan with each piece counted when it is made."""

    def __init__(self, study, monkeypatch):
        self.made, plan = Counter(), study.plan

        def counted(folder, quick, seeds):
            found = plan(folder, quick, seeds)
            return Plan([replace(part, pieces=self.each(part.pieces)) for part in found.parts], found.results)

        monkeypatch.setitem(study.__dict__, "plan", counted)

    def each(self, pieces):
        return {name: partial(self.make, name, piece) for name, piece in pieces.items()}

    def make(self, name, piece):
        self.made[name] += 1
        return piece()


def whole(study, folder):
    for name in ("results.json", "table.md", *(f"{each}.png" for each in study.figures)):
        assert (folder / name).stat().st_size > 0, name


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SHORT else pytest.mark.slow) for name in STUDIES]
)
def test_every_study_goes_on_where_it_was(name, tmp_path, monkeypatch, request):
    if name in NEEDS:
        require(NEEDS[name])
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    if name == "learned-optimizer":
        request.getfixturevalue("momentum")
    study = STUDIES[name].load()
    folder, counted, ticks = tmp_path / name, Counted(study, monkeypatch), []
    with pytest.raises(KeyboardInterrupt):
        study(folder, interrupt, quick=True, seeds=1)
    assert sum(counted.made.values()) == 1
    assert not (folder / "results.json").exists()
    lines = study(folder, lambda *at: ticks.append(at), quick=True, seeds=1)
    assert lines
    assert ticks[0] == (1, len(counted.made))
    assert ticks[-1] == (len(counted.made), len(counted.made))
    # Pieces that keep themselves what they find are asked again; see the study's own test.
    kept_by_pieces = {"learned-optimizer"}
    assert name in kept_by_pieces or set(counted.made.values()) == {1}
    whole(study, folder)
    content, made = (folder / "results.json").read_text(), Counter(counted.made)
    study(folder, lambda *at: None, quick=True, seeds=1)
    assert name in kept_by_pieces or counted.made == made
    assert _without_times(content) == _without_times((folder / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["balancing", "beliefs", "learned-loss", "pac-bayes"])
def test_what_was_interrupted_ends_as_if_it_had_not_been(name, tmp_path):
    study = STUDIES[name].load()
    study(tmp_path / "whole", lambda *at: None, quick=True)
    torch.rand(3)  # a process of its own would be in another random state
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "parts", interrupt, quick=True)
    torch.manual_seed(7)
    study(tmp_path / "parts", lambda *at: None, quick=True)
    one, other = ((tmp_path / part / "results.json").read_text() for part in ("whole", "parts"))
    assert one == other


def _without_times(text):
    content = json.loads(text)
    if isinstance(content, dict):
        content.pop("minutes", None)
    return content


def planned(made, seeds=3, **settings):
    def plan(folder: Path, quick: bool, seeds: int) -> Plan:
        """Squares of numbers.

        Args:
            folder: gets files.
        """
        pieces = {
            str(n): lambda n=n: made.append(n) or {"n": n, "square": (n * n,)} for n in range(2 if quick else seeds)
        }
        return in_runs(pieces, settings, all="squares")

    def table(runs):
        return "\n".join(f"| {run['n']} | {run['square'][0]} |" for run in runs)

    def drawn(runs):
        return figure([run["square"][0] for run in runs])

    return Study(
        "squares", plan, of_runs(table), of_runs(lambda runs: [f"{len(runs)} squares"]), {"line": of_runs(drawn)}, seeds
    )


def test_a_study_says_what_its_plan_says():
    assert planned([]).__doc__.splitlines()[0] == "Squares of numbers."


def test_what_is_saved_is_what_the_pieces_returned(tmp_path):
    assert planned([])(tmp_path, lambda *at: None) == ["3 squares"]
    content = json.loads((tmp_path / "results.json").read_text())
    assert content == {"all": "squares", "runs": [{"n": n, "square": [n * n]} for n in range(3)]}
    assert (tmp_path / "table.md").read_text() == "| 0 | 0 |\n| 1 | 1 |\n| 2 | 4 |\n"
    assert (tmp_path / "line.png").read_bytes()[:4] == b"\x89PNG"


def test_seeds_are_the_study_s_own_unless_others_are_asked_for(tmp_path):
    assert planned([], 4)(tmp_path, lambda *at: None) == ["4 squares"]
    assert planned([], 4)(tmp_path, lambda *at: None, seeds=5) == ["5 squares"]
    assert planned([], 4)(tmp_path, lambda *at: None, quick=True, seeds=5) == ["2 squares"]


def test_more_repetitions_go_on_from_fewer(tmp_path):
    made = []
    planned(made, 2)(tmp_path, lambda *at: None)
    planned(made, 4)(tmp_path, lambda *at: None)
    assert made == [0, 1, 2, 3]


def test_pieces_of_other_settings_count_for_nothing(tmp_path):
    made = []
    planned(made, 2, steps=10)(tmp_path, lambda *at: None)
    planned(made, 2, steps=11)(tmp_path, lambda *at: None)
    assert made == [0, 1, 0, 1]


def test_an_error_in_a_later_piece_keeps_the_earlier_ones(tmp_path):
    made = []

    def plan(folder, quick, seeds):
        def second():
            assert not broken, "broken"
            return made.append("second")

        return in_runs({"first": lambda: made.append("first"), "second": second}, {})

    broken = True
    study = Study("two", plan, of_runs(str), of_runs(lambda runs: ["done"]))
    with pytest.raises(AssertionError, match="broken"):
        study(tmp_path, lambda *at: None)
    broken = False
    assert study(tmp_path, lambda *at: None) == ["done"]
    assert made == ["first", "second"]


def test_parts_count_on_from_each_other(tmp_path):
    ticks, first = [], Part({"a": lambda: 1, "b": lambda: 2}, {}, "first.json")
    second = Part({"c": lambda: json.loads((tmp_path / "first.json").read_text())["pieces"]["b"] + 1})
    study = Study("parts", lambda *asked: Plan((first, second), dict), str, lambda content: [str(content)])
    assert study(tmp_path, lambda *at: ticks.append(at)) == ["{'a': 1, 'b': 2, 'c': 3}"]
    assert ticks == [(0, 3), (1, 3), (2, 3), (2, 3), (3, 3)]
