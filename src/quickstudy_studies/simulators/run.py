"""Hidden parameters of a pendulum and a cart-pole, found by what is trained in a simulator of them."""

from __future__ import annotations

from typing import NamedTuple

from quickstudy import learners, nets, tasks
from quickstudy.functional.physics import SYSTEMS
from quickstudy.objectives.base import LossOfTask, Objective, Wrapper
from quickstudy.outer.base import Outer
from quickstudy.training.starting import meta_train


class Case(NamedTuple):
    """A system, what is hidden of it and what the simulator begins with, and how the real one is moved."""

    system: str
    real: dict[str, float]
    guess: dict[str, float]
    drive: float
    duration: float
    trajectories: int
    angle: int
    """Which number of a state is the angle."""


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


def followed(case: Case, how: Outer, steps: int, seed: int) -> dict[str, list[float]]:
    """Meta-train a simulator; return each parameter before every outer step and at the end, as shares of the real."""
    features = nets.Monomials(SYSTEMS[case.system].spread, degree=3, angles=(case.angle,))
    simulator = nets.Simulator(case.system, case.guess, case.duration)
    learner = learners.Simulated(simulator, learners.Ridge(1e-3), features)
    motion = tasks.Motion(
        case.system, case.real, case.trajectories, duration=case.duration, drive=case.drive, noise=0.02, seed=seed
    )
    goal = Watched(simulator, "query_loss")
    meta_train(
        learner, motion, how, steps=steps, meta_batch=4, objective=goal, seed=seed, progress=False, compile=False
    )
    seen = [*goal.seen, simulator.values]
    return {name: [values[name] / real for values in seen] for name, real in case.real.items()}


class Watched(Wrapper):
    """Another objective; before each outer step it looks at a simulator's parameters."""

    def __init__(self, simulator: nets.Simulator, of: Objective | LossOfTask | str) -> None:
        super().__init__(of)
        # In a list: the simulator is no part of the objective.
        self.simulator, self.seen = [simulator], list[dict[str, float]]()

    def schedule(self, done: float) -> None:
        """Keep the parameters."""
        self.seen.append(self.simulator[0].values)
