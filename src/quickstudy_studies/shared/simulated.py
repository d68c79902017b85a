"""Systems whose parameters are hidden, the simulators that begin beside them, and a look at the latter's parameters."""

from __future__ import annotations

from typing import NamedTuple

from quickstudy import nets
from quickstudy.objectives.base import LossOfTask, Objective, Wrapper


class Case(NamedTuple):
    """A system, what is hidden of it and what the simulator begins with, and how the real one is moved."""

    system: str
    real: dict[str, float]
    guess: dict[str, float]
    drive: float
    duration: float
    trajectories: int
    angle: int
    """Number of the angle in a state."""


_REAL, _GUESS = {"mass": 1.3, "length": 0.7, "friction": 0.3}, {"mass": 0.7, "length": 1.2, "friction": 0.8}
CASES = {
    "pendulum": Case("pendulum", _REAL, _GUESS, 1.0, 0.1, 10, 0),
    "pendulum, not driven": Case("pendulum", _REAL, _GUESS, 0.0, 0.1, 10, 0),
    "cart-pole": Case(
        "cart-pole",
        {"cart": 1.5, "pole": 0.4, "length": 0.6, "friction": 2.0},
        {"cart": 0.8, "pole": 0.8, "length": 1.1, "friction": 1.0},
        1.0,
        0.05,
        60,
        2,
    ),
}


class Watched(Wrapper):
    """Another objective; before each outer step it looks at a simulator's parameters."""

    def __init__(self, simulator: nets.Simulator, of: Objective | LossOfTask | str) -> None:
        super().__init__(of)
        # In a list: the simulator is no part of the objective.
        self.simulator, self.seen = [simulator], list[dict[str, float]]()

    def schedule(self, done: float) -> None:
        """Keep the parameters."""
        self.seen.append(self.simulator[0].values)
