"""Several runs on the same tasks: which are runs of one method, what each is called, and how the methods differ."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.errors import InputError
from quickstudy.evaluation import BANK_SEED, Difference, Metric, Report, evaluate
from quickstudy.evaluation.over_runs import difference_over_runs, over_runs
from quickstudy.reports.assessment import (
    Meter,
    OpenedRun,
    bank_of,
    baseline_reports,
    check_unseen,
    finite,
    open_run,
    silent,
)
from quickstudy.tasks.base import TaskDistribution

NOT_OF_THE_METHOD = {"seed", "device", "compile", "tensorboard", "run_dir"}
"""Options in which runs of one method may differ."""
MOST_SETTINGS = 3
"""Settings that a label tells."""


@dataclass(frozen=True)
class Method:
    """Runs that differ in nothing but their seeds, on the same tasks.

    Attributes:
        label: what people call it.
        reports: of its runs, by their names.
        fixed: whether nothing in it is random, so that another run would be the same.
    """

    label: str
    reports: Mapping[str, Report]
    fixed: bool = False

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """(R, T) the metric of each run on each task."""
        return np.stack([each.values for each in self.reports.values()])

    @property
    def first(self) -> Report:
        """The report of its first run."""
        return next(iter(self.reports.values()))

    @property
    def entry(self) -> Metric:
        """The metric."""
        return self.first.entry

    @property
    def mean(self) -> float:
        """Mean over tasks and runs."""
        return self.first.mean if len(self.reports) == 1 else over_runs(self.values).mean

    @property
    def interval(self) -> float:
        """Half-width of the 95 % interval of the mean: over runs and tasks, or over tasks where there is one run."""
        return self.first.interval if len(self.reports) == 1 else over_runs(self.values).interval


@dataclass(frozen=True)
class Comparison:
    """Reports of several runs on the same tasks.

    Attributes:
        reports: of each run by its name.
        methods: runs of one method together; by the name of its run, or by its label where it has several.
        differences: between methods, paired by task, each pair once.
        labels: what people call each run.
        folders: of the runs.
        seed: seed of the bank.
    """

    reports: Mapping[str, Report]
    methods: Mapping[str, Method]
    differences: Sequence[Difference]
    labels: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    seed: int = BANK_SEED

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = {
            "bank_seed": self.seed,
            "reports": {name: report.to_json() for name, report in self.reports.items()},
            "labels": dict(self.labels),
            "methods": {
                name: {"label": each.label, "runs": list(each.reports), "mean": each.mean, "interval": each.interval}
                for name, each in self.methods.items()
            },
            "differences": [
                {**dataclasses.asdict(each), "excludes_zero": each.significant} for each in self.differences
            ],
        }
        return finite(found)  # type: ignore[no-any-return]


def open_runs(
    folders: Sequence[str | os.PathLike[str]],
    checkpoint: str = "best",
    device: str = "auto",
    *,
    tasks: TaskDistribution | None = None,
    data: str | os.PathLike[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    **changes: int | None,
) -> list[OpenedRun]:
    """Read several runs that can be compared; the first one's test tasks serve for all.

    Args:
        folders: run folders.
        checkpoint: as of `open_run`.
        device: as of `open_run`.
        tasks: test tasks for all; None takes the first run's.
        data: as of `open_run`.
        columns: as of `open_run`.
        changes: as of `open_run`.

    Raises:
        InputError: their test data differ, or one was trained on another's test classes.
    """
    given: dict[str, Any] = {"tasks": tasks, "data": data, "columns": columns, **changes}
    runs = [open_run(folder, checkpoint, device, **given) for folder in folders]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        runs = [dataclasses.replace(run, name=str(run.folder)) for run in runs]
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise InputError("a run is given twice; name each once")
    if data is not None:
        runs = _on_shared_classes(runs)
    first = runs[0]
    for run in runs[1:]:
        if _identity(run.test) != _identity(first.test):
            raise InputError(
                f"test data of {run.folder} differ from those of {first.folder} ({run.test.name} and "
                f"{first.test.name}); compare runs on the same data set and split"
            )
        check_unseen(run, first.test)
    return runs


def _on_shared_classes(runs: list[OpenedRun]) -> list[OpenedRun]:
    """Return runs whose test tasks are of the classes that are new to every one of them."""
    shared = set(runs[0].test.classes).intersection(*(run.test.classes for run in runs))
    found = []
    for run in runs:
        test: Any = run.test
        if set(test.classes) != shared:
            names = [name for name in test.classes if name in shared]
            if len(names) < 2:
                raise InputError(f"fewer than two classes are new to all of {', '.join(run.name for run in runs)}")
            ways = min(test.ways[1], len(names))
            small = type(test)(test.data.subset(names), ways, test.shots, test.queries, seed=test.seed)
            run = dataclasses.replace(run, plan=dataclasses.replace(run.plan, test=small))
        found.append(run)
    return found


def _identity(tasks: TaskDistribution) -> tuple[str, ...]:
    # Not their kind: the same learner may be asked for few-shot tasks or for sequences of the same classes.
    return (tasks.name, tasks.metric, tasks.fingerprint)


def compare_runs(
    runs: Sequence[OpenedRun],
    tasks: int = 1000,
    seed: int = BANK_SEED,
    baselines: bool = False,
    meter: Meter = silent,
) -> Comparison:
    """Evaluate several runs on the first one's test tasks, runs of one method together."""
    bank = bank_of(runs[0], tasks, seed)
    reports = {}
    for run in runs:
        with meter(run.name) as tick:
            reports[run.name] = evaluate(run.learner, bank, tasks, seed=seed, curve_steps=0, progress=tick)
    groups = grouped(runs)
    called = labels(groups)
    methods: dict[str, Method] = {}
    for label, group in zip(called, groups, strict=True):
        name = group[0].name if len(group) == 1 else label
        methods[name] = Method(label, {run.name: reports[run.name] for run in group})
    if baselines:
        for name, report in baseline_reports(bank, seed, meter).items():
            reports[name] = report
            methods[name] = Method(name, {name: report}, fixed=True)
    return Comparison(
        reports,
        methods,
        method_differences(methods),
        {run.name: label for label, group in zip(called, groups, strict=True) for run in group},
        {run.name: run.folder for run in runs},
        seed,
    )


def method_differences(methods: Mapping[str, Method]) -> list[Difference]:
    """Return the differences between methods, paired by task, each pair once."""
    names = list(methods)
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            one, other = methods[first], methods[second]
            gap = difference_over_runs(one.values, other.values, (one.fixed, other.fixed))
            found.append(Difference(first, second, gap.mean, gap.interval))
    return found


def grouped(runs: Sequence[OpenedRun]) -> list[list[OpenedRun]]:
    """Return runs that differ in nothing but their seeds together, in the order given."""
    groups: dict[str, list[OpenedRun]] = {}
    for run in runs:
        key = json.dumps([type(run.learner).__name__, run.recipe.name, run.checkpoint, settings(run)], sort_keys=True)
        while any(_seed(other) == _seed(run) for other in groups.get(key, ())):
            key += "'"  # The same seed again tells nothing of how runs spread.
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _seed(run: OpenedRun) -> Any:
    return run.facts.get("seed")


def settings(run: OpenedRun) -> dict[str, Any]:
    """Return the settings of a run besides its seed: its recipe's options, or those of its parts."""
    options = (run.facts.get("settings") or {}).get("options")
    if run.recipe.name and isinstance(options, dict):
        return {key: value for key, value in options.items() if key not in NOT_OF_THE_METHOD}
    found: dict[str, Any] = {}
    for name in ("learner", "outer", "objective", "meta_batch", "steps", "precision", "tasks"):
        _flatten(run.facts.get(name), name, found)
    return {key: value for key, value in found.items() if key.rpartition(" ")[2] not in NOT_OF_THE_METHOD}


def _flatten(value: Any, name: str, found: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(item, name if key == "arguments" else f"{name} {key}", found)
    else:
        found[name] = value


def labels(groups: Sequence[Sequence[OpenedRun]]) -> list[str]:
    """Return what people call each group of runs: its learner, and what sets it apart from others of the same learner;
    the name of the folder where that is not enough."""
    firsts = [group[0] for group in groups]
    learners = [type(run.learner).__name__ for run in firsts]
    found = []
    for run, learner in zip(firsts, learners, strict=True):
        alike = [other for other, name in zip(firsts, learners, strict=True) if name == learner and other is not run]
        mine = settings(run)
        apart = [
            key
            for key in mine
            if any(settings(other).get(key, mine[key]) != mine[key] for other in alike)
            and not isinstance(mine[key], (list, dict))
        ]
        words = [f"{key.replace('_', ' ')} {mine[key]}" for key in apart[:MOST_SETTINGS]]
        if run.recipe.name and any(other.recipe.name != run.recipe.name for other in alike):
            words = [run.recipe.name, *words[: MOST_SETTINGS - 1]]
        found.append(", ".join([learner, *words]))
    return [
        f"{label} ({run.name})" if found.count(label) > 1 else label for label, run in zip(found, firsts, strict=True)
    ]
