"""Every recipe builds, makes a step, and is found again in its run folder."""

import dataclasses

import pytest

import quickstudy as qs
from quickstudy.errors import CheckpointError, InputError
from quickstudy.registry import lookup, table
from tests.helpers.real_data import require

TINY = {
    "steps": 1,
    "meta_batch": 1,
    "hidden": 8,
    "train_ways": 5,
    "queries": 1,
    "train_queries": 1,
    "inner_steps": 1,
    "test_steps": 1,
    "validation_tasks": 2,
    "compile": False,
    "rows": 8,
    "controller": 8,
    "slots": 8,
    "presentations": 3,
    "features": 8,
    "filters": 8,
    "combinations": 2,
    "fewest": 2,
    "most": 4,
}


def tiny(name):
    build = lookup("recipe", name).build
    known = {field.name: field.default for field in dataclasses.fields(build)}
    options = {key: value for key, value in TINY.items() if key in known}
    return build(**{key: (value,) if isinstance(known[key], tuple) else value for key, value in options.items()})


@pytest.mark.parametrize("name", sorted(table("recipe")))
def test_recipe_trains_and_is_found_again(name, tmp_path, glyph_cache):
    for begins, needed in (("omniglot", "omniglot"), ("drawings", "omniglot"), ("double-mnist", "mnist")):
        if name.startswith(begins):
            require(needed)
    recipe = tiny(name)
    run = recipe.train(tmp_path, progress=False)
    assert run.steps == 1
    again = qs.recipes.of_run(tmp_path)
    assert again == recipe
    plan = again.plan()
    report = qs.evaluate(qs.load(tmp_path), plan.test, 2)
    assert len(report.values) == 2
    if plan.test.metric == "accuracy":
        assert set(plan.train.classes).isdisjoint(plan.test.classes)
        assert plan.validation is None or set(plan.validation.classes).isdisjoint(plan.test.classes)


def test_counts_the_evaluations_of_a_run(tmp_path):
    build = lookup("recipe", "sinusoid-maml-es").build
    run = build(steps=2, meta_batch=3, population=4, compile=False).train(tmp_path / "es", progress=False)
    assert run.evaluations == 2 * 3 * 4
    cma = lookup("recipe", "sinusoid-maml-cma").build(steps=2, meta_batch=3, population=5, compile=False)
    assert cma.train(tmp_path / "cma", progress=False).evaluations == 2 * 3 * 5

    class Own(qs.outer.Gradient):
        def evaluations(self, tasks):
            return 5 * tasks

    learner, tasks = qs.learners.MAML(qs.nets.mlp(1, outputs=1)), qs.tasks.Sinusoid(2, 2)
    options = {"steps": 2, "meta_batch": 3, "progress": False}
    assert qs.meta_train(learner, tasks, run_dir=tmp_path / "default", **options).evaluations == 2 * 3
    # Known without a run folder, and of outer optimisers that nobody can build from a description.
    assert qs.meta_train(learner, tasks, **options).evaluations == 2 * 3
    assert qs.meta_train(learner, tasks, Own(), run_dir=tmp_path / "own", **options).evaluations == 2 * 5 * 3


def test_every_recipe_says_which_paper():
    for name, entry in table("recipe").items():
        assert entry.facts.get("paper"), name
        assert entry.build.name == name


def test_run_without_a_recipe_is_refused(tmp_path):
    qs.meta_train(qs.learners.MAML(qs.nets.mlp(1, outputs=1)), qs.tasks.Sinusoid(2, 2), steps=1, run_dir=tmp_path)
    with pytest.raises(CheckpointError, match="not made by a recipe"):
        qs.recipes.of_run(tmp_path)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="glyphs-protonet"):
        lookup("recipe", "glyph-protonet")


@pytest.mark.parametrize("name", ["glyphs-protonet", "glyphs-maml", "glyphs-reptile", "glyphs-mann"])
def test_image_recipes_follow_the_gradient_as_asked(name: str) -> None:
    usual = lookup("recipe", name).build()
    assert usual.plan().outer.name == usual.optimizer == ("sgd" if name == "glyphs-reptile" else "adam")
    assert lookup("recipe", name).build(optimizer="muon").plan().outer.name == "muon"


def test_nets_that_embed_omniglot_learn_with_muon() -> None:
    chosen = {name: recipe.build() for name, recipe in table("recipe").items()}
    muon = {name: recipe.lr for name, recipe in chosen.items() if getattr(recipe, "optimizer", "") == "muon"}
    methods = ("protonet", "siamese", "matching", "relation", "metanet", "logistic", "challenge")
    names = ("drawings-protonet", *(f"omniglot-{method}" for method in methods))
    assert muon == {**dict.fromkeys(names, 0.01), "omniglot-snail": 5e-3}
