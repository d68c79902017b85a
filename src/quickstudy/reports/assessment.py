"""Opening a run folder again to judge it: its test tasks, figures beside baselines, and paired comparisons."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.annotations import fits
from quickstudy.core import Learner, Resumable
from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.errors import CheckpointError, DataError, InputError, QuickstudyError
from quickstudy.evaluation import BANK_SEED, Difference, Report, differences, evaluate, find_metric
from quickstudy.functional.checks import as_device
from quickstudy.learners import NearestNeighbour, Ridge
from quickstudy.plugins import changed, say_what_to_import
from quickstudy.recipes import Recipe, RecipeParts, of_run
from quickstudy.reports.distributions import Unknown, by_description, on_data
from quickstudy.reports.guarantee import Guarantee, guarantee
from quickstudy.storage.checkpoint import BEST, RUN, load, read_json, read_run
from quickstudy.storage.rebuilding import TIMES, NoLarger
from quickstudy.tasks import FewShot, Sequential
from quickstudy.tasks.base import Bank, TaskDistribution

Meter = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""label -> context that gives a function (done, total), such as `quickstudy.cli.console.counting`."""
CURVE_TASKS = 200
MOST_NUMBERS = 250_000_000
"""Floating numbers that the tasks of a run may take, a gigabyte of them, besides those of its learner."""
BASELINE, RIDGE = "nearest neighbour", "ridge regression"
BASELINES = (BASELINE, RIDGE)


@contextmanager
def silent(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show nothing."""
    yield lambda done, total: None


@dataclass(frozen=True)
class OpenedRun:
    """A run folder, read.

    Attributes:
        name: what tables call it.
        folder: where it lies.
        recipe: how it was made, with any changes asked for; one without a name where no recipe made it.
        plan: its task distributions; `plan.learner` is not trained.
        learner: the meta-trained learner.
        facts: the contents of run.json.
        checkpoint: which weights were loaded, 'best' or 'last'.
        remarks: what a user should be told.
        data: path of the test data, where one was given in place of the run's own.
    """

    name: str
    folder: Path
    recipe: Recipe
    plan: RecipeParts
    learner: Learner
    facts: Mapping[str, Any]
    checkpoint: str
    remarks: tuple[str, ...] = ()
    data: str = ""

    @property
    def test(self) -> TaskDistribution:
        """Held-out tasks."""
        return self.plan.test


def open_run(
    folder: str | os.PathLike[str],
    checkpoint: str = "best",
    device: str = "auto",
    *,
    tasks: TaskDistribution | None = None,
    data: str | os.PathLike[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    learner: Learner | None = None,
    **changes: int | None,
) -> OpenedRun:
    """Read a run folder and make its tasks again.

    Args:
        folder: run folder.
        checkpoint: 'best' or 'last'.
        device: where to compute; 'auto' takes a GPU where there is one.
        tasks: test tasks; None takes those of the run's recipe or, where no recipe made it, of its description.
        data: a folder or an archive of images, or a table, whose classes the test tasks are made of in place of the
            run's; classes that the run was trained on are left out.
        columns: arguments of `datasets.read` for a table, such as `label`; the run's own by default.
        learner: a learner built as for training, for a run that holds modules that are not registered.
        changes: sizes of the test tasks to change: ways, shots or queries; None keeps the run's own.

    Raises:
        CheckpointError: no run, a damaged one, or one that does not tell its test tasks.
        InputError: a change that the test tasks do not have, or test classes that the run was trained on.
        DataError: the data cannot be read.
    """
    path = Path(folder)
    learner = load(path, learner, checkpoint)
    facts = read_run(path)
    wanted: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    recipe, plan, remarks = Recipe(), None, [f"{each} has changed since the run" for each in changed(facts)]
    if isinstance(facts.get("settings"), dict) and "recipe" in facts["settings"]:
        try:
            recipe = of_run(path)
        except InputError as error:
            raise say_what_to_import(facts, error, path) from error
    if recipe.name:
        try:
            # The recipe's own learner is not the one that is judged, but it is as large.
            numbers = sum(parameter.numel() for parameter in learner.parameters())
            with NoLarger(TIMES * numbers + MOST_NUMBERS):
                plan = _plan(recipe, {} if data is not None or tasks is not None else wanted, path / RUN)
        except DataError:
            # Its own data may be gone where others are given.
            if data is None and tasks is None:
                raise
    if plan is None:
        plan = by_description(path, facts, learner, wanted, Unknown({}) if data is not None else tasks)
    if data is not None:
        seen = read_json(path / "classes.json")
        tasks = on_data(os.fspath(data), facts, learner, plan, seen, wanted, columns or {}, remarks)
    if tasks is not None:
        plan = dataclasses.replace(plan, test=tasks)
    run = OpenedRun(
        name=path.resolve().name,
        folder=path,
        recipe=dataclasses.replace(recipe, **{k: v for k, v in wanted.items() if hasattr(recipe, k)}),
        plan=plan,
        learner=learner.to(as_device(device)),
        facts=facts,
        checkpoint="best" if checkpoint == "best" and (path / BEST).exists() else "last",
        remarks=tuple(remarks),
        data="" if data is None else os.fspath(data),
    )
    check_unseen(run, plan.test)
    return run


def _plan(recipe: Recipe, wanted: Mapping[str, Any], source: Path) -> RecipeParts:
    known = {each.name for each in dataclasses.fields(recipe)}
    for name in wanted:
        if name not in known:
            raise InputError(f"tasks of {recipe.name} have no {name}; leave --{name} out")
    # A plan seeds the weights of a new learner; the caller's random state is none of its business.
    with torch.random.fork_rng(devices=[]):
        try:
            plan = dataclasses.replace(recipe, **wanted).plan()
        except CheckpointError as error:
            raise CheckpointError(f"{source}: {error}; restore the file from a copy") from error
        except QuickstudyError:
            raise
        except Exception as error:  # whatever a plan raises, the options are what is wrong
            why = str(error).partition("\n")[0] or type(error).__name__
            raise CheckpointError(f"{source}: no tasks can be made of its options ({why}); restore the file") from error
    described = plan.test.describe()
    for name, value in wanted.items():
        if described.get(name) not in (value, [value, value]):
            raise InputError(
                f"test tasks of {recipe.name} always have {name}={described.get(name)}; leave --{name} out"
            )
    return plan


def check_unseen(run: OpenedRun, tasks: TaskDistribution) -> None:
    """Raise InputError if tasks hold classes that the run was trained or chosen on: their results would say nothing.

    Problems of optimisation may: what is new in them is not their classes.
    """
    if tasks.metric == "loss":
        return
    stored = read_json(run.folder / "classes.json")
    if not isinstance(stored, dict) or not all(
        fits(stored.get(part, []), list[str]) for part in ("train", "validation")
    ):
        raise CheckpointError(f"{run.folder / 'classes.json'} does not hold a run's class split; restore it")
    for part in ("train", "validation"):
        overlap = set(stored.get(part, ())) & set(tasks.classes)
        if overlap:
            raise InputError(
                f"{len(overlap)} classes of the test tasks, such as '{min(overlap)}', were in the meta-{part} classes "
                f"of {run.folder} (its classes.json), so a figure on them would be no test; use classes new to it"
            )


@dataclass(frozen=True)
class Assessment:
    """Figures of one run.

    Attributes:
        run: the run.
        report: on new classes.
        curve: mean metric after 0, 1, ... inner steps on the first tasks, for learners with an inner loop.
        curve_tasks: on how many.
        baselines: reports of learners without meta-learning on the same tasks.
        versus: paired differences, the run minus each baseline.
        seen: report on tasks of meta-training classes, or None.
        seed: seed of the bank of tasks.
        bound: for a run whose objective was a bound on the error on new tasks, its terms and how sure it is; else None.
    """

    run: OpenedRun
    report: Report
    curve: tuple[float, ...] = ()
    curve_tasks: int = 0
    baselines: Mapping[str, Report] = field(default_factory=dict)
    versus: Sequence[Difference] = ()
    seen: Report | None = None
    seed: int = BANK_SEED
    bound: Guarantee | None = None

    @property
    def gap(self) -> tuple[float, float]:
        """Mean on training classes minus mean on new classes, and the half-width of its 95 % interval; else nan."""
        if self.seen is None:
            return math.nan, math.nan
        return self.seen.mean - self.report.mean, math.hypot(self.seen.interval, self.report.interval)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        gap, interval = self.gap
        found = {
            "run": str(self.run.folder),
            "recipe": self.run.recipe.name or None,
            "checkpoint": self.run.checkpoint,
            "bank_seed": self.seed,
            **self.report.to_json(),
            "curve": list(self.curve),
            "curve_tasks": self.curve_tasks,
            "baselines": {name: report.to_json() for name, report in self.baselines.items()},
            "versus": [dataclasses.asdict(each) for each in self.versus],
            "seen_classes": None if self.seen is None else self.seen.to_json(),
            "bound": None if self.bound is None else dataclasses.asdict(self.bound),
            "overfitting_gap": None if self.seen is None else {"mean": gap, "interval": interval},
        }
        return finite(found)  # type: ignore[no-any-return]


def seen_tasks(run: OpenedRun) -> TaskDistribution | None:
    """Return tasks like the test tasks from the meta-training classes, or None where tasks are not made of classes."""
    train, test = run.plan.train, run.test
    data = getattr(train, "data", None)
    if isinstance(test, Sequential) and data is not None:
        return Sequential(data, test.ways, test.presentations, seed=test.seed)
    if not isinstance(test, FewShot) or data is None:
        return None
    return FewShot(data, test.ways, test.shots, test.queries, seed=test.seed)


def assess(
    run: OpenedRun,
    tasks: int = 1000,
    seed: int = BANK_SEED,
    gap: bool = True,
    baselines: Mapping[str, Report] | None = None,
    meter: Meter = silent,
    curve_steps: int | None = None,
    report: Report | None = None,
    gap_tasks: int = 600,
    ranks: Ranks = ALONE,
) -> Assessment:
    """Evaluate a run on new classes, beside baselines.

    Args:
        run: the run.
        tasks: test tasks.
        seed: seed of the bank of test tasks.
        gap: evaluate on tasks of training classes too.
        baselines: reports on the same bank where they are known already; None evaluates nearest neighbour.
        meter: shows progress.
        curve_steps: length of the adaptation curve; None is the learner's own number of steps.
        report: the run's report on this bank where it is known already.
        gap_tasks: at most so many tasks of training classes.
        ranks: processes that share the tasks out.
    """
    bank = bank_of(run, tasks, seed)
    if report is None:
        with meter(f"{run.name}: new classes" if bank.classes else f"{run.name}: new tasks") as tick:
            report = evaluate(run.learner, bank, tasks, seed=seed, curve_steps=0, progress=tick, ranks=ranks)
    curve: tuple[float, ...] = ()
    few = 0
    if isinstance(run.learner, Resumable) and run.learner.inner_steps and curve_steps != 0:
        with meter(f"{run.name}: adaptation curve") as tick:
            # An inner loop is predicted with at every step, so where nets are large the curve is of fewer tasks.
            length = run.learner.inner_steps if curve_steps is None else curve_steps
            small = find_metric(bank.metric).predicts == "targets"
            few = tasks if small else min(tasks, max(20, CURVE_TASKS * 5 // (length + 5)))
            found = evaluate(run.learner, bank, few, seed=seed, curve_steps=curve_steps, progress=tick, ranks=ranks)
            curve = found.curve
    if baselines is None:
        baselines = baseline_reports(bank, seed, meter, ranks)
    seen = None
    training_tasks = seen_tasks(run) if gap else None
    if training_tasks is not None:
        with meter(f"{run.name}: training classes") as tick:
            few_seen = min(tasks, gap_tasks)
            seen = evaluate(run.learner, training_tasks, few_seen, seed=seed, curve_steps=0, progress=tick, ranks=ranks)
    versus = [differences({run.name: report, name: other})[0] for name, other in baselines.items()]
    return Assessment(run, report, curve, few, baselines, versus, seen, seed, guarantee(run.learner, run.plan))


def bank_of(run: OpenedRun, tasks: int, seed: int) -> Bank:
    """Return the first test tasks of a run under a seed, at least one."""
    if tasks < 1:
        raise InputError(f"tasks must be at least 1, not {tasks}")
    return run.test.bank(tasks, seed)


def baseline_reports(
    bank: Bank, seed: int = BANK_SEED, meter: Meter = silent, ranks: Ranks = ALONE
) -> dict[str, Report]:
    """Return the reports of learners that learn nothing across tasks: nearest neighbour for classes, ridge
    regression on raw inputs for numbers. There are none for several labels a row, or where inputs are more than a
    tensor (problems, which bring their net)."""
    metric = find_metric(bank.metric)
    support = bank.batch(0, 1).support
    if not isinstance(support.inputs, Tensor) or metric.predicts not in ("classes", "targets"):
        return {}
    if metric.predicts == "classes" and support.labels.ndim > 2:
        return {}
    if metric.predicts == "targets" and (metric.name == "log_likelihood" or bank.sequential):
        return {}
    classes = metric.predicts == "classes"
    name, learner = (BASELINE, NearestNeighbour()) if classes else (RIDGE, Ridge())
    with meter(name) as tick:
        return {name: evaluate(learner, bank, len(bank), seed=seed, curve_steps=0, progress=tick, ranks=ranks)}


def finite(value: Any) -> Any:
    """Return JSON values with None for numbers that JSON lacks, such as the interval of a single task."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
