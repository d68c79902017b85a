"""Recipes of sinusoid regression (Finn et al. 2017, section 5.1): 5 or 10 points, a 40-40 net, one inner step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import manual_seed, nn

from quickstudy import learners, nets, outer
from quickstudy.core import Learner
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Plan, Recipe
from quickstudy.registry import register
from quickstudy.tasks.functions import Sinusoid


@dataclass
class SinusoidRecipe(Recipe):
    """Regression of sinusoids from a few points."""

    shots: int = 5
    """Support points."""
    queries: int = 10
    """Query points of meta-training and validation tasks; test tasks have 100."""
    hidden: int = 40
    """Width of both hidden layers."""
    inner_lr: float = 0.01
    """Inner learning rate."""
    inner_steps: int = 1
    """Inner steps, in training and test."""
    lr: float = 2e-3
    """Outer learning rate (Adam)."""
    schedule: Schedule = "cosine"
    """Of the outer learning rate."""
    steps: int = 30000
    meta_batch: int = 25

    def net(self, context: int = 0) -> nn.Module:
        """Return the paper's net."""
        return nets.mlp(1, (self.hidden, self.hidden), outputs=1, context=context)

    def make_learner(self) -> Learner:
        """Return the learner."""
        raise NotImplementedError

    def plan(self) -> Plan:
        """Return the objects that these options describe."""
        manual_seed(self.seed)
        return Plan(
            learner=self.make_learner(),
            train=Sinusoid(self.shots, self.queries, seed=self.seed),
            validation=Sinusoid(self.shots, 100, seed=self.seed + 1),
            test=Sinusoid(self.shots, 100, seed=self.seed + 2),
            outer=outer.Gradient(lr=self.lr, schedule=self.schedule),
            options={"chunk": self.meta_batch},
        )


@register("recipe", "sinusoid-maml", paper="Finn et al. 2017")
@dataclass
class SinusoidMAML(SinusoidRecipe):
    """MAML on sinusoids."""

    def make_learner(self) -> Learner:
        """Return MAML."""
        return learners.MAML(self.net(), self.inner_lr, self.inner_steps)


@register("recipe", "sinusoid-metasgd", paper="Li et al. 2017")
@dataclass
class SinusoidMetaSGD(SinusoidRecipe):
    """Meta-SGD on sinusoids."""

    def make_learner(self) -> Learner:
        """Return Meta-SGD."""
        return learners.MetaSGD(self.net(), self.inner_lr, self.inner_steps)


@register("recipe", "sinusoid-cavia", paper="Zintgraf et al. 2019")
@dataclass
class SinusoidCAVIA(SinusoidRecipe):
    """CAVIA on sinusoids, with 5 context parameters."""

    context: int = 5
    """Size of the context vector."""
    inner_lr: float = 1.0

    def make_learner(self) -> Learner:
        """Return CAVIA."""
        return learners.CAVIA(self.net(self.context), self.inner_lr, self.inner_steps)
