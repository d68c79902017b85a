"""Few-shot methods on classes of one's own: a method's recipe for drawings, with data that are read from a path."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

from torch import nn
from tyro.conf import Suppress

from quickstudy import datasets, nets
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.errors import DataNotFoundError, InputError, unknown_name
from quickstudy.learners import GradientLearner
from quickstudy.outer.base import Outer
from quickstudy.recipes.base import RecipeParts
from quickstudy.recipes.few_shot import Data, FewShotRecipe, ImageRecipe
from quickstudy.registry import Entry, lookup, table
from quickstudy.tasks.rows import as_floats

KNOWN: tuple[str, ...] = get_args(Data)
USUAL_WAYS, USUAL_SIZE = 5, 42
FEWEST = 6
"""Classes that can be split: two each for training, validation and test."""


@dataclass
class OwnClasses:
    """The data of a recipe, read from a path. It stands before an image recipe among the bases of a class."""

    data: str = "glyphs"
    """Folder of a folder for each class, archive, CSV, TSV or Parquet file. Also 'glyphs', 'omniglot', 'double-mnist',
    or a data set that an imported file registers."""
    label: str = ""
    """Column of labels of a table; by default 'label', 'class', 'target' or 'y', or the only column of words."""
    inputs: str = ""
    """Columns of inputs of a table, with commas between them; by default all others of numbers or of a few words."""
    group: str = ""
    """Column of groups of a table whose classes stay together in the split; 'folder' for pictures in GROUP/CLASS."""
    size: int = 0
    """Height and width of pictures, in pixels; 0 takes 42."""
    channels: int = 0
    """Channels of pictures: 1 is grey, 3 is colour; 0 takes 3 where any picture has colours."""
    backbone: str = "auto"
    """Net: 'auto' (conv4 for pictures, mlp for tables), or the name of another, also of one that an imported file
    registers."""
    ways: int = 0
    """Classes per task in validation and test; 0 takes 5, or as many as the split allows."""
    train_ways: int = 0
    """Classes per task in meta-training; 0 takes the method's own number, or as many as there are."""
    test_data: Annotated[str, Suppress] = field(default="same", init=False)
    rotations: Annotated[bool, Suppress] = field(default=True, init=False)

    def splits(self: Any) -> tuple[ClassData, ClassData, ClassData]:
        """Return meta-training, -validation and -test data with disjoint classes.

        Raises:
            InputError: there are too few classes.
            DataError: the data cannot be read.
        """
        return self._parts  # type: ignore[no-any-return]

    @functools.cached_property
    def _parts(self: Any) -> tuple[ClassData, ...]:
        if self._named:
            return ImageRecipe.splits(self)
        whole = self._whole
        count = len(whole.classes)
        if count < FEWEST:
            raise InputError(
                f"{self.data} has {count} classes; few-shot learning needs at least {FEWEST}, as training, validation "
                "and test have two or more each that the others lack"
            )
        held_out = max(self._wanted_ways, round(0.2 * count))
        train, *rest = whole.split(
            by=self._groups, fractions=((count - 2 * held_out) / count, held_out / count, held_out / count)
        )
        least = min(len(part.classes) for part in (train, *rest))
        if least < (self.ways or 2):
            raise InputError(
                f"the groups of {self.data} leave a part of the split {least} classes; take --ways {least}"
            )
        if self.train_classes:
            if self.train_classes > len(train.classes):
                raise InputError(f"train_classes={self.train_classes}, but there are {len(train.classes)}")
            train = train.subset(list(train.classes[: self.train_classes]))
        return (train, *rest)

    @property
    def _groups(self: Any) -> str | None:
        if not self.group:
            return None
        if "group" not in self._whole.attributes:
            what = "rows of a class differ in it" if self._whole.source is not None else "they have no groups"
            raise InputError(f"--group {self.group}: the classes of {self.data} cannot be grouped, as {what}")
        return "group"

    @property
    def _test_ways(self: Any) -> int:
        """The number of ways asked for, or as many as every part of the split has classes for."""
        return self.ways or min(self._wanted_ways, *(len(part.classes) for part in self.splits()))  # type: ignore[no-any-return]

    @property
    def _wanted_ways(self: Any) -> int:
        if self._named:
            return self.ways or USUAL_WAYS
        count = len(self._whole.classes)
        # Training keeps at least as many classes as both other parts together.
        ways = self.ways or max(2, min(USUAL_WAYS, count // 4))
        if 3 * ways > count >= FEWEST:
            raise InputError(
                f"{self.data} has {count} classes, so its training, validation and test parts have at most "
                f"{count // 3} each; take --ways {count // 3} or fewer"
            )
        return int(ways)

    @property
    def _named(self: Any) -> bool:
        return self.data in KNOWN and not Path(self.data).exists()

    @functools.cached_property
    def _whole(self: Any) -> ClassData:
        path = Path(self.data).expanduser()
        if not path.exists():
            own = {name: entry for name, entry in table("dataset").items() if is_own(entry)}
            if self.data in own:
                made = own[self.data].build()
                if not isinstance(made, ClassData):
                    raise InputError(
                        f"the data set '{self.data}' gives {type(made).__name__}; it should give ClassData"
                    )
                return made
            known = [*KNOWN, *own]
            if path.suffix or len(path.parts) > 1:
                raise DataNotFoundError(f"--data {self.data}: there is no such folder or file; check the path")
            raise DataNotFoundError(f"--data: {unknown_name('folder, file or data set', self.data, known)}")
        if datasets.opening.kind_of(path) == "table":
            inputs = [each.strip() for each in self.inputs.split(",")] if self.inputs else None
            columns: dict[str, Any] = {"label": self.label or None, "inputs": inputs}
            return datasets.read(path, group=self.group or None, **columns)
        size = self.size or USUAL_SIZE
        data = datasets.read(path, size=size, channels=self.channels or 3)
        if not self.channels and bool((data.inputs == data.inputs[:, :1]).all()):
            data = datasets.read(path, size=size, channels=1)
        return data

    def net(
        self: Any, outputs: int | None = None, flatten: bool = True, context: int = 0, halvings: int = 4
    ) -> nn.Module:
        """Return the backbone for the shape of the data.

        Raises:
            InputError: the method compares maps of pictures and the data are a table, or the net reads other shapes.
        """
        inputs = self.splits()[0].inputs
        shape = tuple(inputs.shape[1:])
        pictures = len(shape) == 3
        if not flatten and not pictures:
            raise InputError(f"'{self.name}' compares maps of pictures, and {self.data} is a table; take 'protonet'")
        name = ("conv4" if pictures else "mlp") if self.backbone == "auto" else self.backbone
        given: dict[str, Any] = {"outputs": outputs, "context": context, "flatten": flatten, "halvings": halvings}
        # The method's own way of ending is asked for; all else only where a net can be told.
        needed = {key for key, usual in (("outputs", None), ("context", 0), ("flatten", True)) if given[key] != usual}
        if pictures:
            given |= {"channels": shape[0], "size": shape[1], "norm": self.norm, "halve": self.halve}
            given["hidden"] = self.hidden
        else:
            given |= {"inputs": shape[0], "hidden": (self.hidden, self.hidden)}
        net = _built(name, given, needed)
        return net if pictures else nets.Columns(net, shape[0]).fit(as_floats(inputs))

    def plan(self: Any) -> RecipeParts:
        """Return the objects that these options describe."""
        if "_sized" in vars(self):
            return super().plan()  # type: ignore[no-any-return, misc]
        usual = next(each for each in type(self).__mro__[2:] if dataclasses.is_dataclass(each))
        defaults: dict[str, Any] = {each.name: each.default for each in dataclasses.fields(usual)}
        sized = dataclasses.replace(self, ways=self._test_ways)
        if "train_ways" in defaults and not self.train_ways:
            own = defaults["train_ways"]
            # A method that trains with as many ways as it is tested with does so still: its net has as many outputs.
            wanted = sized.ways if own == defaults["ways"] else own
            sized = dataclasses.replace(sized, train_ways=min(wanted, len(self.splits()[0].classes)))
        elif "train_ways" not in defaults:
            sized = dataclasses.replace(sized, train_ways=1)  # sequences have none
        # Fewer examples than a method's own settings want are all that there are.
        fewest = min(int(part.counts.min()) for part in self.splits())
        for key, most in (("train_shots", fewest - 1), ("presentations", fewest)):
            if key in defaults and getattr(self, key) == defaults[key] and most >= 1:
                sized = dataclasses.replace(sized, **{key: min(defaults[key], most)})
        vars(sized).update(
            {"_sized": True, **{key: vars(self)[key] for key in ("_parts", "_whole") if key in vars(self)}}
        )
        return sized.plan()  # type: ignore[no-any-return]

    @property
    def of_table(self: Any) -> bool:
        """Whether the data are rows of a table."""
        return self.splits()[0].inputs.ndim == 2  # type: ignore[no-any-return]

    def remarks(self: Any) -> list[str]:
        """Return what was made of the data, for whoever gave them."""
        train, validation, test = self.splits()
        counts = [len(part.classes) for part in (train, validation, test)]
        parts = f"{counts[0]} classes to train on, {counts[1]} to choose by, {counts[2]} to test"
        told = [f"{self.data}: {parts}; tasks of {self._test_ways}"]
        origin = getattr(train, "origin", {})
        if "columns" in origin:
            left = "; ".join(f"{name} {why}" for name, why in origin.get("left_out", {}).items())
            columns = origin["columns"]
            shown = ", ".join(columns[:6]) + (", ..." if len(columns) > 6 else "")
            told.append(
                f"label '{origin['label']}'; {len(columns)} inputs: {shown}" + (f"; left out: {left}" if left else "")
            )
        elif train.inputs.ndim == 4 and not self._named:
            kind = "grey" if train.inputs.shape[1] == 1 else "colour"
            told.append(
                f"{len(self._whole)} {kind} pictures at {train.inputs.shape[2]} x {train.inputs.shape[3]} pixels"
            )
        return told


def is_own(entry: Entry) -> bool:
    """Return whether an entry is not of the library."""
    return str(getattr(entry.build, "__module__", "")).partition(".")[0] != "quickstudy"


def _built(name: str, given: dict[str, Any], needed: set[str]) -> nn.Module:
    """Return a registered net, given those of the settings that it takes.

    Raises:
        InputError: there is no such net, or it cannot be told what the method needs.
    """
    build = lookup("net", name).build
    signature = inspect.signature(build)
    lacking = sorted(needed - set(signature.parameters))
    if lacking:
        raise InputError(f"net '{name}' has no argument '{lacking[0]}', which the method needs; take another net")
    required = [
        each.name
        for each in signature.parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    unknown = [each for each in required if each not in given]
    if unknown:
        raise InputError(f"net '{name}' needs '{unknown[0]}', which no data tell; give it a default")
    net = build(**{key: value for key, value in given.items() if key in signature.parameters})
    if not isinstance(net, nn.Module):
        raise InputError(f"net '{name}' gives {type(net).__name__}, which is no module")
    return net


@dataclass
class AnyLearner(FewShotRecipe):
    """A learner that a file of a user's own registers, with the usual settings of few-shot methods."""

    outputs: str = "auto"
    """End of the net: 'ways' numbers, one per class, or 'features'; 'auto' takes ways for learners whose inner loop
    adapts a net, and features for all others."""
    method: Annotated[str, Suppress] = field(default="", init=False)

    def make_learner(self, train: ClassData) -> Learner:
        """Return the learner.

        Raises:
            InputError: it needs arguments that only a recipe of its own can give.
        """
        entry = lookup("learner", self.method)
        if self.outputs not in ("auto", "ways", "features"):
            raise unknown_name("outputs", self.outputs, ("auto", "ways", "features"))
        gradient = isinstance(entry.build, type) and issubclass(entry.build, GradientLearner)
        ways = self.outputs == "ways" or (self.outputs == "auto" and gradient)
        known: dict[str, Any] = {"outputs": self.ways, "ways": self.ways, "classes": len(train.classes)}
        known["batch_norm"] = self.batch_norm
        options = dataclasses.asdict(self.learner) if hasattr(self, "learner") else {}
        arguments: dict[str, Any] = {}
        for each in inspect.signature(entry.build).parameters.values():
            if each.name == "net":
                arguments["net"] = self.net(self.ways if ways else None)
            elif each.name in options:
                arguments[each.name] = options[each.name]
            elif each.name in known and (each.default is each.empty or each.name == "batch_norm"):
                arguments[each.name] = known[each.name]
            elif each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                raise InputError(
                    f"learner '{self.method}' needs '{each.name}', which the command cannot know; write a recipe"
                )
        return entry.build(**arguments)  # type: ignore[no-any-return]

    def make_outer(self) -> Outer:
        """Return the outer optimiser: the learner's default where that is not the gradient."""
        learner: Any = lookup("learner", self.method).build
        if learner.default_outer == "Gradient":
            return super().make_outer()
        made: Outer = lookup("outer", learner.default_outer).build(lr=self.lr)
        return made
