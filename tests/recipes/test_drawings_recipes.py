"""Recipes on glyphs and Omniglot at once: what is trained on is in no test, in print or in handwriting."""

import pytest

from quickstudy.nets import Drawings
from quickstudy.recipes.drawings import ELSEWHERE, DrawingsMAML, DrawingsProtoNet
from quickstudy.recipes.metric import GlyphsProtoNet
from tests.helpers.real_data import require

WRITING = {
    "ARABIC": ("Malay_(Jawi_-_Arabic)",),
    "ARMENIAN": ("Armenian",),
    "CANADIAN": tuple(f"{name}_(Canadian_Aboriginal_Syllabics)" for name in ("Blackfoot", "Inuktitut", "Ojibwe")),
    "CYRILLIC": ("Cyrillic",),
    "GEORGIAN": ("Asomtavruli_(Georgian)", "Mkhedruli_(Georgian)"),
    "GREEK": ("Greek",),
    "HEBREW": ("Hebrew",),
    "LATIN": ("Latin",),
}
"""Alphabets of Omniglot's background set, by script of the glyphs."""


@pytest.fixture
def both(_real_data, glyph_cache):
    require("omniglot")


@pytest.mark.usefixtures("both")
def test_no_writing_of_a_test_is_trained_or_chosen_on():
    tests = {
        "glyphs": set(GlyphsProtoNet().splits()[2].attributes["script"]),
        "omniglot": set(GlyphsProtoNet(data="omniglot").splits()[2].attributes["alphabet"]),
    }
    assert {s for s, alphabets in WRITING.items() if tests["omniglot"] & set(alphabets)} - tests["glyphs"] == set(
        ELSEWHERE["glyphs"][1]
    )
    own = GlyphsProtoNet(data="omniglot").splits()
    known = set(own[0].attributes["alphabet"]) | set(own[1].attributes["alphabet"])
    expected = {a for s, alphabets in WRITING.items() for a in alphabets if s in tests["glyphs"]} & known
    assert expected == set(ELSEWHERE["omniglot"][1])
    train, validation, test = DrawingsProtoNet().splits()
    assert not (set(train.classes) | set(validation.classes)) & set(test.classes)
    for part in (train, validation):
        assert not [name for name in part.classes if name.startswith(("HEBREW", "GEORGIAN", "Cyrillic/", "Malay"))]
        assert len(part.groups("data")) == 2


@pytest.mark.usefixtures("both")
def test_a_task_is_of_one_data_set():
    plan = DrawingsMAML(train_classes=40, train_ways=20, ways=5).plan()
    for tasks in (plan.train, plan.validation, plan.test):
        assert tasks.within == "data"
    assert DrawingsMAML(train_classes=40, test_data="glyphs").plan().test.name == "glyphs"
    assert any(isinstance(module, Drawings) for module in plan.learner.modules())
