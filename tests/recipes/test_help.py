"""Options of recipes are explained by sentences that can be read alone, as `quickstudy train NAME --help` shows."""

import ast
import dataclasses
import inspect

import pytest

from quickstudy.registry import table

RECIPES = {name: entry.build for name, entry in table("recipe").items()}
CLASSES = {cls for recipe in RECIPES.values() for cls in recipe.__mro__ if cls.__module__.startswith("quickstudy.")}
NO_BEGINNING = {"Of", "As", "What", "Which", "Whose", "Where", "In"}
"""Words that lean on something said before."""


def explained(cls: type) -> dict[str, str]:
    """Return what is written below each field of a class."""
    (made,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(made, ast.ClassDef)
    found = {}
    for field, text in zip(made.body, made.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


@pytest.mark.parametrize("cls", sorted(CLASSES, key=lambda cls: cls.__name__), ids=lambda cls: cls.__name__)
def test_options_are_explained_by_sentences(cls: type) -> None:
    for name, text in explained(cls).items():
        assert text.endswith((".", "...")), (name, text)
        assert text[0].isupper(), (name, text)
        assert text.split()[0].strip(",") not in NO_BEGINNING, (name, text)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_option_is_explained(name: str) -> None:
    known = {key for cls in RECIPES[name].__mro__ if cls in CLASSES for key in explained(cls)}
    assert {field.name for field in dataclasses.fields(RECIPES[name])} <= known
