"""Baselines that do not meta-learn: what every meta-learner has to beat."""

from quickstudy.learners.baselines.exact_gp import ExactGP
from quickstudy.learners.baselines.fine_tune import BaselinePlusPlus, FineTune
from quickstudy.learners.baselines.laplace_head import LaplaceHead
from quickstudy.learners.baselines.logistic_regression import LogisticRegressionOnFeatures
from quickstudy.learners.baselines.nearest_neighbour import NearestNeighbour
from quickstudy.learners.baselines.ridge import Ridge

__all__ = [
    "BaselinePlusPlus",
    "ExactGP",
    "FineTune",
    "LaplaceHead",
    "LogisticRegressionOnFeatures",
    "NearestNeighbour",
    "Ridge",
]
