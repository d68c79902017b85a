"""The challenge of known alphabets: two runs, one of which has seen the characters by other hands, asked the same."""

import numpy as np
import pytest

from quickstudy.recipes.challenge import OmniglotChallenge
from quickstudy.storage.checkpoint import load, read_json
from quickstudy_studies.challenge import known_alphabets
from quickstudy_studies.challenge.known_alphabets import challenge_known, markdown
from tests.helpers.real_data import require


def error(new: float, known: float, ways: int = 20, chosen_on: bool = False) -> dict:
    return {"new": new, "known": known, "ways": ways, "chosen_on": chosen_on}


def test_means_are_apart_by_what_alphabets_were_used_for_and_by_ways():
    found = {
        "A 20": error(0.1, 0.05),
        "B 20": error(0.3, 0.15),
        "C 14": error(0.5, 0.4, 14),
        "D 14": error(0.5, 0.2, 14),
    }
    found |= {"E 20": error(0.9, 0.8, chosen_on=True), "F 20": error(0.9, 0.8, chosen_on=True)}
    lines = markdown(found).splitlines()
    # A difference of 5 and of 15: a t of 12.7 with one degree of freedom, times 5.
    assert "| 20 characters, settings not chosen on them | 2 | 20.0 % | 10.0 % | 10.0 ± 63.5 |" in lines
    assert any(
        line.startswith("| fewer characters, settings not chosen on them | 2 | 50.0 % | 30.0 %") for line in lines
    )
    assert "| 20 characters, settings chosen on them | 2 | 90.0 % | 80.0 % | 10.0 ± 0.0 |" in lines
    assert len(lines) == 5


def total(learner) -> float:
    return sum(float(each.detach().sum()) for each in learner.parameters())


@pytest.mark.usefixtures("_real_data")
def test_both_runs_are_asked_the_same_of_hands_that_neither_knows(tmp_path, monkeypatch):
    require("omniglot")
    asked = []

    def by_alphabet(learner, data, tasks):
        asked.append((total(learner), data))
        return {
            f"{name} {14 + number}": np.full(tasks, len(asked)) for number, name in enumerate(data.groups("alphabet"))
        }

    monkeypatch.setattr(known_alphabets, "by_alphabet", by_alphabet)
    challenge_known(tmp_path / "out", lambda *at: None, quick=True, seeds=1)
    held = OmniglotChallenge(fold=0).splits()[2]
    (new, data), (known, same) = asked
    assert same is data
    assert set(data.classes) == set(held.classes)
    assert all(source % 3 == 0 for source in data.source.unique().tolist())
    runs = {
        path: read_json(path / "run.json")["settings"]["options"] for path in (tmp_path / "trained").glob("*/fold0")
    }
    assert {options["train_on"]: total(load(run)) for run, options in runs.items()} == {
        "background": new,
        "known": known,
    }
    assert new != known
    found = read_json(tmp_path / "out" / "results.json")
    assert {name.rpartition(" ")[0] for name in found} == set(held.groups("alphabet"))
    assert all((each["new"], each["known"]) == (1, 2) for each in found.values())
    assert not any(each["chosen_on"] for each in found.values())
