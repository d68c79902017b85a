"""Recipes of simulators that are learned (docs/studies/simulators.md).

The real system, a pendulum or a cart-pole whose parameters the learner is not told, is of course simulated too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from quickstudy import learners, nets, outer
from quickstudy.functional.physics import SYSTEMS
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.synthetic.motion import Motion


@dataclass
class SimulatorRecipe(Recipe):
    """A simulator that is learned."""

    system: ClassVar[str]
    angle: ClassVar[int]
    """Index of the angle among the numbers of a state."""
    real: ClassVar[dict[str, float]]

    by: Literal["gradient", "evolution"] = "gradient"
    """Outer optimiser: 'gradient' or 'evolution'."""
    trajectories: int = 10
    """Number of trajectories in the support, and in the query."""
    duration: float = 0.1
    """Seconds for which a force is kept up."""
    noise: float = 0.02
    """Noise of measurements, as a share of their standard deviation."""
    degree: int = 3
    """Largest degree of the products that are the features of a ridge regression."""
    lr: float = 0.1
    """Outer learning rate, for Adam, of the logarithms of parameters."""
    steps: int = 150

    def drawn(self, seed: int) -> Motion:
        """Return tasks."""
        return Motion(self.system, self.real, self.trajectories, duration=self.duration, noise=self.noise, seed=seed)

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe; all parameters of the simulator begin at 1."""
        features = nets.Monomials(SYSTEMS[self.system].spread, self.degree, (self.angle,))
        simulator = nets.Simulator(self.system, duration=self.duration)
        evolution = outer.EvolutionStrategies(12, 0.05, lr=self.lr, schedule="cosine")
        return RecipeParts(
            learner=learners.Simulated(simulator, learners.Ridge(1e-3), features),
            train=self.drawn(self.seed),
            validation=self.drawn(self.seed + 1),
            test=self.drawn(self.seed + 2),
            outer=outer.Gradient(self.lr, schedule="cosine") if self.by == "gradient" else evolution,
        )


@recipe("pendulum-simulator", learner="Simulated", paper="Chebotar et al. 2019")
@dataclass
class PendulumSimulator(SimulatorRecipe):
    """Pendulum of unknown mass, length and friction."""

    system = "pendulum"
    angle = 0
    real: ClassVar[dict[str, float]] = {"mass": 1.3, "length": 0.7, "friction": 0.3}


@recipe("cart-pole-simulator", learner="Simulated", paper="Chebotar et al. 2019")
@dataclass
class CartPoleSimulator(SimulatorRecipe):
    """Cart-pole of unknown masses, length and friction."""

    system = "cart-pole"
    angle = 2
    real: ClassVar[dict[str, float]] = {"cart": 1.5, "pole": 0.4, "length": 0.6, "friction": 2.0}
    trajectories: int = 60
    duration: float = 0.05
