"""Recipes of learners that predict distributions, where few points leave more than one answer open.

Tasks are sinusoids from 5 noisy points, and half planes from one point per class (docs/studies/beliefs.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import manual_seed, nn

from quickstudy import learners, nets, outer
from quickstudy.core import Learner
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.synthetic.functions import MultiModal
from quickstudy.tasks.synthetic.half_planes import HalfPlanes


@dataclass
class BeliefRecipe(Recipe):
    """Few-shot learning with uncertainty."""

    data: Literal["sinusoids", "half-planes"] = "sinusoids"
    """Family of tasks: 'sinusoids', with noise on all targets, or 'half-planes'."""
    shots: int = 0
    """Support points per sinusoid, or per class of half planes; 0 takes 5 for sinusoids and 1 for half planes."""
    queries: int = 20
    """Query points per task."""
    noise: float = 0.3
    """Standard deviation of the noise on sinusoids' targets."""
    hidden: tuple[int, ...] = (40, 40)
    """Width of each hidden layer."""
    inner_lr: float = 0.0
    """Inner learning rate; 0 takes 0.01 for sinusoids and 0.3 for half planes."""
    inner_steps: int = 5
    """Number of inner steps, in training and test."""
    start_noise: float = 1.0
    """Initial standard deviation that learners give sinusoids' targets. If it were small, only the nearest of several
    models would learn."""
    lr: float = 5e-3
    """Outer learning rate, for Adam."""
    clip: float = 10.0
    """Largest norm of the meta-gradient."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 1000
    meta_batch: int = 25

    @property
    def rate(self) -> float:
        """The inner learning rate."""
        return self.inner_lr or (0.01 if self.data == "sinusoids" else 0.3)

    @property
    def outputs(self) -> int:
        """Outputs of the net: one target, or the logits of two classes."""
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

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        return RecipeParts(
            learner=self.make_learner(),
            train=self.tasks(self.seed),
            validation=self.tasks(self.seed + 1),
            test=self.tasks(self.seed + 2),
            outer=outer.Gradient(lr=self.lr, clip=self.clip, schedule=self.schedule),
            options=self.options(),
        )

    def options(self) -> dict[str, Any]:
        """Return further arguments of `meta_train`."""
        return {"chunk": self.meta_batch}


@recipe("beliefs-maml", learner="MAML", paper="Finn et al. 2017")
@dataclass
class BeliefsMAML(BeliefRecipe):
    """Deterministic MAML, to compare with."""

    def make_learner(self) -> Learner:
        """Return MAML."""
        return learners.MAML(self.net(), self.rate, self.inner_steps)


@recipe("beliefs-ensemble", learner="EnsembleMAML", paper="Yoon et al. 2018")
@dataclass
class BeliefsEnsemble(BeliefRecipe):
    """Ensemble of MAMLs."""

    particles: int = 5
    """Number of models."""

    @property
    def rate(self) -> float:
        """The inner learning rate: half of MAML's for sinusoids, as a model for which others make up may diverge."""
        return self.inner_lr or super().rate / (2 if self.data == "sinusoids" else 1)

    def make_learner(self) -> Learner:
        """Return an ensemble."""
        return learners.EnsembleMAML(self.net(), self.particles, self.rate, self.inner_steps, noise=self.start_noise)


@recipe("beliefs-bmaml", learner="BMAML", paper="Yoon et al. 2018")
@dataclass
class BeliefsBMAML(BeliefsEnsemble):
    """Bayesian MAML with particles."""

    @property
    def rate(self) -> float:
        """The inner learning rate: three times the others', because particles far apart get about a third each."""
        return 3 * super(BeliefsEnsemble, self).rate

    def make_learner(self) -> Learner:
        """Return Bayesian MAML."""
        return learners.BMAML(self.net(), self.particles, self.rate, self.inner_steps, noise=self.start_noise)


@recipe("beliefs-platipus", learner="PLATIPUS", paper="Finn et al. 2018")
@dataclass
class BeliefsPLATIPUS(BeliefRecipe):
    """PLATIPUS, trained for the likelihood of the query under what it predicts with."""

    samples: int = 5
    """Number of starts that are drawn."""
    spread: float = 0.0
    """Initial standard deviation of starts; 0 takes 0.1 for sinusoids and 0.02 for half planes."""
    objective: str = "query_loss"
    """Objective: 'query_loss', or the paper's 'elbo', which trains a draw that has seen the query."""

    def make_learner(self) -> Learner:
        """Return PLATIPUS."""
        net, noise = self.net(), self.start_noise
        spread = self.spread or (0.1 if self.data == "sinusoids" else 0.02)
        return learners.PLATIPUS(net, self.samples, self.rate, self.inner_steps, spread=spread, noise=noise)

    def options(self) -> dict[str, Any]:
        """Return the objective too."""
        return {**super().options(), "objective": self.objective}


@recipe("beliefs-versa", learner="VERSA", paper="Gordon et al. 2019")
@dataclass
class BeliefsVERSA(BeliefRecipe):
    """VERSA, whose classes read each other: where a line between two can run depends on both."""

    samples: int = 50
    """Number of heads that are drawn for half planes."""

    def make_learner(self) -> Learner:
        """Return VERSA."""
        return learners.VERSA(self.net(embedding=True), self.outputs, samples=self.samples, context=True)


@recipe("beliefs-laplace", learner="LaplaceHead", paper="Daxberger et al. 2021")
@dataclass
class BeliefsLaplace(BeliefRecipe):
    """Laplace approximation of the head."""

    hidden: tuple[int, ...] = (40, 8)
    """Width of each hidden layer; the head reads the last one."""
    samples: int = 50
    """Number of heads that are drawn for half planes."""

    def make_learner(self) -> Learner:
        """Return a Bayesian head."""
        return learners.LaplaceHead(self.net(embedding=True), self.outputs, samples=self.samples)
