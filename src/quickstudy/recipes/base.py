"""A recipe is one typed configuration that says everything about a published result or an example.

It is a dataclass. Its fields are the options of `quickstudy train NAME`; `plan` turns them into the objects
that `meta_train` and `evaluate` take. Registering it is all that the command line needs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from quickstudy.annotations import misfits
from quickstudy.core import Learner
from quickstudy.errors import CheckpointError, QuickstudyError
from quickstudy.functional import random
from quickstudy.outer.base import Outer
from quickstudy.registry import register
from quickstudy.storage.checkpoint import RUN, read_run
from quickstudy.tasks.base import TaskDistribution
from quickstudy.training.loggers import Logger
from quickstudy.training.starting import Run, meta_train

Made = TypeVar("Made", bound="Recipe")


@dataclass(frozen=True)
class RecipeParts:
    """A recipe's objects.

    Attributes:
        learner: to be meta-trained.
        train: meta-training tasks.
        validation: held-out tasks for choosing weights, or None.
        test: held-out tasks for the figure.
        outer: outer optimiser, or None for the learner's default.
        options: further arguments of `meta_train`.
    """

    learner: Learner
    train: TaskDistribution
    validation: TaskDistribution | None
    test: TaskDistribution
    outer: Outer | None = None
    options: dict[str, Any] = field(default_factory=dict)


Plan = RecipeParts
"""Another name of `RecipeParts`, for code that was written when it had this one."""


def recipe(name: str, *, learner: str, paper: str = "", **facts: str) -> Callable[[type[Made]], type[Made]]:
    """Return a decorator that enters a recipe into its table and tells it its name, which its runs store.

    Args:
        name: the recipe's, as in `quickstudy train NAME`.
        learner: registered name of the learner that `plan` makes.
        paper: the source of the learner or the result; empty where there is none.
        facts: further columns of the table.
    """

    def enter(made: type[Made]) -> type[Made]:
        made.name, made.paper = name, paper
        return register("recipe", name, learner=learner, paper=paper, **facts)(made)

    return enter


@dataclass
class Recipe:
    """Options that every recipe has."""

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    test_tasks: ClassVar[int] = 1000
    """Test tasks per evaluation, unless asked otherwise: fewer where one is a whole training run."""

    steps: int = 1000
    """Outer steps."""
    meta_batch: int = 4
    """Tasks per outer step."""
    seed: int = 0
    """Seed of the initial weights, the tasks and everything drawn in training."""
    validate_every: int = 0
    """Outer steps between validations; 0 makes ten in all."""
    validation_tasks: int = 100
    """Tasks per validation, always the same ones."""
    patience: int = 0
    """Stop after this many validations without a better one; 0 never stops early."""
    device: str = "auto"
    """Device to train on: 'auto', 'cpu', 'cuda', ..."""
    precision: str = "32-true"
    """Precision of weights and arithmetic: '32-true', '64-true', 'bf16-true' or 'bf16-mixed'."""
    compile: bool | Literal["record"] | None = None
    """Compile a whole outer step (True), or only record it ('record'); None chooses."""
    tensorboard: bool = False
    """Also write TensorBoard events."""

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        raise NotImplementedError

    def idle(self) -> set[str]:
        """Return the names of options that do nothing as they are set, which a page leaves out."""
        off = {"patience", "tensorboard", "compile", "clip", "warp", "train_classes", "label", "inputs", "group"}
        found = {name for name in off if getattr(self, name, True) in (0, False, None, "")}
        return found | {each.name for each in dataclasses.fields(self) if not each.init}

    def train(
        self,
        run_dir: str | os.PathLike[str] | None,
        resume: bool = True,
        progress: bool = True,
        loggers: Logger | str | Sequence[Logger | str] = (),
    ) -> Run:
        """Meta-train as described, into a run folder. Torch's own generator, which `plan` seeds, is left as it was."""
        with random.torch_state_kept():
            plan = self.plan()
            return meta_train(
                plan.learner,
                plan.train,
                plan.outer,
                plan.validation,
                self.steps,
                self.meta_batch,
                run_dir,
                validate_every=self.validate_every or None,
                validation_tasks=self.validation_tasks,
                patience=self.patience or None,
                seed=self.seed,
                device=self.device,
                precision=self.precision,
                compile=self.compile,
                resume=resume,
                progress=progress,
                tensorboard=self.tensorboard,
                loggers=loggers,
                settings={"recipe": self.name, "options": dataclasses.asdict(self)},
                test=plan.test,
                **plan.options,
            )


def of_run(run_dir: str | os.PathLike[str]) -> Recipe:
    """Return the recipe of a run folder, with the options that it ran with.

    Raises:
        CheckpointError: the run was not made by a recipe, or by one that this version lacks.
    """
    path = Path(run_dir) / RUN
    run = read_run(Path(run_dir))
    settings = run.get("settings")
    if not isinstance(settings, dict) or "recipe" not in settings:
        raise CheckpointError(
            f"{run_dir} was not made by a recipe, so its tasks are not known by one; open it with "
            "quickstudy.reports.assessment.open_run"
        )
    name, stored = settings["recipe"], settings.get("options", {})
    if not isinstance(name, str):
        raise CheckpointError(f"{path}: its recipe is {name!r:.80}, which is no name; restore the file from a copy")
    if not isinstance(stored, dict):
        raise CheckpointError(f"{path}: its options are {stored!r:.80}, not by name; restore the file from a copy")
    from quickstudy.recipes.own_methods import find

    recipe = find(name).build
    known = {field.name for field in dataclasses.fields(recipe) if field.init}  # type: ignore[arg-type]
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in stored.items() if key in known}
    wrong = misfits(recipe, options)
    if wrong:
        raise CheckpointError(f"{path}: its option {wrong}; restore the file from a copy")
    try:
        return recipe(**options)  # type: ignore[no-any-return]
    except QuickstudyError:
        raise
    except Exception as error:  # whatever a recipe raises, the options are what is wrong
        raise CheckpointError(
            f"{path}: its options make no '{name}' ({error}); restore the file from a copy"
        ) from error
