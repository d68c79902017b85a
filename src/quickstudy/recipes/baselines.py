"""Recipes of the baselines: a net trained on all meta-training classes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quickstudy import learners
from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.recipes.base import recipe
from quickstudy.recipes.few_shot import FewShotRecipe
from quickstudy.tasks.base import TaskDistribution
from quickstudy.tasks.data.supervised import Supervised


@dataclass
class PretrainedRecipe(FewShotRecipe):
    """Options that recipes of pretrained nets share."""

    rows: int = 128
    """Rows per pretraining mini-batch."""
    meta_batch: int = 1

    def make_train(self, train: ClassData) -> TaskDistribution:
        """Return supervised mini-batches."""
        return Supervised(train, self.rows, self.seed, self.augmentation())


@recipe("glyphs-finetune", learner="FineTune", paper="Chen et al. 2019")
@dataclass
class GlyphsFineTune(PretrainedRecipe):
    """Fine-tuning of a pretrained net on glyphs."""

    adapts: Literal["head", "all"] = "head"
    """Part of the net that is fine-tuned: 'head' or 'all'."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return the baseline."""
        return learners.FineTune(self.net(), len(train.classes), adapts=self.adapts, batch_norm=self.batch_norm)


@recipe("glyphs-baselineplusplus", learner="BaselinePlusPlus", paper="Chen et al. 2019")
@dataclass
class GlyphsBaselinePlusPlus(PretrainedRecipe):
    """Baseline++ on glyphs."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return the baseline."""
        return learners.BaselinePlusPlus(self.net(), len(train.classes), batch_norm=self.batch_norm)


@recipe("glyphs-logistic", learner="LogisticRegressionOnFeatures", paper="Tian et al. 2020")
@dataclass
class GlyphsLogistic(PretrainedRecipe):
    """Logistic regression on a pretrained net's features, on glyphs."""

    def make_learner(self, train: ClassData) -> Learner:
        """Return the baseline."""
        return learners.LogisticRegressionOnFeatures(self.net(), len(train.classes), batch_norm=self.batch_norm)
