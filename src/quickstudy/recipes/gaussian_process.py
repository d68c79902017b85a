"""Recipes of neural processes on Gaussian-process draws (Kim et al. 2019, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import manual_seed

from quickstudy import learners, outer
from quickstudy.core import Learner
from quickstudy.outer.base import Schedule
from quickstudy.recipes.base import Recipe, RecipeParts, recipe
from quickstudy.tasks.synthetic.gaussian_process import GaussianProcess


@dataclass
class GPRecipe(Recipe):
    """Regression with uncertainty on draws of a Gaussian process."""

    kernel: str = "rbf"
    """Kernel of the process: 'rbf', 'matern12', 'matern32', 'matern52' or 'periodic'."""
    length_scale: tuple[float, float] = (0.2, 0.6)
    """Range of the length scale, drawn for each task."""
    noise: float = 0.1
    """Standard deviation of the noise on all targets."""
    train_shots: tuple[int, int] = (3, 20)
    """Range of the number of support points in meta-training."""
    shots: int = 10
    """Support points in validation and test."""
    queries: int = 50
    """Query points per task."""
    width: int = 128
    """Width of hidden layers and representations."""
    lr: float = 1e-3
    """Outer learning rate, for Adam."""
    schedule: Schedule = "cosine"
    """Schedule of the outer learning rate."""
    steps: int = 20000
    meta_batch: int = 16

    def make_learner(self) -> Learner:
        """Return the learner."""
        raise NotImplementedError

    def plan(self) -> RecipeParts:
        """Return the objects that these options describe."""
        manual_seed(self.seed)

        def tasks(shots: int | tuple[int, int], seed: int) -> GaussianProcess:
            return GaussianProcess(self.kernel, self.length_scale, shots, self.queries, self.noise, seed)

        return RecipeParts(
            learner=self.make_learner(),
            train=tasks(self.train_shots, self.seed),
            validation=tasks(self.shots, self.seed + 1),
            test=tasks(self.shots, self.seed + 2),
            outer=outer.Gradient(lr=self.lr, schedule=self.schedule),
        )


@recipe("gp-cnp", learner="CNP", paper="Garnelo et al. 2018a")
@dataclass
class GPCNP(GPRecipe):
    """Conditional neural process on Gaussian-process draws."""

    def make_learner(self) -> Learner:
        """Return a conditional neural process."""
        return learners.CNP(width=self.width)


@recipe("gp-np", learner="NP", paper="Garnelo et al. 2018b")
@dataclass
class GPNP(GPRecipe):
    """Neural process on Gaussian-process draws."""

    def make_learner(self) -> Learner:
        """Return a neural process."""
        return learners.NP(width=self.width)


@recipe("gp-anp", learner="AttentiveNP", paper="Kim et al. 2019")
@dataclass
class GPAttentiveNP(GPRecipe):
    """Attentive neural process on Gaussian-process draws."""

    def make_learner(self) -> Learner:
        """Return an attentive neural process."""
        return learners.AttentiveNP(width=self.width)
