"""Learners: WHAT is learned across tasks. One published method a file."""

from quickstudy.learners.baselines import BaselinePlusPlus, FineTune, LogisticRegressionOnFeatures, NearestNeighbour
from quickstudy.learners.metric import MatchingNet, ProtoNet, RelationNet, Siamese
from quickstudy.learners.model import MANN, RecurrentLearner
from quickstudy.learners.optimization import (
    ADML,
    ANIL,
    CAVIA,
    FOMAML,
    IMAML,
    MAML,
    GradientLearner,
    MetaSGD,
    ProtoMAML,
    Reptile,
)

__all__ = [
    "ADML",
    "ANIL",
    "CAVIA",
    "FOMAML",
    "IMAML",
    "MAML",
    "MANN",
    "BaselinePlusPlus",
    "FineTune",
    "GradientLearner",
    "LogisticRegressionOnFeatures",
    "MatchingNet",
    "MetaSGD",
    "NearestNeighbour",
    "ProtoMAML",
    "ProtoNet",
    "RecurrentLearner",
    "RelationNet",
    "Reptile",
    "Siamese",
]
