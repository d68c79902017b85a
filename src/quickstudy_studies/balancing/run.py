"""A controller that is trained in a simulator and judged by what it costs on the real cart-pole.

What is trained in a simulator s_omega is a linear-quadratic regulator, force = -k s about the upright pole, by value
iteration on the simulator's linearisation s' = A s + B u:

    k = (R + B' P B)^-1 B' P A        P <- Q + A' P (A - B k)

Judged is the cost s' Q s + R u^2 along trajectories of the real system, from starts near upright. The outer loop sees
that cost alone, and changes omega.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from quickstudy import nets, tasks
from quickstudy.batching import map_tasks
from quickstudy.core import Examples, Learner, Task
from quickstudy.functional.physics import advance
from quickstudy.outer.base import Outer
from quickstudy.training.starting import meta_train
from quickstudy_studies.shared.simulated import CASES, Watched

CASE = CASES["cart-pole"]
WEIGHTS, FORCE = (1.0, 0.1, 10.0, 0.1), 0.01
"""Q, of position, velocity, angle and its velocity, and R."""
NEAR = 0.2
"""What the starts of `tasks.Motion` are multiplied by."""
STEPS, STARTS = 60, 8
"""Forces of a trajectory, each kept up for CASE.duration, and trajectories of a task."""


class Regulator(Learner):
    """Linear-quadratic regulator of a simulator; nothing that was measured is looked at.

    Args:
        simulator: rows (S, n + 1), a state and the force, to changes (S, n).
        rounds: of value iteration.
    """

    weights: Tensor

    def __init__(self, simulator: nets.Simulator, rounds: int = 150) -> None:
        super().__init__()
        self.simulator, self.rounds = simulator, rounds
        self.register_buffer("weights", torch.tensor(WEIGHTS))

    def adapt(self, support: Examples) -> Tensor:
        """Return k (n,)."""
        n = len(self.weights)
        rest = torch.zeros(n + 1, dtype=support.labels.dtype, device=support.labels.device)
        slopes = torch.func.jacrev(lambda row: self.simulator(row.unsqueeze(0))[0])(rest)
        a, b, cost = slopes[:, :n] + torch.eye(n, dtype=rest.dtype), slopes[:, n:], torch.diag(self.weights)
        value, k = cost, torch.zeros_like(b.mT)
        for _ in range(self.rounds):
            k = torch.linalg.solve(FORCE + b.mT @ value @ b, b.mT @ value @ a)
            value = cost + a.mT @ value @ (a - b @ k)
        return k.squeeze(0)

    def predict(self, state: Tensor, inputs: Any) -> Tensor:
        """Return forces (Q,) at states (Q, n)."""
        forces: Tensor = -(inputs @ state)
        return forces


class RealCost(nn.Module):
    """The objective: the mean cost on the real system, from the query's states brought near upright."""

    def __init__(self) -> None:
        super().__init__()
        self.real = nets.Simulator(CASE.system, CASE.real, CASE.duration).requires_grad_(False)

    def forward(self, learner: Regulator, task: Task, key: Tensor) -> Tensor:
        """Return the cost a step, as a scalar."""
        return self.after(learner, learner.adapt(task.support), task, key)

    def after(self, learner: Regulator, state: Tensor, task: Task, key: Tensor) -> Tensor:
        """Return the cost a step, as a scalar."""
        system, at = self.real.system, NEAR * task.query.inputs[:, :-1]
        real = {name: value.exp() for name, value in self.real.log.items()}
        total = torch.zeros((), dtype=at.dtype, device=at.device)
        for _ in range(STEPS):
            force = learner.predict(state, at)
            total = total + (at.square() @ learner.weights + FORCE * force.square()).mean()
            at = advance(system.rate, real, at, force, CASE.duration)
        return total / STEPS


def costs(values: list[dict[str, float]], seed: int, count: int = 8) -> list[float]:
    """Return the real cost of regulators of simulators with such parameters, from starts that nothing learned from."""
    batch = tasks.Motion(CASE.system, CASE.real, STARTS, 1, noise=0.0, seed=seed + 10_000).batch(0, count)
    goal, found = RealCost(), []
    for each in values:
        learner = Regulator(nets.Simulator(CASE.system, each, CASE.duration))
        with torch.no_grad():
            found.append(float(map_tasks(lambda one, made=learner: goal(made, one, torch.zeros(())), batch).mean()))
    return found


def trained(how: Outer, steps: int, seed: int) -> dict[str, Any]:
    """Meta-train a simulator by the real cost; return that before every outer step and at the end, and parameters."""
    simulator = nets.Simulator(CASE.system, CASE.guess, CASE.duration)
    goal = Watched(simulator, RealCost())
    real = tasks.Motion(CASE.system, CASE.real, STARTS, 1, noise=0.0, seed=seed)
    meta_train(
        Regulator(simulator),
        real,
        how,
        steps=steps,
        meta_batch=2,
        objective=goal,
        seed=seed,
        progress=False,
        compile=False,
    )
    seen = [*goal.seen, simulator.values]
    path = {name: [values[name] / value for values in seen] for name, value in CASE.real.items()}
    return {"costs": costs(seen, seed), "best": costs([CASE.real], seed)[0], "path": path}
