"""Methods on classes of one's own: every method, pictures and tables, splits, and what cannot be."""

import dataclasses

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import DataError, InputError
from quickstudy.nets import Columns
from quickstudy.recipes.own_methods import asked, find, methods
from tests.helpers.own_data import names, pictures, rows

METHODS = methods()
SMALL = {"hidden": 4, "device": "cpu", "meta_batch": 1, "steps": 1}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return str(pictures(tmp_path_factory.mktemp("data") / "photos", names(12)))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return str(rows(tmp_path_factory.mktemp("data") / "rows.csv", names(12)))


def recipe(name, **options):
    known = {field.name for field in dataclasses.fields(METHODS[name].build)}
    return METHODS[name].build(**{key: value for key, value in {**SMALL, **options}.items() if key in known})


def test_there_is_a_method_for_every_recipe_on_glyphs():
    recipes = {name.removeprefix("glyphs-") for name in qs.registry.table("recipe") if name.startswith("glyphs-")}
    assert set(METHODS) >= recipes - {"darts", "stream-lstm"}
    assert {"protonet", "maml", "matching", "siamese", "relation", "snail", "mann", "finetune"} <= set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("kind", ["photos", "table"])
def test_every_method_learns_from_pictures_and_tables(name, kind, photos, table):
    made = recipe(name, data=photos if kind == "photos" else table, size=16)
    if name == "relation" and kind == "table":
        with pytest.raises(InputError, match="compares maps of pictures"):
            made.plan()
        return
    plan = made.plan()
    task = plan.train.batch(0, 1)
    keys = qs.functional.random.fold_in(qs.functional.random.key(0), torch.arange(1))
    if plan.train.sequential:
        assert qs.batching.stream(plan.learner, task.query, keys).shape[0] == 1
    else:
        test = plan.test.batch(0, 1)
        state = qs.batching.adapt(plan.learner.eval(), test.support, keys)
        assert qs.batching.predict(plan.learner, state, test.query.inputs).shape[-1] == 3
    parts = [set(each.classes) for each in (plan.train, plan.validation, plan.test)]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert not set.intersection(*map(set, (parts[0] | parts[1], parts[2])))


@pytest.mark.parametrize(
    ("count", "ways", "parts"),
    [(6, 2, (2, 2, 2)), (8, 2, (4, 2, 2)), (13, 3, (7, 3, 3)), (20, 5, (10, 5, 5)), (50, 5, (30, 10, 10))],
)
def test_parts_hold_enough_classes_for_the_tasks(tmp_path, count, ways, parts):
    plan = recipe("protonet", data=str(rows(tmp_path / "t.csv", names(count)))).plan()
    assert tuple(len(each.classes) for each in (plan.train, plan.validation, plan.test)) == parts
    assert plan.test.ways == (ways, ways)
    assert plan.train.ways == (min(20, parts[0]),) * 2
    assert recipe("maml", data=str(tmp_path / "t.csv")).plan().train.ways == (ways, ways)


def test_what_cannot_be_is_said_in_a_line(tmp_path, photos, table):
    few = str(rows(tmp_path / "few.csv", names(5)))
    with pytest.raises(InputError, match=r"few\.csv has 5 classes; few-shot learning needs at least 6"):
        recipe("protonet", data=few).plan()
    with pytest.raises(InputError, match="have at most 4 each; take --ways 4 or fewer"):
        recipe("protonet", data=photos, ways=6).plan()
    with pytest.raises(DataError, match="there is no such folder or file"):
        recipe("maml", data="no/such/folder").plan()
    with pytest.raises(DataError, match="did you mean 'glyphs'"):
        recipe("maml", data="glyph").plan()
    with pytest.raises(InputError, match="no column 'kind'"):
        recipe("maml", data=table, label="kind").plan()
    with pytest.raises(InputError, match="unknown net 'conv5'; did you mean 'conv4'"):
        recipe("maml", data=photos, backbone="conv5").plan()
    with pytest.raises(InputError, match="unknown recipe or method 'protonett'; did you mean 'protonet'"):
        asked("protonett")
    with pytest.raises(InputError, match="is data; name a method first: quickstudy train protonet --data"):
        asked(photos)
    assert asked("ProtoNet").name == "protonet"
    assert asked("glyphs-maml").name == find("glyphs-maml").name == "glyphs-maml"


def test_columns_are_standardised_by_the_rows_that_are_trained_on(table):
    made = recipe("protonet", data=table)
    plan = made.plan()
    (net,) = [each for each in plan.learner.modules() if isinstance(each, Columns)]
    inputs = plan.train.data.inputs
    torch.testing.assert_close(net.mean, inputs.mean(0))
    torch.testing.assert_close(net.scale, 1 / inputs.std(0, correction=0))
    assert made.remarks()[1] == "label 'label'; 3 inputs: x0, x1, x2; left out: id numbers the rows"


def test_columns_can_be_chosen_and_groups_stay_whole(tmp_path):
    path = str(rows(tmp_path / "teams.csv", names(18), group=6))
    plan = recipe("protonet", data=path, group="team", inputs="x0, x2").plan()
    teams = [{part.data.attributes["group"][i] for i in range(len(part.classes))} for part in (plan.train, plan.test)]
    assert not teams[0] & teams[1]
    assert plan.train.data.inputs.shape[1] == 2
    with pytest.raises(InputError, match="cannot be grouped"):
        recipe("protonet", data=path, group="x1").plan()


def test_pictures_are_grey_where_none_has_colours(tmp_path, photos):
    grey = str(pictures(tmp_path / "grey", names(8), colour=False))
    assert recipe("protonet", data=grey).plan().train.data.inputs.shape[1:] == (1, 42, 42)
    assert recipe("protonet", data=photos, size=16).plan().train.data.inputs.shape[1:] == (3, 16, 16)
    assert recipe("protonet", data=photos, size=20, channels=1).plan().train.data.inputs.shape[1:] == (1, 20, 20)
    other = recipe("protonet", data=photos, size=84, backbone="resnet12").plan().learner
    assert any("ResNet12" in type(module).__name__ for module in other.modules())


def test_the_built_in_data_serve_too(glyph_cache):
    plan = recipe("protonet").plan()
    assert (plan.test.name, plan.test.ways, plan.train.ways) == ("glyphs", (5, 5), (20, 20))
