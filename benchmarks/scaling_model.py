"""A model of a step of n processes, fitted to measured constants, and what it predicts.

    step(n) = busy(n) * (fixed + meta_batch / n * task)      every process computes; they share the cores
            + wait(n) * spread * compute                     the slowest of n is waited for
            + exchange(n)                                    gradients are summed

`busy` is how much slower a process is where others work beside it: `contention` (memory, caches) from two on, and
n / cores where there are more processes than cores. `wait(n)` is the expected largest of n standard normal numbers.
`exchange(n) = hops * latency + 2 (n - 1) / n * bytes / bandwidth`: summing in a ring sends every number twice but for
1/n of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm

Measured = Mapping[str, Any]


def wait(n: int) -> float:
    """Return the expected largest of n standard normal numbers (Blom 1958)."""
    return 0.0 if n == 1 else float(norm.ppf((n - 0.375) / (n + 0.25)))


def line(points: Mapping[int, float]) -> tuple[float, float]:
    """Return intercept and slope of the line with the least relative errors through points; neither is negative."""
    weights = {x: 1 / y**2 for x, y in points.items()}
    total = sum(weights.values())
    mean_x = sum(w * x for x, w in weights.items()) / total
    mean_y = sum(w * points[x] for x, w in weights.items()) / total
    spread = sum(w * (x - mean_x) ** 2 for x, w in weights.items())
    slope = max(0.0, sum(w * (x - mean_x) * (points[x] - mean_y) for x, w in weights.items()) / spread)
    return max(0.0, mean_y - slope * mean_x), slope


@dataclass(frozen=True)
class Local:
    """The model of this machine.

    Attributes:
        cores: of the machine.
        fixed: seconds of a step that do not depend on the number of tasks.
        task: seconds of a task, drawn and computed, in one thread.
        validation: seconds of a validation task.
        contention: how much slower processes are that work beside each other, each on a core of its own.
        spread: standard deviation of a process's compute time, relative.
        latency: seconds of a hop.
        bandwidth: bytes a second.
        bytes: of the message.
    """

    cores: int
    fixed: float
    task: float
    validation: float
    contention: float
    spread: float
    latency: float
    bandwidth: float
    bytes: float

    @classmethod
    def fit(cls, measured: Measured) -> Local:
        """Return the model with constants that were measured with one process, and between two."""
        backward = {int(tasks): seconds for tasks, seconds in measured["backward"].items()}
        fixed, task = line(backward)
        sums = {int(size) * 4: seconds for size, seconds in measured["sums"].items()}
        latency, per_byte = line(sums)
        # Two processes make two hops, and send every byte once.
        return cls(
            cores=measured["environment"]["cores"],
            fixed=fixed + measured["rest"],
            task=task + measured["draw"],
            validation=measured["validation"],
            contention=measured["contention"],
            spread=measured["spread"],
            latency=latency / 2,
            bandwidth=1 / max(per_byte, 1e-15),
            bytes=4 * measured["facts"]["parameters"],
        )

    def busy(self, n: int) -> float:
        """Return how much slower each of n processes is than one alone."""
        return (self.contention if n > 1 else 1.0) * max(1.0, n / self.cores)

    def parts(self, n: int, meta_batch: int) -> dict[str, float]:
        """Return the seconds of a step's parts."""
        compute = self.busy(n) * (self.fixed + meta_batch / n * self.task)
        ring = 2 * (n - 1) * self.latency + 2 * (n - 1) / n * self.bytes / self.bandwidth
        return {
            "compute": compute,
            "slowest": wait(n) * self.spread * compute,
            "exchange": max(1.0, n / self.cores) * ring,
        }

    def step(self, n: int, meta_batch: int) -> float:
        """Return the seconds of a step."""
        return sum(self.parts(n, meta_batch).values())

    def evaluation(self, n: int, tasks: int) -> float:
        """Return the seconds of a validation that n processes share."""
        return self.busy(n) * math.ceil(tasks / n) * self.validation


@dataclass(frozen=True)
class Cluster:
    """What the predictions for GPUs assume: none of it was measured here."""

    rate: float = 20e12
    """FLOP/s that a GPU sustains on these nets."""
    fixed: float = 10e-3
    """Seconds of a step that do not depend on the number of tasks: starting kernels, drawing, the optimiser."""
    spread: float = 0.02
    """Standard deviation of a GPU's compute time, relative."""
    each: int = 8
    """GPUs on a machine."""
    latency: float = 20e-6
    """Seconds of a hop between machines; small sums go up and down a tree."""
    inside: float = 200e9
    """Bytes a second between GPUs of a machine."""
    between: float = 25e9
    """Bytes a second of a GPU between machines."""
    disk: float = 1e9
    """Bytes a second to the disk of the checkpoints."""
    checkpoint_every: float = 30.0
    """Seconds between checkpoints, which one process writes while the others wait."""
    validate_every: int = 500
    """Steps between validations..."""
    validation_tasks: int = 600
    """... of so many tasks, each costing as a third of a training task: it has no backward pass."""


@dataclass(frozen=True)
class Workload:
    """A net and its tasks."""

    name: str
    parameters: float
    flops: float
    """Of a task's meta-gradient."""
    tasks: int
    """A step, for each GPU."""
    total: int
    """A step, where the number of all tasks is kept."""


def workloads(measured: Measured) -> list[Workload]:
    """Return the measured problem, and two larger ones whose sizes are round numbers."""
    facts = measured["facts"]
    return [
        Workload("MAML, Conv4-64, 28x28 (measured size)", facts["parameters"], facts["flops"], 16, 1024),
        Workload("ResNet-12, 84x84 (12 M parameters, 3 TFLOP a task)", 12e6, 3e12, 4, 1024),
        Workload("a transformer (100 M parameters, 10 TFLOP a task)", 100e6, 10e12, 4, 1024),
    ]


def cluster_parts(cluster: Cluster, load: Workload, n: int, tasks: float) -> dict[str, float]:
    """Return the seconds of a step's parts on n GPUs with so many tasks each; what is not in every step as a mean."""
    compute = cluster.fixed + tasks * load.flops / cluster.rate
    message = 4 * load.parameters
    bandwidth = cluster.inside if n <= cluster.each else cluster.between
    hops = 2 * math.ceil(math.log2(n)) if n > 1 else 0
    parts = {
        "compute": compute,
        "slowest": wait(n) * cluster.spread * compute,
        "exchange": hops * cluster.latency + 2 * (n - 1) / n * message / bandwidth,
    }
    share = math.ceil(cluster.validation_tasks / n)
    parts["validation"] = (cluster.fixed + share * load.flops / 3 / cluster.rate) / cluster.validate_every
    # Weights, and Adam's two moments.
    parts["checkpoint"] = 3 * message / cluster.disk / cluster.checkpoint_every * sum(parts.values())
    return parts
