"""Recipes of learners that predict distributions, where few points leave more than one answer open.

On sinusoids from 5 noisy points, and on half planes from one point a class (docs/beliefs.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import manual_seed, nn

from quickstudy import learners, nets, outer
from quickstudy.core import Learner
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Plan, Recipe
from quickstudy.registry import register
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.functions import MultiModal
from quickstudy.tasks.half_planes import HalfPlanes


@dataclass
class BeliefRecipe(Recipe):
    """Few-shot learning with uncertainty."""

    data: Literal["sinusoids", "half-planes"] = "sinusoids"
    """Sinusoids with noise on all targets, or half planes."""
    shots: int = 0
    """Support points, of half planes a class; 0 makes 5 of sinusoids and 1 of half planes."""
    queries: int = 20
    """Query points."""
    noise: float = 0.3
    """Standard deviation of the noise of sinusoids."""
    hidden: tuple[int, ...] = (40, 40)
    """Width of each hidden layer."""
    inner_lr: float = 0.01
    """Inner learning rate."""
    inner_steps: int = 3
    """Inner steps, in training and test."""
    lr: float = 3e-3
    """Outer learning rate (Adam)."""
    clip: float = 10.0
    """Largest norm of the meta-gradient."""
    schedule: Schedule = "cosine"
    """Of the outer learning rate."""
    steps: int = 3000
    meta_batch: int = 25

    @property
    def outputs(self) -> int:
        """Of the net: a target, or logits of two classes."""
        return 1 if self.data == "sinusoids" else 2

    def net(self, embedding: bool = False) -> nn.Module:
        """Return the net, or one that ends with features."""
        return nets.mlp(1 if self.data == "sinusoids" else 2, self.hidden, None if embedding else self.outputs)

    def make_learner(self) -> Learner:
        """Return the learner."""
        raise NotImplementedError

    def tasks(self, seed: int) -> TaskDistribution:
        """Return the tasks."""
        if self.data == "half-planes":
            return HalfPlanes(self.shots or 1, self.queries, seed)
        return MultiModal(("sine",), self.shots or 5, self.queries, self.noise, seed)

    def plan(self) -> Plan:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        return Plan(
            learner=self.make_learner(),
            train=self.tasks(self.seed),
            validation=self.tasks(self.seed + 1),
            test=self.tasks(self.seed + 2),
            outer=outer.Gradient(lr=self.lr, clip=self.clip, schedule=self.schedule),
            options={"chunk": self.meta_batch},
        )


@register("recipe", "beliefs-maml", paper="Finn et al. 2017")
@dataclass
class BeliefsMAML(BeliefRecipe):
    """Deterministic MAML, to compare with."""

    def make_learner(self) -> Learner:
        """Return MAML."""
        return learners.MAML(self.net(), self.inner_lr, self.inner_steps)


@register("recipe", "beliefs-ensemble", paper="Yoon et al. 2018")
@dataclass
class BeliefsEnsemble(BeliefRecipe):
    """Ensemble of MAMLs."""

    particles: int = 5
    """Models."""

    def make_learner(self) -> Learner:
        """Return an ensemble."""
        return learners.EnsembleMAML(self.net(), self.particles, self.inner_lr, self.inner_steps)


@register("recipe", "beliefs-bmaml", paper="Yoon et al. 2018")
@dataclass
class BeliefsBMAML(BeliefsEnsemble):
    """Bayesian MAML with particles."""

    def make_learner(self) -> Learner:
        """Return Bayesian MAML."""
        return learners.BMAML(self.net(), self.particles, self.inner_lr, self.inner_steps)


@register("recipe", "beliefs-platipus", paper="Finn et al. 2018")
@dataclass
class BeliefsPLATIPUS(BeliefRecipe):
    """PLATIPUS."""

    samples: int = 10
    """Draws of the start."""

    def make_learner(self) -> Learner:
        """Return PLATIPUS."""
        return learners.PLATIPUS(self.net(), self.samples, self.inner_lr, self.inner_steps)


@register("recipe", "beliefs-versa", paper="Gordon et al. 2019")
@dataclass
class BeliefsVERSA(BeliefRecipe):
    """VERSA."""

    def make_learner(self) -> Learner:
        """Return VERSA."""
        return learners.VERSA(self.net(embedding=True), self.outputs)


@register("recipe", "beliefs-laplace", paper="Daxberger et al. 2021")
@dataclass
class BeliefsLaplace(BeliefRecipe):
    """Laplace approximation of the head."""

    def make_learner(self) -> Learner:
        """Return a Bayesian head."""
        return learners.LaplaceHead(self.net(embedding=True), self.outputs)
