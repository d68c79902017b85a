"""Meta-testing: fixed tasks, means with 95 % intervals, adaptation curves, calibration, paired comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Learner, Output, Resumable, Task
from quickstudy.engine.hardware import keep_pages
from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.errors import InputError, unknown_name
from quickstudy.evaluation.embedded_once import embedded_once
from quickstudy.evaluation.scoring import METRICS, by_presentation, calibration_error, sureness, task_scores
from quickstudy.functional import random
from quickstudy.functional.classes import answerable
from quickstudy.operators import trees
from quickstudy.tasks.base import Bank, TaskDistribution

BANK_SEED = 2024
Progress = Callable[[int, int], None]


def interval95(values: np.ndarray[Any, Any]) -> float:
    """Return the half-width of the 95 % Student-t interval of the mean of values (n,)."""
    n = len(values)
    if n < 2:
        return math.inf
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))


@dataclass(frozen=True)
class Report:
    """The result of an evaluation. `print` it, or read its numbers.

    Attributes:
        metric: one of `METRICS`.
        values: the metric of each task.
        curve: mean metric after 0, 1, ... inner steps, for gradient-based learners; else empty.
        calibration: expected calibration error (15 bins, Guo et al. 2017, equation 3), nan for regression.
        reliability: (bins, 3) confidence, accuracy and share of queries of each bin.
        presentations: (T, P) for sequences, each task's accuracy at the 1st, 2nd, ... presentation of a class; `values`
            and `calibration` then leave out the 1st, at which a class cannot be named.
        batch_norm: the batch normalisation policy.
        learner: its name.
        tasks: what was evaluated on (`TaskDistribution.describe`).
    """

    metric: str
    values: np.ndarray[Any, Any]
    curve: tuple[float, ...] = ()
    calibration: float = math.nan
    reliability: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((0, 3)))
    presentations: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros((0, 0)))
    batch_norm: str = "none"
    learner: str = ""
    tasks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean of the metric over tasks."""
        return float(self.values.mean())

    @property
    def accuracy(self) -> float:
        """Mean accuracy; an error for regression."""
        if self.metric != "accuracy":
            raise InputError(f"this report is of {self.metric}, not accuracy; read .mean")
        return self.mean

    @property
    def interval(self) -> float:
        """Half-width of the 95 % interval of the mean."""
        return interval95(self.values)

    @property
    def presentation_curve(self) -> list[tuple[float, float]]:
        """Mean accuracy at each presentation and the half-width of its 95 % interval; empty unless sequential."""
        return [(float(column.mean()), interval95(column)) for column in self.presentations.T]

    def __str__(self) -> str:
        text = f"{self.metric} {self.mean:.3f} +/- {self.interval:.3f} (95 % interval, {len(self.values)} tasks)"
        return text if self.batch_norm == "none" else f"{text}, batch norm: {self.batch_norm}"

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "learner": self.learner,
            "metric": self.metric,
            "mean": self.mean,
            "interval": self.interval,
            "tasks": len(self.values),
            "curve": list(self.curve),
            "presentations": [{"mean": mean, "interval": half} for mean, half in self.presentation_curve],
            "calibration": None if math.isnan(self.calibration) else self.calibration,
            "batch_norm": self.batch_norm,
            "distribution": dict(self.tasks),
        }


@dataclass(frozen=True)
class Difference:
    """Paired difference of two learners' metrics on the same tasks: first minus second."""

    first: str
    second: str
    mean: float
    interval: float

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval excludes zero."""
        return abs(self.mean) > self.interval

    def __str__(self) -> str:
        return f"{self.first} - {self.second}: {self.mean:+.4f} +/- {self.interval:.4f} (95 %, paired)"


def evaluate(
    learner: Learner,
    distribution: TaskDistribution,
    tasks: int = 1000,
    *,
    chunk: int | None = None,
    seed: int = BANK_SEED,
    device: torch.device | str | None = None,
    curve_steps: int | None = None,
    progress: Progress | None = None,
    metric: str | None = None,
    ranks: Ranks = ALONE,
) -> Report:
    """Evaluate a learner on a fixed bank of tasks.

    Args:
        learner: any learner; it is evaluated in evaluation mode and left in the mode it had.
        distribution: where tasks come from; its first `tasks` tasks under `seed` are the bank. A `Bank` is used as is,
            at most as many tasks as it has.
        tasks: number of tasks; at least 600 for a figure that is to be published.
        chunk: tasks at once; None chooses.
        seed: the bank's seed.
        device: where to compute; None is where the learner is.
        curve_steps: length of the adaptation curve of gradient-based learners; None is the learner's own steps, 0 none.
        progress: called with (tasks done, tasks), both of this process.
        metric: one of `METRICS`; None is the distribution's own.
        ranks: processes that share the tasks out; each gets the report of all. Chunks are the same as one process's,
            and so is every number, unless there are fewer chunks than processes: then chunks are smaller, which rounds
            differently.

    Raises:
        InputError: no task, an unknown metric, a log-likelihood asked of predictions that are points, or a loss asked
            of sequences.
    """
    if tasks < 1:
        raise InputError(f"tasks must be at least 1, not {tasks}")
    bank = distribution if isinstance(distribution, Bank) else distribution.bank(tasks, seed)
    tasks = min(tasks, len(bank)) if isinstance(distribution, Bank) else tasks
    measure = bank.metric if metric is None else metric
    if measure not in METRICS:
        raise unknown_name("metric", measure, METRICS)
    if bank.sequential and measure == "loss":
        raise InputError("a sequence has no query on which there could be a loss; use metric='accuracy'")
    where = torch.device(device) if device is not None else device_of(learner)
    if where.type == "cpu":
        keep_pages()
    learner.to(where)
    bank.to(where)
    modes = [(module, module.training) for module in learner.modules()]
    learner.eval()
    dtype = next((p.dtype for p in learner.parameters() if p.dtype.is_floating_point), None)
    steps = 0 if bank.sequential else _curve_length(learner, curve_steps)
    size = min(chunk or chunk_size(bank), math.ceil(tasks / ranks.size))
    starts = range(0, tasks, size)
    # Whole chunks, in order: those of all processes end to end are those of one.
    own = starts[ranks.rank * len(starts) // ranks.size : (ranks.rank + 1) * len(starts) // ranks.size]
    scores, curves, confidences, rights, presentations = [], [], [], [], []
    outputs: Output
    try:
        # Gradients inside learners are taken by torch.func, which turns recording on for itself alone.
        with torch.no_grad():
            solver, drawn = learner, bank
            if measure != "loss":  # which is the learner's own, of whole inputs
                solver, drawn = embedded_once(learner, bank, torch.arange(own.start, min(own.stop, tasks)))
            if drawn is not bank:
                size = chunk or chunk_size(drawn)
                own = range(own.start, own.stop, size)
            done = 0
            for indices in task_batches(own, min(own.stop, tasks), drawn):
                batch = drawn.draw(indices) if dtype is None else batching.to_dtype(drawn.draw(indices), dtype)
                keys, query = task_keys(indices, seed, where), batch.query
                if bank.sequential:
                    few = None if batching.streams(learner) else max(1, size // batching.PREFIXES)
                    outputs = batching.stream(learner, query, keys, few)
                    if measure == "accuracy":
                        presentations.append(by_presentation(outputs, query))
                    query = batching.map_tasks(answerable, query)
                    score = task_scores(outputs, query, measure)
                else:
                    score, outputs, curve = _results(solver, batch, keys, steps, measure)
                    curves.append(curve)
                scores.append(score)
                if measure == "accuracy":
                    confidence, right = sureness(outputs, query)
                    confidences.append(confidence)
                    rights.append(right)
                done += len(indices)
                if progress is not None:
                    progress(done, min(own.stop, tasks) - own.start)
    finally:
        for module, training in modes:
            module.training = training
    calibration, reliability, shown = math.nan, np.zeros((0, 3)), np.zeros((0, 0))
    if measure == "accuracy":
        calibration, reliability = calibration_error(_of_all(confidences, 1, ranks), _of_all(rights, 1, ranks) > 0)
        if bank.sequential:
            shown = _of_all(presentations, 2, ranks).numpy()
    return Report(
        metric=measure,
        values=_of_all(scores, 1, ranks).numpy(),
        curve=tuple(_of_all(curves, 2, ranks).mean(0).tolist()) if steps else (),
        calibration=calibration,
        reliability=reliability,
        presentations=shown,
        batch_norm=learner.batch_norm,
        learner=type(learner).__name__,
        tasks=bank.describe(),
    )


def compare(
    learners: Mapping[str, Learner], distribution: TaskDistribution, tasks: int = 1000, **options: Any
) -> tuple[dict[str, Report], list[Difference]]:
    """Evaluate several learners on the same bank; return their reports and all paired differences.

    Args:
        learners: by name.
        distribution: as for `evaluate`.
        tasks: as for `evaluate`.
        options: further arguments of `evaluate`.
    """
    bank = distribution if isinstance(distribution, Bank) else distribution.bank(tasks, options.get("seed", BANK_SEED))
    reports = {name: evaluate(learner, bank, tasks, **options) for name, learner in learners.items()}
    return reports, differences(reports)


def differences(reports: Mapping[str, Report]) -> list[Difference]:
    """Return the paired differences of reports of the same tasks, each pair once."""
    names = list(reports)
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if len(reports[first].values) != len(reports[second].values):
                raise InputError(f"'{first}' and '{second}' were evaluated on different numbers of tasks; use one bank")
            gap = reports[first].values - reports[second].values
            found.append(Difference(first, second, float(gap.mean()), interval95(gap)))
    return found


def overfitting_gap(
    learner: Learner, seen: TaskDistribution, new: TaskDistribution, tasks: int = 600, **options: Any
) -> tuple[Report, Report, float]:
    """Return the reports on tasks of training classes and of new classes, and the gap of their means (unpaired).

    A gap far above its interval is meta-overfitting: the learner knows its training classes, not how to learn.
    """
    first, second = evaluate(learner, seen, tasks, **options), evaluate(learner, new, tasks, **options)
    return first, second, first.mean - second.mean


CHUNK_ELEMENTS = 1_000_000
"""Input numbers of the tasks that are computed at once. A convolutional net keeps some hundreds of bytes of activations
for each, so that a chunk stays well below a gigabyte; more tasks at once are no faster on CPUs."""


def chunk_size(distribution: TaskDistribution) -> int:
    """Return how many tasks are computed at once, by the size of one."""
    leaves = [leaf for leaf in trees.leaves(distribution.batch(0, 1)) if isinstance(leaf, Tensor)]
    return max(1, CHUNK_ELEMENTS // max(1, sum(leaf.numel() for leaf in leaves)))


def _of_all(parts: list[Tensor], dimensions: int, ranks: Ranks) -> Tensor:
    """Return the rows of all processes as float64 on the CPU; this process may have none."""
    return ranks.gather(torch.cat(parts).double() if parts else torch.zeros((0,) * dimensions).double()).cpu()


def device_of(learner: Learner) -> torch.device:
    """Return where a learner's parameters are."""
    tensor = next(learner.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def task_keys(indices: Tensor, seed: int, device: torch.device) -> Tensor:
    """Return the keys (T,) that a bank's tasks of these numbers bring."""
    return random.learner_keys(seed, indices.to(device))


def _curve_length(learner: Learner, asked: int | None) -> int:
    own = learner.inner_steps if isinstance(learner, Resumable) else 0
    return own if asked is None or not own else asked


def task_batches(chunks: range, stop: int, bank: TaskDistribution) -> Iterator[Tensor]:
    """Yield the numbers of the tasks of each chunk, or of the parts of it that can be batched."""
    for start in chunks:
        yield from bank.runs(torch.arange(start, min(start + chunks.step, stop)))


def _results(
    learner: Learner, batch: Task, keys: Tensor, steps: int, metric: str
) -> tuple[Tensor, Output | None, Tensor]:
    """Return the metric of each task (T,), the predictions for the query unless the metric is the loss, and
    (T, steps + 1) the metric along the inner loop."""

    def judge(states: Any) -> tuple[Tensor, Output | None]:
        if metric == "loss":
            return batching.map_tasks(learner.loss, states, batch.query).double(), None
        outputs = batching.predict(learner, states, batch.query.inputs)
        return task_scores(outputs, batch.query, metric), outputs

    if not steps or not isinstance(learner, Resumable):
        found = judge(batching.adapt(learner, batch.support, keys))
        return *found, torch.zeros(batching.count(batch), 0)
    state = batching.map_tasks(learner.start, batch.support, keys)
    points, at_end = [], None
    for step in range(max(steps, learner.inner_steps) + 1):
        if step:
            state = batching.map_tasks(learner.step, state, batch.support)
        if step > steps and step != learner.inner_steps:
            continue
        found = judge(batching.map_tasks(learner.finish, state, batch.support))
        if step <= steps:
            points.append(found[0])
        if step == learner.inner_steps:
            at_end = found
    assert at_end is not None
    return *at_end, torch.stack(points, 1)
