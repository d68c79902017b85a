"""The Omniglot challenge: alphabets that are trained on, chosen on and reported on have nothing in common."""

import pytest

from quickstudy import datasets
from quickstudy.errors import InputError
from quickstudy.recipes.challenge import CHOSEN_ON, OmniglotChallenge
from quickstudy_studies.results.other_rows import OTHERS
from tests.helpers.real_data import require


@pytest.fixture(autouse=True)
def _omniglot(_real_data):
    require("omniglot")


def alphabets(data) -> set[str]:
    return set(data.groups("alphabet"))


def test_folds_deal_all_alphabets():
    held = []
    for fold in range(5):
        train, validation, test = OmniglotChallenge(fold=fold, validation=3).splits()
        parts = [alphabets(each) for each in (train, validation, test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 30
        assert len(parts[1]) == 3
        held += sorted(parts[2])
    assert len(held) == len(set(held)) == 30


@pytest.mark.parametrize("name", ["small1", "small2"])
def test_minimal_training_has_five_alphabets(name):
    train, validation, test = OmniglotChallenge(train_on=name).splits()
    assert alphabets(train) == alphabets(datasets.omniglot(subset=name))
    assert validation is None
    chosen_on = alphabets(OmniglotChallenge(fold=CHOSEN_ON).splits()[2])
    parts = [alphabets(train), alphabets(test), chosen_on - alphabets(train)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30
    _, held, same = OmniglotChallenge(train_on=name, validation=2).splits()
    assert alphabets(held) < chosen_on
    assert alphabets(same) == alphabets(test)


def test_rows_report_no_alphabet_that_settings_were_chosen_on():
    chosen_on = alphabets(OmniglotChallenge(fold=CHOSEN_ON).splits()[2])
    # What the settings were tried on: alphabets held out of the training of fold 0.
    assert alphabets(OmniglotChallenge(fold=0, validation=5).splits()[1]) < chosen_on
    for row in (each for each in OTHERS if each.recipe == "omniglot-challenge"):
        for number in row.numbers or (0,):
            assert alphabets(row.make(number, quick=False).splits()[2]).isdisjoint(chosen_on)


def test_turned_alphabets_are_alphabets_of_their_own():
    plan = OmniglotChallenge(combinations=0).plan()
    assert len(alphabets(plan.train.data)) == 4 * 24
    assert plan.train.batch(0, 20).support.labels.shape == (20, 20)


def test_combined_alphabets_are_of_training_alone():
    plan = OmniglotChallenge(train_on="small1", combinations=10).plan()
    names = alphabets(plan.train.data)
    assert sum(name.startswith("combined") for name in names) == 10
    assert len(names) == 4 * 5 + 10
    assert not any(name.startswith("combined") for name in alphabets(plan.test.data))
    # Tasks have no fewer characters than the smallest real alphabet.
    assert plan.train.ways == OmniglotChallenge(train_on="small1", combinations=0).plan().train.ways


def test_no_such_fold():
    with pytest.raises(InputError, match=r"fold must lie in 0\.\.4"):
        OmniglotChallenge(fold=5).splits()
    with pytest.raises(InputError, match=r"folds must lie in 2\.\.30"):
        OmniglotChallenge(folds=1).splits()


@pytest.mark.parametrize(("name", "validation"), [("background", 30), ("small1", 9)])
def test_no_more_alphabets_to_choose_on_than_there_are(name, validation):
    with pytest.raises(InputError, match=f"validation={validation} alphabets are more"):
        OmniglotChallenge(train_on=name, validation=validation).splits()


def test_few_ways_are_validated_with_as_few():
    plan = OmniglotChallenge(validation=3, ways=5, combinations=0).plan()
    assert plan.validation.batch(0, 1).support.labels.shape == (1, 5)


def test_distances_are_scaled_where_asked_for():
    scale = OmniglotChallenge(scaled=True, hidden=8, size=28, train_on="small1").plan().learner.log_scale
    assert float(scale.detach().exp()) == pytest.approx((8 * 7 * 7) ** -0.5)
    assert OmniglotChallenge(scaled=False, hidden=8, train_on="small1").plan().learner.log_scale is None


def test_known_alphabets_are_asked_for_in_other_hands():
    train, validation, test = OmniglotChallenge(train_on="known").splits()
    assert alphabets(train) == alphabets(test)
    assert len(alphabets(test)) == 30
    assert validation is None
    assert set(train.source.tolist()).isdisjoint(test.source.tolist())
    assert len(train) + len(test) == len(datasets.omniglot(subset="background"))
    with pytest.raises(InputError, match="validation must be 0"):
        OmniglotChallenge(train_on="known", validation=2).splits()


def test_maps_may_be_bent_or_not():
    bent, rigid = (OmniglotChallenge(halvings=2, reach=reach).plan().learner for reach in (2.0, 0.0))
    assert (bent.distance.height, bent.distance.width, bent.distance.reach) == (8, 8, 2.0)
    assert rigid.distance == "euclidean"
    deeper = OmniglotChallenge(halvings=3, size=48, reach=1.0).plan().learner
    assert deeper.net.features == 64 * deeper.distance.height * deeper.distance.width == 64 * 6 * 6
