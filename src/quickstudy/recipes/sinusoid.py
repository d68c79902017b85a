"""Recipes of sinusoid regression (Finn et al. 2017, section 5.1): 5 or 10 points, a 40-40 net, one inner step.

MAML's by other outer optimisers than the gradient reach about twice its error (docs/guide/outer.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import manual_seed, nn

from quickstudy import learners, nets, objectives, outer
from quickstudy.core import Learner
from quickstudy.outer.base import Outer, Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.synthetic.functions import Sinusoid


@dataclass
class SinusoidRecipe(Recipe):
    """Regression of sinusoids from a few points."""

    shots: int = 5
    """Support points per task."""
    queries: int = 10
    """Query points per meta-training task; validation and test tasks have 100."""
    hidden: int = 40
    """Width of both hidden layers."""
    inner_lr: float = 0.01
    """Inner learning rate."""
    inner_steps: int = 1
    """Number of inner steps, in training and test."""
    lr: float = 2e-3
    """Outer learning rate, for Adam."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 30000
    meta_batch: int = 25

    def net(self, context: int = 0) -> nn.Module:
        """Return the paper's net."""
        return nets.mlp(1, (self.hidden, self.hidden), outputs=1, context=context)

    def make_learner(self) -> Learner:
        """Return the learner."""
        raise NotImplementedError

    def make_outer(self) -> Outer:
        """Return the outer optimiser."""
        return outer.Gradient(lr=self.lr, schedule=self.schedule)

    def options(self) -> dict[str, Any]:
        """Return further arguments of `meta_train`."""
        return {"chunk": self.meta_batch}

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        return RecipeParts(
            learner=self.make_learner(),
            train=Sinusoid(self.shots, self.queries, seed=self.seed),
            validation=Sinusoid(self.shots, 100, seed=self.seed + 1),
            test=Sinusoid(self.shots, 100, seed=self.seed + 2),
            outer=self.make_outer(),
            options=self.options(),
        )


@recipe("sinusoid-maml", learner="MAML", paper="Finn et al. 2017")
@dataclass
class SinusoidMAML(SinusoidRecipe):
    """MAML on sinusoids."""

    def make_learner(self) -> Learner:
        """Return MAML."""
        return learners.MAML(self.net(), self.inner_lr, self.inner_steps)


@recipe("sinusoid-maml-es", learner="MAML", paper="Song et al. 2020")
@dataclass
class SinusoidMAMLByEvolution(SinusoidMAML):
    """MAML on sinusoids by evolution strategies: no derivative but the inner one."""

    lr: float = 2e-2
    steps: int = 6000
    meta_batch: int = 5
    population: int = 128
    """Candidates per outer step, each judged on all of its tasks."""
    sigma: float = 0.05
    """Standard deviation of the perturbations."""

    def make_outer(self) -> Outer:
        """Return evolution strategies."""
        return outer.EvolutionStrategies(self.population, self.sigma, lr=self.lr, schedule=self.schedule)

    def options(self) -> dict[str, Any]:
        """Return nothing: all candidates that fit are judged at once."""
        return {}


@recipe("sinusoid-maml-cma", learner="MAML", paper="Ros & Hansen 2008")
@dataclass
class SinusoidMAMLByCMA(SinusoidMAML):
    """MAML on sinusoids by CMA-ES with a diagonal covariance, for there are 1,761 parameters."""

    steps: int = 3000
    meta_batch: int = 10
    population: int = 128
    """Candidates per outer step, each judged on all of its tasks."""
    sigma: float = 0.05
    """Initial standard deviation of the candidates."""

    def make_outer(self) -> Outer:
        """Return CMA-ES, which has no rate."""
        return outer.CMAES(self.sigma, self.population)

    def options(self) -> dict[str, Any]:
        """Return nothing: all candidates that fit are judged at once."""
        return {}


@recipe("sinusoid-maml-pg", learner="MAML", paper="Williams 1992")
@dataclass
class SinusoidMAMLByPolicyGradient(SinusoidMAML):
    """MAML on sinusoids by rewards of drawn answers: minus their squared errors, which nobody differentiates."""

    steps: int = 8000
    samples: int = 16
    """Answers per query point."""
    exploration: float = 0.5
    """Standard deviation of the answers."""

    def make_outer(self) -> Outer:
        """Return the policy gradient."""
        return outer.PolicyGradient(self.samples, self.exploration, lr=self.lr, schedule=self.schedule)

    def options(self) -> dict[str, Any]:
        """Return the objective too."""
        return {"objective": objectives.Reward(), **super().options()}


@recipe("sinusoid-fomaml", learner="FOMAML", paper="Finn et al. 2017")
@dataclass
class SinusoidFOMAML(SinusoidRecipe):
    """First-order MAML on sinusoids."""

    def make_learner(self) -> Learner:
        """Return first-order MAML."""
        return learners.FOMAML(self.net(), self.inner_lr, self.inner_steps)


@recipe("sinusoid-anil", learner="ANIL", paper="Raghu et al. 2020")
@dataclass
class SinusoidANIL(SinusoidRecipe):
    """ANIL on sinusoids."""

    def make_learner(self) -> Learner:
        """Return ANIL."""
        return learners.ANIL(self.net(), self.inner_lr, self.inner_steps)


@recipe("sinusoid-metasgd", learner="MetaSGD", paper="Li et al. 2017")
@dataclass
class SinusoidMetaSGD(SinusoidRecipe):
    """Meta-SGD on sinusoids."""

    def make_learner(self) -> Learner:
        """Return Meta-SGD."""
        return learners.MetaSGD(self.net(), self.inner_lr, self.inner_steps)


@recipe("sinusoid-cavia", learner="CAVIA", paper="Zintgraf et al. 2019")
@dataclass
class SinusoidCAVIA(SinusoidRecipe):
    """CAVIA on sinusoids, with 5 context parameters."""

    context: int = 5
    """Size of the context vector."""
    inner_lr: float = 1.0

    def make_learner(self) -> Learner:
        """Return CAVIA."""
        return learners.CAVIA(self.net(self.context), self.inner_lr, self.inner_steps)
