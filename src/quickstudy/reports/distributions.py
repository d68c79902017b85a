"""Where the tasks of a run come from, if no recipe says it: from the run's description, or from data that are given."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from quickstudy import datasets
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData, digests
from quickstudy.errors import CheckpointError, DataError, InputError, QuickstudyError
from quickstudy.objectives import Objective
from quickstudy.recipes import RecipeParts
from quickstudy.registry import DISTRIBUTIONS, PARTS, build
from quickstudy.tasks import FewShot
from quickstudy.tasks.base import TaskDistribution

USUAL = {"ways": 5, "shots": 1, "queries": 15}
"""The sizes of test tasks where neither the run nor its user says any."""
INK_ON_BLACK = {"glyphs", "omniglot", "double-mnist"}
"""Data sets of light ink on a dark ground."""


class Unknown(TaskDistribution):
    """Tasks that are known by their description alone: none can be drawn."""

    def __init__(self, described: Mapping[str, Any], classes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.described, self._classes = dict(described), classes
        self.name = str(described.get("name", "tasks"))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._classes

    def describe(self) -> dict[str, Any]:
        """Return what is known."""
        return self.described


def by_description(
    folder: Path,
    facts: Mapping[str, Any],
    learner: Learner,
    wanted: Mapping[str, int],
    test: TaskDistribution | None = None,
) -> RecipeParts:
    """Return the task distributions of a run that no recipe made.

    Args:
        folder: the run's, for messages.
        facts: contents of its run.json.
        learner: the meta-trained learner.
        wanted: sizes of test tasks to change: ways, shots or queries.
        test: test tasks that are given; None looks for them in the description.

    Raises:
        CheckpointError: the description does not tell what test tasks there are.
        InputError: these tasks have no such size.
        DataError: their data are gone or changed.
    """
    stored = facts.get("distributions")
    stored = stored if isinstance(stored, dict) else {}
    train, validation = (_remade(stored.get(part), facts, part) for part in ("train", "validation"))
    if test is None:
        description, why = _of_test(stored)
        if description is None:
            raise CheckpointError(
                f"{folder} does not tell its test tasks ({why}); give their data by --data PATH, or describe them in "
                "training by meta_train(..., test=tasks)"
            )
        test = _built(_resized(description, wanted, folder))
        told = (facts.get("tasks") or {}).get("fingerprint")
        if train is not None and not isinstance(train, Unknown) and told not in (None, train.fingerprint):
            raise DataError(f"the data of {folder} are not those that it learned from; bring these back, or use --data")
    objective = facts.get("objective")
    options = {}
    if isinstance(objective, dict):
        try:
            made = build(objective)
            options = {"objective": made} if isinstance(made, Objective) else {}
        except QuickstudyError:
            pass  # An objective of a user's own, for which pages have no part.
    return RecipeParts(learner, train or Unknown(facts.get("tasks") or {}), validation, test, options=options)


def _remade(description: Any, facts: Mapping[str, Any], part: str) -> TaskDistribution | None:
    """Return tasks made again, or what is known of them where that cannot be."""
    if description is None:
        return None
    try:
        found = _built(description)
    except QuickstudyError:
        key = "tasks" if part == "train" else "validation"
        known = facts.get(key)
        return Unknown(known) if isinstance(known, dict) else None
    return found


def _built(description: Any) -> TaskDistribution:
    found = build(description, PARTS + DISTRIBUTIONS)
    if not isinstance(found, TaskDistribution):
        raise CheckpointError("a run's description names no tasks where it should")
    return found


def _of_test(stored: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the description of a run's test tasks, or None and why there is none."""
    if isinstance(stored.get("test"), dict):
        return stored["test"], ""
    likes = [stored.get(part) for part in ("validation", "train")]
    known = [each for each in likes if isinstance(each, dict) and "tasks" in each]
    if not known:
        return None, "its tasks are of a kind of its maker's own"
    like = known[0]
    if not isinstance(like.get("arguments"), dict):
        return None, "its description is damaged"
    data = [each["arguments"].get("data") for each in known if isinstance(each.get("arguments"), dict)]
    if not any(isinstance(each, dict) for each in data):
        # Synthetic tasks: the bank of test tasks has a seed of its own, so none of them was trained on.
        return like, ""
    left = _left_part(data)
    if left is None:
        return None, "its data do not say where they come from, or no part of their split is left"
    if like["tasks"] != "FewShot":
        return {"tasks": "FewShot", "arguments": {**USUAL, "data": left}}, ""
    return {"tasks": "FewShot", "arguments": {**like["arguments"], "data": left, "augment": None}}, ""


def _left_part(data: list[Any]) -> dict[str, Any] | None:
    """Return the description of the last part of a split that none of the data is; None where there is no such part."""
    if not all(isinstance(each, dict) and each.get("dataset") in ("part_of_split", "part") for each in data):
        return None
    arguments = [dict(each["arguments"]) for each in data]
    taken = {each.pop("number", None) for each in arguments}
    if any(each != arguments[0] for each in arguments):
        return None
    # Omniglot's and others' splits are made as wholes, so their number of parts is not written down: three.
    left = sorted(set(range(int(arguments[0].get("count", 3)))) - taken)
    return {"dataset": data[0]["dataset"], "arguments": {**arguments[0], "number": left[-1]}} if left else None


def _resized(description: dict[str, Any], wanted: Mapping[str, int], folder: Path) -> dict[str, Any]:
    found = copy.deepcopy(description)
    arguments = found.get("arguments")
    for name, value in wanted.items():
        if not isinstance(arguments, dict) or name not in arguments:
            raise InputError(f"test tasks of {folder} have no {name}; leave --{name} out")
        arguments[name] = value
    return found


def on_data(
    path: str,
    run: Mapping[str, Any],
    learner: Learner,
    plan: RecipeParts,
    seen: Mapping[str, Any],
    wanted: Mapping[str, int],
    columns: Mapping[str, Any],
    remarks: list[str],
) -> FewShot:
    """Return test tasks of the classes of a folder, an archive or a table that a run was not trained on.

    Args:
        path: the folder or file.
        run: contents of the run's run.json.
        learner: the meta-trained learner.
        plan: the run's own tasks, as far as they are known.
        seen: contents of the run's classes.json.
        wanted: sizes of test tasks: ways, shots or queries; by default those of the run.
        columns: arguments of `datasets.read` for tables, such as `label`.
        remarks: what a user should be told is added here.

    Raises:
        InputError: too few new classes, or data of another kind than the run's net reads.
        DataError: the data cannot be read.
    """
    data = read_like(path, run, learner, plan.train, columns, remarks)
    data = without_seen(data, seen, path, remarks)
    if len(data.classes) < 2:
        raise InputError(f"{path} has {len(data.classes)} classes that are new to the run; test tasks need two or more")
    like = {**USUAL, **_sizes(run.get("tasks")), **_sizes(run.get("validation")), **_sizes(plan.test.describe())}
    sizes = {**like, **wanted}
    if "ways" not in wanted:
        sizes["ways"] = min(like["ways"], len(data.classes))
    fewest = int(data.counts.min())
    if "queries" not in wanted:
        sizes["queries"] = max(1, min(like["queries"], fewest - sizes["shots"]))
    return FewShot(data, sizes["ways"], sizes["shots"], sizes["queries"], seed=2)


def _sizes(described: Any) -> dict[str, int]:
    """Return the sizes of few-shot tasks that a description tells, the larger end of a range."""
    if not isinstance(described, dict):
        return {}
    found = {}
    for name in USUAL:
        value = described.get(name)
        value = value[-1] if isinstance(value, list) and value else value
        if isinstance(value, int) and described.get("tasks") == "FewShot":
            found[name] = value
    return found


def without_seen(data: ClassData, seen: Mapping[str, Any], path: object, remarks: list[str]) -> ClassData:
    """Return data without the classes that a run was trained or chosen on, by their names or by what they hold."""
    names = {name for part in ("train", "validation") for name in seen.get(part, ())}
    contents = seen.get("contents")
    held = {each for part in (contents.values() if isinstance(contents, dict) else ()) for each in part}
    marks = digests(data) or ("",) * len(data.classes)
    new = [each for each, mark in zip(data.classes, marks, strict=True) if each not in names and mark not in held]
    gone = [each for each in data.classes if each not in new]
    if gone:
        some = ", ".join(f"'{each}'" for each in gone[:5]) + (", ..." if len(gone) > 5 else "")
        if len(new) < 2:
            raise InputError(
                f"the run was trained or chosen on {len(gone)} of the {len(data.classes)} classes of {path} ({some}), "
                "so a figure on them would be no test; give classes new to it"
            )
        remarks.append(f"{len(gone)} classes of {path} are left out, as the run was trained or chosen on them: {some}")
        data = data.subset(new)
    return data


def read_like(
    path: str,
    run: Mapping[str, Any],
    learner: Learner,
    train: TaskDistribution,
    columns: Mapping[str, Any],
    remarks: list[str],
) -> ClassData:
    """Return data read as a run's net takes them: pictures of its size and channels, or columns of a table.

    Raises:
        InputError: they are of another kind than the net reads.
        DataError: the data cannot be read.
    """
    known = getattr(train, "data", None)
    options = _how_read(run)
    if datasets.opening.kind_of(Path(path).expanduser()) == "table":
        named = {key: options.get(key) for key in ("label", "inputs", "group", "missing") if options.get(key)}
        data = datasets.read(path, **{**named, **columns})
        _check_columns(data, known, learner, path)
        return data
    channels, size = shape_of_pictures(learner, known, options)
    fit = options.get("fit", "stretch")
    data = datasets.read(path, size=size, channels=channels, fit=fit)
    names = str(dict(run.get("tasks") or {}).get("name")).split("-")[0]
    if channels == 1 and (names in INK_ON_BLACK or names == "double"):
        # Per picture, as `quickstudy adapt` does.
        light = data.inputs.flatten(1).float().mean(1) > 127.5
        if bool(light.any()):
            swapped = data.inputs.clone()
            swapped[light] = 255 - swapped[light]
            data = data.map(lambda inputs: swapped)
            remarks.append(f"inverted {int(light.sum())} of {len(light)} pictures of {path}, dark ink on light paper")
    return data


def _how_read(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `datasets.read` that a run's training data were read with, as far as it tells."""
    found: dict[str, Any] = {}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("dataset") in ("read", "images", "table") and isinstance(value.get("arguments"), dict):
                found.update({key: item for key, item in value["arguments"].items() if item is not None})
            for item in value.values():
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    look(dict(run.get("distributions") or {}).get("train"))
    return found


def _check_columns(data: ClassData, known: Any, learner: Learner, path: str) -> None:
    told = getattr(known, "origin", {}).get("columns")
    columns = data.origin.get("columns")
    if told and columns and list(told) != list(columns):
        odd = sorted(set(told) ^ set(columns))
        raise InputError(f"{path} has other columns of inputs than the run learned from, such as '{odd[0]}'")
    width = known.inputs.shape[1] if isinstance(known, ClassData) else _width(learner)
    found = tuple(data.inputs.shape[1:])
    if width is not None and found != (width,):
        raise InputError(
            f"{path} gives {found[0]} numbers a row, and the run's net reads {width}; name them by --inputs"
        )


def _width(learner: Learner) -> int | None:
    for module in learner.modules():
        if isinstance(module, nn.Conv2d):
            return None
        if isinstance(module, nn.Linear):
            return module.in_features
    return None


def shape_of_pictures(learner: Learner, known: Any, options: Mapping[str, Any]) -> tuple[int, int | tuple[int, int]]:
    """Return the channels and the size of the pictures that a run's net reads.

    Raises:
        InputError: it reads no pictures.
    """
    inputs = getattr(known, "inputs", None)
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return int(inputs.shape[1]), (int(inputs.shape[2]), int(inputs.shape[3]))
    if "size" in options and "channels" in options:
        size = options["size"]
        return int(options["channels"]), tuple(size) if isinstance(size, list) else int(size)
    for module in learner.modules():
        channels, edge = getattr(module, "channels", None), getattr(module, "size", None)
        if isinstance(channels, int) and isinstance(edge, int):
            return channels, edge
    for module in learner.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels, 84
    raise InputError(f"{type(learner).__name__} of this run does not read pictures; give a table with its columns")
