"""The challenge by alphabet: each is asked of the run that never saw it, with as many characters as it allows."""

import pytest
import torch

from quickstudy import datasets
from quickstudy.recipes.challenge import OmniglotChallenge
from quickstudy.storage.checkpoint import read_json
from quickstudy_studies.challenge.challenge_alphabets import _most_ways, challenge_alphabets, figure, markdown
from tests.helpers.real_data import require

FOUND = {
    "Old_Runes 20": {"ways": 20, "mean": 0.02, "interval": 0.01, "chosen_on": False},
    "New_(Runes) 20": {"ways": 20, "mean": 0.06, "interval": 0.01, "chosen_on": False},
    "Seen 20": {"ways": 20, "mean": 0.1, "interval": 0.01, "chosen_on": True},
    "Few 13": {"ways": 13, "mean": 0.5, "interval": 0.02, "chosen_on": False},
}


def test_the_mean_is_of_whole_alphabets_that_chose_nothing():
    text = markdown(FOUND)
    assert "| New (Runes) | 20 | 6.0 ± 1.0 % |" in text
    assert "| Seen* | 20 | 10.0 ± 1.0 % |" in text
    assert "| Few | 13 | 50.0 ± 2.0 % |" in text
    assert "Over the 2 alphabets with 20 characters" in text
    assert "mean 4.0 %, median 4.0 %; 1 have an error of at most 4.5 %." in text
    labels = [label.get_text() for label in figure(FOUND).axes[0].get_yticklabels()]
    assert labels == ["Old Runes", "New (Runes)", "Seen*", "Few (13)"]


def test_as_many_characters_as_two_people_have_both_drawn():
    # Three people; the first two share characters 0 to 2, the others fewer.
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    people = torch.tensor([0, 1, 0, 1, 0, 1, 2])
    data = datasets.arrays(torch.rand(7, 1, 2, 2), labels, source=people, attributes={"alphabet": ("A",) * 4})
    tasks, ways = _most_ways(data)
    assert ways == 3
    assert tasks.batch(0, 1).support.labels.shape == (1, 3)


@pytest.mark.usefixtures("_real_data")
def test_each_alphabet_is_one_that_the_run_never_saw(tmp_path):
    require("omniglot")
    ticks = []
    lines = challenge_alphabets(tmp_path / "out", lambda *at: ticks.append(at), quick=True, seeds=1)
    held = OmniglotChallenge(fold=0).splits()[2].groups("alphabet")
    found = read_json(tmp_path / "out" / "results.json")
    assert {name.rpartition(" ")[0] for name in found} == set(held)
    assert ticks == [(0, 1), (1, 1)]
    assert not any(each["chosen_on"] for each in found.values())
    assert len(lines) == 1 + 2 + len(held) + 2
    assert (tmp_path / "out" / "alphabets.png").stat().st_size > 1000
