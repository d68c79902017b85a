"""Which few-shot methods take data of one's own?

They are the names that `quickstudy train NAME --data PATH` knows: those of the recipes on glyphs without 'glyphs-', and
every learner that a file of a user's own registers.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Suppress

from quickstudy.errors import InputError, unknown_name
from quickstudy.recipes.base import Recipe
from quickstudy.recipes.few_shot import ImageRecipe
from quickstudy.recipes.own_classes import AnyLearner, OwnClasses, is_own
from quickstudy.registry import Entry, lookup, table


def methods() -> dict[str, Entry]:
    """Return the few-shot methods that take data of one's own, by name."""
    found = {}
    for name, entry in table("recipe").items():
        made: Any = entry.build
        if name.startswith("glyphs-") and issubclass(made, ImageRecipe) and not is_own(entry):
            found[name.removeprefix("glyphs-")] = _on_own_classes(name, made)
    for name, entry in table("learner").items():
        if is_own(entry) and entry.facts.get("tasks", "classification") in ("classification", "both"):
            found.setdefault(name, _of_learner(name))
    return dict(sorted(found.items()))


def find(name: str) -> Entry:
    """Return the recipe or method of a name, as runs store it.

    Raises:
        InputError: there is none.
    """
    recipes = table("recipe")
    if name in recipes:
        return recipes[name]
    known = methods()
    if name in known:
        return known[name]
    raise unknown_name("recipe or method", name, {**recipes, **known})


def asked(name: str) -> Entry:
    """Return the recipe or method that a user asks for: by its name, or by that of its learner, such as 'ProtoNet'.

    Raises:
        InputError: there is none; the message has the nearest name, or says what a path is for.
    """
    try:
        return find(name)
    except InputError:
        for entry in sorted(methods().values(), key=lambda each: len(each.name)):
            if entry.facts.get("learner", "").lower() == name.lower():
                return entry
        if Path(name).expanduser().exists():
            raise InputError(f"{name} is data; name a method first: quickstudy train protonet --data {name}") from None
        raise


@functools.cache
def _on_own_classes(name: str, recipe: type[ImageRecipe]) -> Entry:
    """Return the method of a recipe on glyphs, as a recipe whose data are read from a path."""
    text = (inspect.getdoc(recipe) or "").partition("\n")[0]
    summary = text.replace(" on glyphs", "").replace(" of glyphs", "").rstrip(".")
    return _entry(
        name.removeprefix("glyphs-"), recipe, f"{summary}, on classes of your own.", lookup("recipe", name).facts
    )


def _of_learner(name: str) -> Entry:
    entry = lookup("learner", name)
    options = _options_of(entry)
    base: Any = AnyLearner
    if options is not None:
        made = [("learner", options, field(default_factory=options))]
        base = dataclasses.make_dataclass(
            "AnyLearner", made, bases=(AnyLearner,), namespace={"__post_init__": _rebuilt}
        )
    base = dataclass(
        type(
            "AnyLearner",
            (base,),
            {"method": field(default=name, init=False), "__annotations__": {"method": Annotated[str, Suppress]}},
        )
    )
    facts = {"learner": name, "paper": entry.facts.get("paper", "")}
    return _entry(name, base, entry.summary, facts)


def _rebuilt(self: Any) -> None:
    """Turn a dict, as a run folder stores it, into the learner's options."""
    if isinstance(self.learner, dict):
        kind = next(each for each in dataclasses.fields(self) if each.name == "learner").default_factory
        known = {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
        self.learner = kind(**{key: value for key, value in self.learner.items() if key in known})  # type: ignore[operator]


def _options_of(entry: Entry) -> type | None:
    """Return a dataclass of a learner's plain arguments, with their defaults; None if it has none."""
    found = [
        (each.name, type(each.default), field(default=each.default))
        for each in inspect.signature(entry.build).parameters.values()
        if isinstance(each.default, (bool, int, float, str)) and each.name != "batch_norm"
    ]
    return dataclasses.make_dataclass("Options", found) if found else None


def _entry(name: str, recipe: Any, summary: str, facts: dict[str, str]) -> Entry:
    namespace = {"__doc__": summary, "__module__": __name__, "name": name, "paper": facts.get("paper", "")}
    made: Any = dataclass(type(recipe.__name__.replace("Glyphs", "Own"), (OwnClasses, recipe), namespace))
    assert issubclass(made, Recipe)
    return Entry(name, made, dict(facts))
