"""Motion of a real system: transitions of a pendulum or a cart-pole with hidden parameters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional import random
from quickstudy.functional.physics import SYSTEMS, rollout
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution


@register("tasks")
class Motion(TaskDistribution):
    """Each task is another few minutes with one and the same system: only where it is set off and pushed differs.

    A row is a state and the force on it, its target how much the state changes while the force is kept up, as measured.
    Support and query are consecutive rows of trajectories, as many each, that start in the middle half of the range of
    states. `functional.physics` has equations and units.

    Args:
        system: 'pendulum' or 'cart-pole'.
        parameters: the real ones, by name; 1 for those that are not named.
        trajectories: in the support, and as many in the query.
        length: rows L of a trajectory.
        duration: s, that a force is kept up.
        drive: half-range of forces as a share of the system's usual one; 0 leaves it to itself.
        noise: standard deviation of what is measured, as a share of each number's own standard deviation.
        seed: the stream's seed.

    Raises:
        InputError: an unknown system or parameter, or a number that is out of range.
    """

    metric = "mse"

    def __init__(
        self,
        system: str = "pendulum",
        parameters: Mapping[str, float] | None = None,
        trajectories: int = 10,
        length: int = 10,
        duration: float = 0.1,
        drive: float = 1.0,
        noise: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if system not in SYSTEMS:
            raise unknown_name("system", system, SYSTEMS)
        names, values = SYSTEMS[system].parameters, dict(parameters or {})
        for name in values:
            if name not in names:
                raise unknown_name(f"parameter of a {system}", name, names)
        for name, value in {**values, "duration": duration}.items():
            if not 0 < value < math.inf:
                raise InputError(f"{name} of a {system} must be positive, not {value}")
        if min(trajectories, length) < 1 or drive < 0 or noise < 0:
            raise InputError(f"{trajectories=} and {length=} must be at least 1, {drive=} and {noise=} 0 or more")
        self.name = self.system = system
        self.duration = duration
        self.real = {name: float(values.get(name, 1.0)) for name in names}
        self.trajectories, self.length, self.drive, self.noise = trajectories, length, drive, noise

    def plan(self, indices: Tensor) -> Plan:
        """Draw starts, forces and what measuring adds."""
        keys, count = self.keys(indices), 2 * self.trajectories
        spread = torch.tensor(SYSTEMS[self.system].spread, device=self.device)
        states, force = spread[:-1], spread[-1] * self.drive
        starts = random.uniform(random.fold_in(keys, 1), count, len(states)) - 0.5
        forces = 2 * random.uniform(random.fold_in(keys, 2), count, self.length) - 1
        noise = random.normal(random.fold_in(keys, 3), count, self.length, len(states))
        return {"starts": starts * states, "forces": forces * force, "noise": self.noise * noise}

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs (T, S, n + 1) and targets (T, S, n)."""
        real = {name: torch.tensor(value, device=self.device) for name, value in self.real.items()}
        starts, forces = plan["starts"], plan["forces"]
        after = rollout(SYSTEMS[self.system].rate, real, starts, forces, self.duration)
        before = torch.cat([starts.unsqueeze(-2), after[..., :-1, :]], -2)
        changes = after - before
        changes = changes + plan["noise"] * changes.std((1, 2), keepdim=True)
        inputs = torch.cat([before, forces.unsqueeze(-1)], -1)
        k = self.trajectories

        def rows(part: slice) -> Examples:
            return Examples(inputs[:, part].flatten(1, 2), changes[:, part].flatten(1, 2), check=False)

        return Task(rows(slice(k)), rows(slice(k, None)))

    @property
    def fingerprint(self) -> str:
        """Hash of the real parameters, which the description does not tell."""
        return hashlib.sha256(json.dumps(self.real).encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks, without what is hidden."""
        names = ("trajectories", "length", "duration", "drive", "noise")
        return {**super().describe(), **{name: getattr(self, name) for name in names}}
