"""Tables of everything that has a name: learners, nets, data sets, recipes, outer optimisers, objectives.

A table is filled when it is first asked for, from the home of its kind alone. `register` does three things. It enters a
class or function into its table, from which the command line, the docs and the conformance tests are built. It checks
that arguments annotated as numbers are finite numbers, whole where they are `int`. And it records the arguments that an
object was built with, so that a run folder can describe its learner in plain JSON and `quickstudy.load` can build it
again: only registered names are ever called, so a hostile file can ask for nothing else.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.abc import SourceLoader
from typing import Any, TypeVar

import numpy as np

from quickstudy.annotations import misfits
from quickstudy.errors import CheckpointError, InputError, how_to_install, unknown_name
from quickstudy.functional.remembered import record_call, record_init

Item = TypeVar("Item", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """One registered name, with the facts that tables show."""

    name: str
    build: Callable[..., Any]
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]


PARTS = ("learner", "net", "rule", "differentiation", "outer", "objective")
"""Kinds that `build` builds from a file. Data sets are not among them, as they read files and download."""
DISTRIBUTIONS = ("tasks", "dataset")
"""Kinds that `build` builds besides where its caller asks for tasks."""

TABLES: dict[str, dict[str, Entry]] = {}


def register(kind: str, name: str | None = None, **facts: str) -> Callable[[Item], Item]:
    """Return a decorator that enters a class or function into the table `kind` and records its arguments.

    Args:
        kind: 'learner', 'net', 'rule', 'outer', 'objective', 'dataset' or 'tasks'.
        name: the name in the table; None takes the object's own.
        facts: columns of the table, such as family, learns and paper.

    Raises:
        InputError: the name is one of the library's own.
    """

    def enter(item: Item) -> Item:
        label: str = name or item.__name__
        _refuse_taken(kind, label, item)
        result: Any = item
        if isinstance(item, type):
            record_init(item, kind, label)
        elif kind in ("net", "dataset"):
            result = record_call(item, kind, label)
        TABLES.setdefault(kind, {})[label] = Entry(label, result, facts)
        return result  # type: ignore[no-any-return]

    return enter


def _refuse_taken(kind: str, label: str, item: Callable[..., Any]) -> None:
    """Refuse a user's object under a name of the library's, which run folders rely on."""
    known = TABLES.get(kind, {}).get(label)
    if known is not None:
        homes = [getattr(each, "__module__", "").partition(".")[0] for each in (known.build, item)]
        if homes[0] != homes[1] and "quickstudy" in homes:
            raise InputError(f"the library has a {kind} '{label}' of its own; register yours under another name")


def part(parts: tuple[Any, ...], number: int) -> Any:
    """Return one of the several parts that a data set is made in."""
    return parts[number]


# Not recorded: a part keeps the description of what made it.
TABLES["dataset"] = {"part": Entry("part", part)}

HOMES = {
    "dataset": "quickstudy.datasets",
    "differentiation": "quickstudy.inner",
    "learner": "quickstudy.learners",
    "metric": "quickstudy.evaluation.metrics",
    "net": "quickstudy.nets",
    "objective": "quickstudy.objectives",
    "outer": "quickstudy.outer",
    "recipe": "quickstudy.recipes",
    "rule": "quickstudy.rules",
    "tasks": "quickstudy.tasks",
}
"""The package whose modules register things of each kind."""
PLUGINS = "quickstudy.plugins"
"""The group of entry points under which packages announce modules that register what they add."""
STUDIES = "quickstudy.studies"
"""The group of entry points under which packages announce studies (kind 'reproduction').

An entry point names a module, the package's catalogue. Its `STUDIES` are names with an `Announcement` each. It may have
`LISTS`: names of modules that enter many names at once. They are imported where a name is not among `STUDIES`, or where
all names are asked for.
"""


@dataclass(frozen=True)
class Announcement:
    """A study that a package announces by name; the study is imported when it is run.

    Attributes:
        where: 'package.module:name' of a function `(folder, tick, quick=False, seeds=...) -> lines`.
        summary: what it is, in a line.
    """

    where: str
    summary: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.summary)

    def load(self) -> Callable[..., list[str]]:
        """Import the study."""
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **kwargs: Any) -> list[str]:
        """Import the study and run it."""
        return self.load()(*args, **kwargs)


@functools.cache
def announced() -> tuple[str, ...]:
    """Enter the studies that packages announce, without importing one; return the modules that list more of them."""
    lists: list[str] = []
    for point in importlib.metadata.entry_points(group=STUDIES):
        catalogue = point.load()
        for name, each in getattr(catalogue, "STUDIES", {}).items():
            register("reproduction", name)(each)
        lists += getattr(catalogue, "LISTS", ())
    return tuple(lists)


@functools.cache
def fill(kind: str) -> None:
    """Import every module of a kind's home; where a library that a module needs is absent, the module is passed over.

    Names that a caller registered are in the tables already, so a kind without a home is no error.
    """
    if kind == "reproduction":
        for listing in announced():
            importlib.import_module(listing)
    _plug_in()
    if kind not in HOMES:
        return
    home = importlib.import_module(HOMES[kind])
    for module in pkgutil.walk_packages(home.__path__, f"{home.__name__}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "quickstudy":
                raise
            ABSENT[module.name] = error.name.partition(".")[0]


@functools.cache
def _plug_in() -> None:
    """Import the modules that installed packages announce, which register what they add. A broken one is passed over
    with a warning, as it is no part of what is asked for."""
    for point in importlib.metadata.entry_points(group=PLUGINS):
        try:
            point.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"the plug-in '{point.name}' ({point.value}) cannot be imported: {reason}", stacklevel=3)


ABSENT: dict[str, str] = {}
"""Modules that could not be imported, and the library that each lacks."""


def table(kind: str) -> dict[str, Entry]:
    """Return the table of a kind, in order of names."""
    fill(kind)
    return dict(sorted(TABLES.get(kind, {}).items()))


def lookup(kind: str, name: str) -> Entry:
    """Return the entry of a name.

    Raises:
        InputError: there is no such name (the message has the nearest known one), or its module needs a library that is
            not installed (the message says how to install it).
    """
    if kind == "reproduction":
        announced()
    entries = TABLES.get(kind, {})
    if name not in entries:
        fill(kind)
        entries = TABLES.get(kind, {})
    if name not in entries:
        library = _lacking(kind, name)
        if library is not None:
            raise InputError(f"{kind} '{name}' needs {library}, which is not installed: {how_to_install(library)}")
        raise unknown_name(kind, name, entries)
    return entries[name]


def _lacking(kind: str, name: str) -> str | None:
    """Return the absent library for want of which the module that registers a name could not be imported, if any."""
    for module, library in ABSENT.items():
        if module.startswith(f"{HOMES[kind]}.") and name in _registered_in(module, kind):
            return library
    return None


def _registered_in(module: str, kind: str) -> set[str]:
    """Return the names that a module's source registers under a kind. The module is read, not run."""
    spec = importlib.util.find_spec(module)
    source = spec.loader.get_source(module) if spec and isinstance(spec.loader, SourceLoader) else None
    names = set()
    for node in ast.walk(ast.parse(source or "")):
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "register":
                given = [each.value for each in call.args if isinstance(each, ast.Constant)]
                if given[:1] == [kind]:
                    names.add(str(given[1]) if len(given) > 1 else node.name)  # type: ignore[attr-defined]
    return names


def describe(value: Any) -> Any:
    """Return JSON that `build` turns into an equal object, or {'custom': type} where that is impossible.

    An objective that is a function becomes its name.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: describe(item) for key, item in value.items()}}
    for name, entry in TABLES.get("objective", {}).items():
        # A function has no arguments to describe it by; whatever takes an objective takes its name.
        if entry.build is value:
            return name
    config = getattr(value, "config", None)
    if isinstance(config, dict) and "arguments" in config:
        return {**config, "arguments": {key: describe(item) for key, item in config["arguments"].items()}}
    # A function is described by its own name, so another function has another description.
    named = value if hasattr(value, "__qualname__") else type(value)
    return {"custom": f"{named.__module__}.{named.__qualname__}"}


MOST_NESTED = 100
"""Levels of a description; those of learners have about ten."""


def build(description: Any, kinds: tuple[str, ...] = PARTS) -> Any:
    """Build an object from what `describe` returned.

    Args:
        description: plain JSON.
        kinds: kinds of objects that may be built; `PARTS + DISTRIBUTIONS` for tasks, whose data are read from files.

    Raises:
        CheckpointError: the description holds an object of the user's own, or a name that this version lacks; it is
            nested too deep; or arguments are not what the object takes.
    """
    return _build(description, kinds, MOST_NESTED)


def _build(description: Any, kinds: tuple[str, ...], levels: int) -> Any:
    if levels == 0:
        raise CheckpointError(f"a description that is nested more than {MOST_NESTED} levels deep describes no object")
    if isinstance(description, list):
        return tuple(_build(item, kinds, levels - 1) for item in description)
    if not isinstance(description, dict):
        return description
    if "dict" in description:
        if not isinstance(description["dict"], dict):
            raise CheckpointError("not a description of a dict")
        return {key: _build(item, kinds, levels - 1) for key, item in description["dict"].items()}
    if "custom" in description:
        raise CheckpointError(
            f"the run holds an object of your own, {description['custom']}, which cannot be rebuilt from its "
            "description; build the learner as for training and pass it: quickstudy.load(run_dir, learner=...), or let "
            "a function learner() of a file build it: --import FILE"
        )
    named = [key for key in description if key != "arguments"]
    if len(named) != 1 or named[0] not in kinds or not isinstance(description.get("arguments"), dict):
        raise CheckpointError(f"not a description of an object: keys {sorted(description)}")
    kind, name = named[0], description[named[0]]
    if not isinstance(name, str):
        raise CheckpointError(f"not a description of an object: the name of a {kind} is {name!r:.80}")
    # Outside of the clause below: what is wrong inside of a part is said of that part.
    arguments = {key: _build(item, kinds, levels - 1) for key, item in description["arguments"].items()}
    try:
        entry = lookup(kind, name)
        # The annotations of others' classes are their own affair.
        ours = entry.build.__module__.partition(".")[0] == "quickstudy"
        wrong = misfits(entry.build, arguments) if ours else ""
        if wrong:
            raise InputError(wrong)
        return entry.build(**arguments)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a constructor raises, the description is what is wrong
        raise CheckpointError(f"cannot rebuild {kind} '{name}': {_said(error)}") from error


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
