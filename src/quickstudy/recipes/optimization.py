"""Recipes of the optimisation-based learners, on glyphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quickstudy import learners, outer
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.outer.base import OptimizerName, Outer, Schedule
from quickstudy.recipes.base import recipe
from quickstudy.recipes.few_shot import FewShotRecipe


@dataclass
class GradientRecipe(FewShotRecipe):
    """Options that recipes with an inner loop share."""

    halve: Literal["pool", "stride"] = "stride"
    """Way in which each block halves its maps; strided convolutions, as in MAML's experiments on Omniglot, are the
    default."""
    inner_lr: float = 0.4
    """Inner learning rate."""
    inner_steps: int = 1
    """Number of inner steps in meta-training."""
    test_steps: int = 3
    """Number of inner steps in evaluation."""
    steps: int = 2000

    @property
    def inner(self) -> dict[str, float | int | str]:
        """The arguments that all these learners take."""
        return {
            "lr": self.inner_lr,
            "steps": self.inner_steps,
            "test_steps": self.test_steps,
            "batch_norm": self.batch_norm,
        }


@recipe("glyphs-maml", learner="MAML", paper="Finn et al. 2017")
@dataclass
class GlyphsMAML(GradientRecipe):
    """MAML on glyphs."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return MAML."""
        return learners.MAML(self.net(self.ways), **self.inner)  # type: ignore[arg-type]


@recipe("glyphs-fomaml", learner="FOMAML", paper="Finn et al. 2017")
@dataclass
class GlyphsFOMAML(GradientRecipe):
    """First-order MAML on glyphs."""

    inner_lr: float = 0.1

    def make_learner(self, train: ClassData) -> Learner:
        """Return first-order MAML."""
        return learners.FOMAML(self.net(self.ways), **self.inner)  # type: ignore[arg-type]


@recipe("glyphs-anil", learner="ANIL", paper="Raghu et al. 2020")
@dataclass
class GlyphsANIL(GradientRecipe):
    """ANIL on glyphs."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return ANIL."""
        return learners.ANIL(self.net(self.ways), **self.inner)  # type: ignore[arg-type]


@recipe("glyphs-metasgd", learner="MetaSGD", paper="Li et al. 2017")
@dataclass
class GlyphsMetaSGD(GradientRecipe):
    """Meta-SGD on glyphs."""

    inner_lr: float = 0.1
    test_steps: int = 1

    def make_learner(self, train: ClassData) -> Learner:
        """Return Meta-SGD."""
        return learners.MetaSGD(self.net(self.ways), **self.inner)  # type: ignore[arg-type]


@recipe("glyphs-cavia", learner="CAVIA", paper="Zintgraf et al. 2019")
@dataclass
class GlyphsCAVIA(GradientRecipe):
    """CAVIA on glyphs, with a context of 100 numbers."""

    context: int = 100
    """Size of the context vector."""
    inner_lr: float = 10.0
    """Inner learning rate. With the paper's 1 (for miniImageNet), training on glyphs stays at chance."""
    inner_steps: int = 2
    test_steps: int = 2

    def make_learner(self, train: ClassData) -> Learner:
        """Return CAVIA."""
        return learners.CAVIA(self.net(self.ways, context=self.context), **self.inner)  # type: ignore[arg-type]


@recipe("glyphs-adml", learner="ADML", paper="Yin et al. 2018")
@dataclass
class GlyphsADML(GradientRecipe):
    """ADML on glyphs."""

    epsilon: float = 0.1
    """Size of the adversarial perturbation; pixels lie in [0, 1]."""
    inner_lr: float = 0.2

    def make_learner(self, train: ClassData) -> Learner:
        """Return ADML."""
        return learners.ADML(self.net(self.ways), epsilon=self.epsilon, **self.inner)  # type: ignore[arg-type]


@recipe("glyphs-imaml", learner="IMAML", paper="Rajeswaran et al. 2019")
@dataclass
class GlyphsIMAML(GradientRecipe):
    """Implicit MAML on glyphs."""

    strength: float = 0.5
    """Strength with which the inner loop is pulled to its start."""
    cg_steps: int = 5
    """Number of conjugate-gradient steps."""
    damping: float = 10.0
    """Damping of the conjugate gradient, in units of the strength; 0 gives the exact solution."""
    lr: float = 2e-3
    inner_lr: float = 0.03
    inner_steps: int = 10
    test_steps: int = 10

    def make_learner(self, train: ClassData) -> Learner:
        """Return implicit MAML."""
        options = {**self.inner, "strength": self.strength, "cg_steps": self.cg_steps, "damping": self.damping}
        return learners.IMAML(self.net(self.ways), **options)  # type: ignore[arg-type]


@recipe("glyphs-protomaml", learner="ProtoMAML", paper="Triantafillou et al. 2020")
@dataclass
class GlyphsProtoMAML(GradientRecipe):
    """Proto-MAML on glyphs."""

    inner_lr: float = 0.01
    train_ways: int = 10

    def make_learner(self, train: ClassData) -> Learner:
        """Return Proto-MAML."""
        return learners.ProtoMAML(self.net(), **self.inner)  # type: ignore[arg-type]


@recipe("glyphs-reptile", learner="Reptile", paper="Nichol et al. 2018")
@dataclass
class GlyphsReptile(GradientRecipe):
    """Reptile on glyphs: inner Adam, batches of 10, 10 training shots."""

    inner_lr: float = 1e-3
    inner_steps: int = 5
    test_steps: int = 50
    batch: int = 10
    """Rows per inner step."""
    train_shots: int = 10
    train_queries: int = 5
    optimizer: OptimizerName = "sgd"
    lr: float = 1.0
    schedule: Schedule = "linear"
    meta_batch: int = 5

    def make_learner(self, train: ClassData) -> Learner:
        """Return Reptile."""
        return learners.Reptile(self.net(self.ways), batch=self.batch, **self.inner)  # type: ignore[arg-type]

    def make_outer(self) -> Outer:
        """Return Reptile's outer rule."""
        return outer.Reptile(self.lr, optimizer=self.optimizer, clip=self.clip or None, schedule=self.schedule)
