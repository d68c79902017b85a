"""Meta-testing: fixed tasks, the metric of each, adaptation curves, calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Learner, Output, Resumable
from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.errors import InputError
from quickstudy.evaluation.bank_loop import BANK_SEED, Batch, as_bank, batches
from quickstudy.evaluation.finite import no_answer, no_figure, refuse
from quickstudy.evaluation.metrics.base import Metric, find_metric
from quickstudy.evaluation.results import Report
from quickstudy.evaluation.scoring import by_presentation, calibration_error, sureness
from quickstudy.functional.classes import answerable
from quickstudy.functional.numbers import whole
from quickstudy.operators.modes import evaluating
from quickstudy.tasks.base import TaskDistribution

Progress = Callable[[int, int], None]


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
        seed: the bank's seed, from which stochastic learners draw too; a `Bank` keeps its own.
        device: where to compute; None is where the learner is.
        curve_steps: length of the adaptation curve of gradient-based learners; None is the learner's own steps, 0 none.
        progress: called with (tasks done, tasks), both of this process.
        metric: the name of a metric, such as 'auc' or 'hits@10'; None is the distribution's own.
        ranks: processes that share the tasks out; each gets the report of all. Chunks are the same as one process's,
            and so is every number, unless there are fewer chunks than processes: then chunks are smaller, which rounds
            differently.

    Raises:
        InputError: no task, an unknown metric, a log-likelihood asked of predictions that are points, or a loss asked
            of sequences.
        NonFiniteError: predictions for a task, or its metric, are NaN or infinite. Such a learner has no figure.
    """
    if not isinstance(learner, Learner):
        raise InputError(f"learner must be a quickstudy learner around a net, not {type(learner).__name__}")
    bank, tasks = as_bank(distribution, tasks, seed)
    measure = find_metric(bank.metric if metric is None else metric)
    if bank.sequential and not measure.of_predictions:
        raise InputError("a sequence has no query on which there could be a loss; use metric='accuracy'")
    steps = 0 if bank.sequential else _curve_length(learner, curve_steps)
    scores, bads, curves, confidences, rights, presentations = [], [], [], [], [], []
    options: dict[str, Any] = {"chunk": chunk, "device": device, "ranks": ranks, "on_features": measure.of_predictions}
    done = 0
    with closing(batches(learner, bank, tasks, **options)) as found:
        for batch in found:
            query = batch.tasks.query
            # Gradients inside learners are taken by torch.func, which turns recording on for itself alone.
            with torch.no_grad():
                if bank.sequential:
                    outputs = _streamed(batch)
                    if measure.predicts == "classes":
                        presentations.append(by_presentation(outputs, query))
                    query = batching.map_tasks(answerable, query)
                    score, bad = _judged(outputs, query, measure)
                else:
                    score, bad, outputs, curve = _adapted(batch, steps, measure)
                    curves.append(curve)
                scores.append(score)
                bads.append(bad)
                if measure.predicts == "classes":
                    confidence, right = sureness(outputs, query)
                    confidences.append(confidence)
                    rights.append(right)
            done += len(batch.indices)
            if progress is not None:
                progress(done, batch.total)
    refuse(_of_all(bads, 1, ranks) > 0, learner)
    calibration, reliability, shown = math.nan, np.zeros((0, 3)), np.zeros((0, 0))
    if measure.predicts == "classes":
        calibration, reliability = calibration_error(_of_all(confidences, 1, ranks), _of_all(rights, 1, ranks) > 0)
        if bank.sequential:
            shown = _of_all(presentations, 2, ranks).numpy()
    return Report(
        metric=measure.name,
        values=_of_all(scores, 1, ranks).numpy(),
        curve=_mean_curve(_of_all(curves, 2, ranks), measure) if steps else (),
        calibration=calibration,
        reliability=reliability,
        presentations=shown,
        batch_norm=learner.batch_norm,
        learner=type(learner).__name__,
        tasks=bank.describe(),
    )


def _streamed(batch: Batch) -> Output:
    """Return the predictions (T, L, N) along sequences."""
    few = None if batching.streams(batch.learner) else max(1, batch.chunk // batching.PREFIXES)
    return batching.stream(batch.learner, batch.tasks.query, batch.keys, few)


def _judged(outputs: Output, query: Examples, metric: Metric) -> tuple[Tensor, Tensor]:
    """Return the metric of each task (T,), and whether it is no figure (T,), for want of answers or as it is."""
    score = metric.of(outputs, query)
    return score, no_answer(outputs, query) | no_figure(score, metric)


def _adapted(batch: Batch, steps: int, metric: Metric) -> tuple[Tensor, Tensor, Output, Tensor]:
    """Return the metric of each task (T,), whether it is no figure (T,), the answers to the query, and
    (T, steps + 1) the metric along the inner loop, infinite where it has diverged, or (T, 0) without one."""
    learner, support, query = batch.learner, batch.tasks.support, batch.tasks.query

    def judge(states: Any) -> tuple[Tensor, Tensor, Output]:
        outputs = metric.answers(learner, states, query)
        return *_judged(outputs, query, metric), outputs

    if not steps or not isinstance(learner, Resumable):
        found = judge(batching.adapt(learner, support, batch.keys))
        return *found, torch.zeros(len(batch.indices), 0)
    state = batching.map_tasks(learner.start, support, batch.keys)
    points, at_end = [], None
    for step in range(max(steps, learner.inner_steps) + 1):
        if step:
            state = batching.map_tasks(learner.step, state, support)
        if step > steps and step != learner.inner_steps:
            continue
        found = judge(batching.map_tasks(learner.finish, state, support))
        if step <= steps:
            points.append(torch.where(found[1], torch.inf, found[0]))
        if step == learner.inner_steps:
            at_end = found
    assert at_end is not None
    return *at_end, torch.stack(points, 1)


def _curve_length(learner: Learner, asked: int | None) -> int:
    asked = None if asked is None else whole("curve_steps", asked, 0)
    with evaluating(learner):  # where learners may take more steps than in training
        own = learner.inner_steps if isinstance(learner, Resumable) else 0
    return own if asked is None or not own else asked


def _mean_curve(values: Tensor, metric: Metric) -> tuple[float, ...]:
    """Return the mean over tasks of values (T, steps + 1), over those for which a partial metric is defined.

    It is nan after steps at which the inner loop has diverged in a task, as it may beyond those of training.
    """
    means = values.nanmean(0) if metric.partial else values.mean(0)
    return tuple(torch.where(means.isfinite(), means, torch.nan).tolist())


def _of_all(parts: list[Tensor], dimensions: int, ranks: Ranks) -> Tensor:
    """Return the rows of all processes as float64 on the CPU; this process may have none."""
    return ranks.gather(torch.cat(parts).double() if parts else torch.zeros((0,) * dimensions).double()).cpu()
