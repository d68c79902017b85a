"""Recipes on Double MNIST, pairs of digits: those on glyphs, with other data and the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

from quickstudy.recipes.base import recipe
from quickstudy.recipes.baselines import GlyphsLogistic
from quickstudy.recipes.few_shot import Data
from quickstudy.recipes.metric import GlyphsProtoNet
from quickstudy.recipes.optimization import GlyphsMAML


@recipe("double-mnist-protonet", learner="ProtoNet", paper="Snell et al. 2017")
@dataclass
class DoubleMNISTProtoNet(GlyphsProtoNet):
    """Prototypical network on Double MNIST."""

    data: Data = "double-mnist"


@recipe("double-mnist-maml", learner="MAML", paper="Finn et al. 2017")
@dataclass
class DoubleMNISTMAML(GlyphsMAML):
    """MAML on Double MNIST."""

    data: Data = "double-mnist"


@recipe("double-mnist-logistic", learner="LogisticRegressionOnFeatures", paper="Tian et al. 2020")
@dataclass
class DoubleMNISTLogistic(GlyphsLogistic):
    """Logistic regression on a pretrained net's features, on Double MNIST."""

    data: Data = "double-mnist"
