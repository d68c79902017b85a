"""Where the classes of image recipes come from."""

import pytest
import torch

from quickstudy import datasets
from quickstudy.errors import InputError
from quickstudy.recipes.metric import GlyphsProtoNet
from quickstudy.registry import lookup
from tests.helpers.real_data import require


@pytest.fixture
def omniglot(_real_data):
    require("omniglot")


def names(part) -> set[str]:
    return {name.partition("@")[0] for name in part.classes}


def test_fewer_training_classes_are_some_of_all(glyph_cache):
    whole, validation, test = GlyphsProtoNet().splits()
    few, *others = GlyphsProtoNet(train_classes=30).splits()
    assert len(few.classes) == 30
    assert names(few) < names(whole)
    assert [names(each) for each in others] == [names(validation), names(test)]
    more, *_ = GlyphsProtoNet(train_classes=60).splits()
    assert names(few) < names(more)
    with pytest.raises(InputError, match="train_classes=100000, but there are"):
        GlyphsProtoNet(train_classes=100_000).splits()


def test_rotations_are_of_omniglot_alone(omniglot, glyph_cache):
    train, validation, test = GlyphsProtoNet(data="omniglot", train_classes=5, rotations=False).splits()
    assert len(train.classes) == 5
    reported = datasets.omniglot_vinyals(subset="background", rotations=False)[1]
    assert len(test.classes) == 4 * len(reported.classes)
    assert len(validation.classes) == 4 * len(names(validation))
    assert names(train) | names(validation) < set(datasets.omniglot().classes) - names(test)


def test_tasks_may_come_from_elsewhere(omniglot, glyph_cache):
    train, _, test = GlyphsProtoNet(test_data="omniglot").splits()
    assert names(train) == names(GlyphsProtoNet().splits()[0])
    assert names(test) == names(GlyphsProtoNet(data="omniglot").splits()[2])
    assert len(test.classes) == 4 * len(names(test))
    back = GlyphsProtoNet(data="omniglot", test_data="glyphs").splits()[2]
    assert names(back) == names(GlyphsProtoNet().splits()[2])


@pytest.mark.parametrize("name", ["glyphs-protonet", "glyphs-finetune", "drawings-protonet"])
def test_training_drawings_alone_are_warped(name, omniglot, glyph_cache):
    plain, warped = (lookup("recipe", name).build(train_ways=3, warp=strength).plan() for strength in (0.0, 0.7))
    for part in ("train", "validation", "test"):
        given, found = (getattr(plan, part).batch(0, 1).query for plan in (plain, warped))
        assert torch.equal(given.labels, found.labels)
        same = [torch.allclose(a, b) for a, b in zip(given.inputs[0], found.inputs[0], strict=True)]
        assert not any(same) if part == "train" else all(same), part


def test_pairs_of_digits_are_of_one_part():
    require("mnist")
    recipe = lookup("recipe", "double-mnist-protonet").build(train_classes=30)
    parts = recipe.splits()
    assert [len(part.classes) for part in parts] == [30, 16, 20]
    assert len(set().union(*(part.classes for part in parts))) == 66
    whole = datasets.double_mnist_split(digits="test")[2]
    assert parts[2].inputs.shape == (len(whole), 1, 28, 28)
    ink = parts[2].inputs.float().mean() / whole.inputs.float().mean()
    assert abs(float(ink) - 1) < 0.05  # averaging keeps the ink of a picture
    for part in parts:  # every digit is in pairs of every part
        assert set("".join(part.classes)) == set("0123456789")
