"""Hidden parameters of a pendulum and a cart-pole, found by what is trained in a simulator of them."""

from __future__ import annotations

from quickstudy import learners, nets, tasks
from quickstudy.functional.physics import SYSTEMS
from quickstudy.outer.base import Outer
from quickstudy.training.starting import meta_train
from quickstudy_studies.shared.simulated import Case, Watched


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
