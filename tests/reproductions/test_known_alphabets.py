"""The challenge of known alphabets: two runs, one of which has seen the characters by other hands, asked the same."""

import pytest

from quickstudy.checkpoint import read_json
from quickstudy.recipes.challenge import OmniglotChallenge
from quickstudy.reproductions.known_alphabets import challenge_known, markdown
from real_data import require


def test_means_are_of_alphabets_that_chose_nothing_and_of_those_that_chose():
    found = {
        "A 20": {"new": 0.1, "known": 0.05, "chosen_on": False},
        "B 20": {"new": 0.3, "known": 0.15, "chosen_on": False},
        "C 14": {"new": 0.5, "known": 0.4, "chosen_on": True},
    }
    text = markdown(found)
    assert "| settings not chosen on them | 2 | 20.0 % | 10.0 % |" in text
    assert "| settings chosen on them | 1 | 50.0 % | 40.0 % |" in text
    assert "chosen on them | 1" not in markdown({"A 20": found["A 20"], "B 20": found["B 20"]})


@pytest.mark.usefixtures("_real_data")
def test_both_runs_are_asked_for_the_alphabets_that_one_of_them_never_saw(tmp_path):
    require("omniglot")
    lines = challenge_known(tmp_path / "out", lambda *at: None, quick=True, seeds=1)
    held = OmniglotChallenge(fold=0).splits()[2].groups("alphabet")
    found = read_json(tmp_path / "out" / "results.json")
    assert {name.rpartition(" ")[0] for name in found} == set(held)
    assert all(0 <= each[what] <= 1 for each in found.values() for what in ("new", "known"))
    assert any(each["new"] != each["known"] for each in found.values())
    assert len(lines) == 3
    assert len(list((tmp_path / "trained").iterdir())) == 2
