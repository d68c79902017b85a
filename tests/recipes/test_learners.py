"""A recipe's registered learner is the one that its plan makes; no data set is read for that."""

import inspect

import pytest
import torch

from quickstudy.datasets.base import ClassData
from quickstudy.recipes.challenge import OmniglotChallenge
from quickstudy.recipes.drawings import DrawingsRecipe
from quickstudy.recipes.few_shot import ImageRecipe
from quickstudy.registry import lookup, table
from tests.recipes.test_recipes import tiny


def noise(classes: int = 90, rows: int = 20) -> ClassData:
    """Return drawings of nothing, as many as recipes ask for, by people who each drew every class."""
    labels = torch.arange(classes).repeat_interleave(rows)
    return ClassData(
        torch.randint(0, 256, (len(labels), 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        labels,
        tuple(f"class{i}" for i in range(classes)),
        attributes={name: tuple(f"{i // 30}" for i in range(classes)) for name in ("alphabet", "script", "data")},
        source=torch.arange(rows).repeat(classes),
    )


@pytest.mark.parametrize("name", sorted(table("recipe")))
def test_recipe_makes_the_learner_that_it_is_registered_with(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for recipe in (ImageRecipe, DrawingsRecipe, OmniglotChallenge):
        monkeypatch.setattr(recipe, "splits", lambda self: (noise(), noise(), noise()))
    learner = tiny(name).plan().learner
    fact = lookup("recipe", name).facts["learner"]
    assert learner.config["learner"] == fact
    assert type(learner) is inspect.unwrap(lookup("learner", fact).build)


def test_every_recipe_is_a_class_that_can_be_found() -> None:
    for name, entry in table("recipe").items():
        assert f'@recipe("{name}", learner="{entry.facts["learner"]}"' in inspect.getsource(entry.build), name
