"""Recipes on scikit-learn's digits: rows of tests are new, learners are those asked for, and runs can be judged."""

import pytest
import torch

from quickstudy.inner.differentiation import FirstOrder, Unrolled
from quickstudy.registry import lookup
from quickstudy.reports.assessment import assess, open_run

RECIPES = {
    "digits-darts": {"hidden": 2, "steps": 2, "inner_steps": 2},
    "digits-noisy-labels": {"steps": 2, "inner_steps": 2},
    "digits-distillation": {"steps": 2, "inner_steps": 2},
    "digits-augmentation": {"steps": 2, "inner_steps": 2},
    "digits-auxiliary": {"steps": 2, "inner_steps": 2},
}


def rows_of(inputs):
    """Return the rows of a tensor, of an `Optimizee` or of named inputs."""
    inputs = inputs["inputs"] if isinstance(inputs, dict) else getattr(inputs, "inputs", inputs)
    return {row.numpy().tobytes() for row in inputs[0]}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_is_judged_on_rows_that_nothing_was_learned_from(name, tmp_path):
    recipe = lookup("recipe", name).build(**RECIPES[name], compile=False)
    run = recipe.train(tmp_path, progress=False)
    opened = open_run(tmp_path, device="cpu")
    train, test = opened.plan.train.batch(0, 1), opened.plan.test.batch(0, 1)
    if name != "digits-auxiliary":
        assert rows_of(test.support.inputs) == rows_of(train.support.inputs)
        assert rows_of(test.query.inputs).isdisjoint(rows_of(train.support.inputs))
    assert rows_of(test.query.inputs).isdisjoint(rows_of(train.query.inputs))
    for key, value in run.learner.state_dict().items():
        assert torch.equal(value, opened.learner.state_dict()[key])
    found = assess(opened, 2)
    assert 0 < found.report.accuracy < 1
    assert set(found.baselines) == ({"nearest neighbour"} if name == "digits-darts" else set())


def test_order_of_darts():
    build = lookup("recipe", "digits-darts").build
    assert isinstance(build(order="first").make_learner().differentiation, FirstOrder)
    assert isinstance(build().make_learner().differentiation, Unrolled)


def test_changes_of_options_reach_the_rows():
    noisy = lookup("recipe", "digits-noisy-labels").build(wrong=0.0, train_rows=100, clean_shots=3).rows()
    assert (len(noisy.train), len(noisy.clean), len(noisy.test)) == (100, 30, 1667)
    assert not noisy.wrong.any()
    upright, _, test = lookup("recipe", "digits-augmentation").build(degrees=0.0).parts()
    still = lookup("recipe", "digits-augmentation").build().parts()
    assert torch.equal(upright.inputs, still[0].inputs)
    assert not torch.allclose(test.inputs, still[2].inputs, atol=0.1)
    train, query, test = lookup("recipe", "digits-distillation").build(train_rows=500).parts()
    assert train is query
    assert (len(train), len(test)) == (500, 1297)
