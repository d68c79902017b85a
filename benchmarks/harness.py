"""Agreement first, then time: what a run of the benchmark does with a case."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.case import AbsentError, Case, Context, Implementation, Setting, label, load
from benchmarks.worker import FailedError, Worker

EXACT = 1e-4
"""Largest relative error in float64. The same arithmetic in another order agrees to 1e-9."""
Values = dict[str, np.ndarray[Any, Any]]
Row = dict[str, Any]
"""One implementation in one setting, as JSON."""
Say = Callable[[str], None]


class DisagreementError(Exception):
    """An implementation computes something else than the reference."""


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        repeats: rounds; in each, every implementation works in its turn.
        round_seconds: least time that an implementation works in a round.
        budget: seconds of a setting's rounds; where steps are so slow that it is exceeded, there are fewer rounds...
        least: ... but at least so many.
    """

    repeats: int = 5
    round_seconds: float = 0.3
    budget: float = 25.0
    least: int = 3


def errors(found: Values, wanted: Values) -> dict[str, float]:
    """Return the relative error of each value: of the norm of a difference, to the norm.

    To norms of single gradients a thousandth of the whole gradient's is added, so that gradients that are zero but for
    rounding, such as those of biases before batch norm, do not count.
    """
    if found.keys() != wanted.keys():
        raise DisagreementError(f"it returns {sorted(found)} where {sorted(wanted)} is wanted")
    whole = float(np.sqrt(sum(np.square(v).sum() for name, v in wanted.items() if name.startswith("gradient"))))
    result = {}
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise DisagreementError(f"its {name} has shape {found[name].shape} where {value.shape} is wanted")
        scale = float(np.linalg.norm(value)) + (1e-3 * whole if name.startswith("gradient") else 1e-12)
        result[name] = float(np.linalg.norm(found[name] - value)) / max(scale, 1e-300)
    return result


def merged(values: Values) -> Values:
    """Return values with all gradients as one vector: in single precision small ones are mostly rounding."""
    names = sorted(name for name in values if name.startswith("gradient"))
    found = {name: value for name, value in values.items() if name not in names}
    return {**found, "gradient": np.concatenate([values[name].ravel() for name in names])} if names else found


def agree(
    name: str, found: Values, reference: str, wanted: Values, tolerance: float, only: str = "all"
) -> float | None:
    """Return the largest relative error, or raise DisagreementError that names the implementation and what differs."""
    if only == "nothing":
        return None
    for who, values in ((reference, wanted), (name, found)):
        for key, value in values.items():
            if not np.isfinite(value).all():
                raise DisagreementError(f"{who} computes NaN or infinity: {key}")
    try:
        gaps = errors(found, wanted)
    except DisagreementError as error:
        raise DisagreementError(f"{name} disagrees with {reference}: {error}") from None
    gaps = {each: gap for each, gap in gaps.items() if only == "all" or not each.startswith("gradient")}
    key = max(gaps, key=lambda each: gaps[each])
    if gaps[key] > tolerance:
        raise DisagreementError(
            f"{name} disagrees with {reference}: relative error {gaps[key]:.1e} of the {key}, tolerance {tolerance:.0e}"
        )
    return gaps[key]


def context_of(implementation: Implementation, context: Context) -> Context:
    """Return the context with the implementation's own dtype, where it has one."""
    return context if implementation.dtype is None else replace(context, dtype=getattr(torch, implementation.dtype))


class CaseRun:
    """Measures one case.

    Args:
        name: of the case.
        context: dtype and device of what is timed.
        plan: how long to measure.
        only: implementations to run; None for all.
        quick: leave out those that take long to start.
        say: told what is going on.
    """

    def __init__(
        self,
        name: str,
        context: Context,
        plan: Plan,
        only: list[str] | None = None,
        quick: bool = False,
        say: Say = lambda text: None,
    ) -> None:
        self.name, self.context, self.plan, self.say = name, context, plan, say
        self.case: Case = load(name)
        self.reference = self.case.reference or next(iter(self.case.implementations))
        self.implementations = {
            each: implementation
            for each, implementation in self.case.implementations.items()
            if each == self.reference or (each in only if only is not None else implementation.quick or not quick)
        }
        self.exact: dict[str, tuple[dict[str, float], float | None]] = {}

    def run(self, setting: Setting) -> list[Row]:
        """Return the rows of a setting, one an implementation; those that took no part say why."""
        self.say(f"{self.case.title}: {label(setting)}")
        exact, flops = self._check_exactly(setting)
        workers: dict[str, Worker] = {}
        rows: dict[str, Row] = {}
        try:
            for name, implementation in self.implementations.items():
                rows[name] = self._row(name, implementation, setting)
                with _noted(rows[name]):
                    workers[name] = self._start(name, setting, context_of(implementation, self.context))
            self._check_timed(workers, rows)
            self._time(workers, rows)
        finally:
            for worker in workers.values():
                worker.close()
        for name, row in rows.items():
            row["exact_error"] = exact.get(name)
            row["flops"] = flops
        return list(rows.values())

    def _row(self, name: str, implementation: Implementation, setting: Setting) -> Row:
        dtype = str(context_of(implementation, self.context).dtype).removeprefix("torch.")
        return {
            "case": self.name,
            "title": self.case.title,
            "unit": self.case.unit,
            "setting": setting,
            "implementation": name,
            "ours": implementation.ours,
            "dtype": dtype,
        }

    def _start(self, name: str, setting: Setting, context: Context) -> Worker:
        why = self.implementations[name].unless(setting)
        if why is not None:
            raise AbsentError(why)
        worker = Worker(self.name, name, setting, context)
        try:
            worker.answer()
        except BaseException:
            worker.close()
            raise
        return worker

    def _check_exactly(self, setting: Setting) -> tuple[dict[str, float], float | None]:
        """Check agreement in float64 on a small setting; return the errors, and the FLOPs of the setting itself."""
        small = self.case.small(setting)
        key = repr(small)
        if key not in self.exact:
            self.exact[key] = self._compare_exactly(small, replace(self.context, dtype=torch.float64))
        found, flops = self.exact[key]
        if flops is None or {**small, "tasks": 1} != {**setting, "tasks": 1}:
            return found, None  # what a task of the small setting takes does not tell
        return found, flops * setting.get("tasks", 1) / small.get("tasks", 1)

    def _compare_exactly(self, small: Setting, context: Context) -> tuple[dict[str, float], float | None]:
        wanted, flops, found = None, None, {}
        order = sorted(self.implementations, key=lambda name: name != self.reference)
        for name in order:
            implementation = self.implementations[name]
            if not implementation.exact and name != self.reference:
                continue
            try:
                worker = self._start(name, small, context)
            except (AbsentError, FailedError):
                continue  # The row of the setting itself will say why.
            try:
                values, _ = worker.ask("check")
                if wanted is None:
                    wanted, reference = values, name
                    flops = float(worker.ask("flops")) or None
                found[name] = agree(name, values, reference, wanted, EXACT) or 0.0
            except FailedError as error:
                raise DisagreementError(f"{name} failed where agreement was to be checked: {error}") from error
            finally:
                worker.close()
        return found, flops

    def _check_timed(self, workers: dict[str, Worker], rows: Mapping[str, Row]) -> None:
        """Check agreement of what is about to be timed, in the dtype in which it is. This is its first use, too."""
        wanted: Values | None = None
        reference = ""
        for name in sorted(workers, key=lambda name: name != self.reference):
            with _noted(rows[name]):
                values, rows[name]["first_seconds"] = workers[name].ask("check")
                values = merged(values)
                if wanted is None:
                    wanted, reference = values, name
                implementation = self.implementations[name]
                gap = agree(name, values, reference, wanted, implementation.tolerance, implementation.checks)
                rows[name] |= {"error": gap, "tolerance": implementation.tolerance, "checked": implementation.checks}

    def _time(self, workers: dict[str, Worker], rows: Mapping[str, Row]) -> None:
        """Warm up, then time in interleaved rounds: A B C, A B C, ..."""
        takes: dict[str, float] = {}
        counts: dict[str, int] = {}
        for name, worker in workers.items():
            if "error" in rows[name]:
                with _noted(rows[name]):
                    takes[name] = worker.ask("steps", 1)
                    rows[name]["first_seconds"] += takes[name]
                    if self.implementations[name].compiles:
                        takes[name] = worker.ask("steps", 1)
                    counts[name] = 1
                    # One step of a fast implementation says little.
                    while takes[name] * counts[name] < 4 * self.plan.round_seconds:
                        counts[name] *= 4
                        takes[name] = worker.ask("steps", counts[name]) / counts[name]
                    counts[name] = max(1, round(self.plan.round_seconds / takes[name]))
                    worker.ask("forget_peak")
        in_a_round = sum(max(self.plan.round_seconds, takes[name]) for name in takes)
        rounds = max(min(self.plan.repeats, int(self.plan.budget / max(in_a_round, 1e-9))), self.plan.least)
        rounds = min(rounds, self.plan.repeats)
        times: dict[str, list[float]] = {name: [] for name in takes}
        for _ in range(rounds):
            for name in times:
                if "failed" not in rows[name]:
                    with _noted(rows[name]):
                        times[name].append(workers[name].ask("steps", counts[name]) / counts[name])
                    time.sleep(0.02)  # thread pools may spin for a moment after their work
        for name, seconds in times.items():
            with _noted(rows[name]):
                if "failed" not in rows[name]:
                    rows[name] |= {**summary(seconds), "steps": counts[name], "memory": workers[name].ask("peak")}


class _noted:  # noqa: N801 - reads as a phrase: with _noted(row)
    """Notes in a row that the implementation is absent or failed, and goes on with the others."""

    def __init__(self, row: Row) -> None:
        self.row = row

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, AbsentError):
            self.row["absent"] = str(error)
        elif isinstance(error, FailedError):
            self.row["failed"] = str(error)
        return isinstance(error, (AbsentError, FailedError))


def summary(seconds: list[float]) -> Row:
    """Return the median and quartiles of the seconds a step, one a round."""
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return {"median": statistics.median(seconds), "quartiles": [quartiles[0], quartiles[2]], "seconds": seconds}
