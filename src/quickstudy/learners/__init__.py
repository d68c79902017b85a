"""Learners: WHAT is learned across tasks. One published method a file."""

from quickstudy.learners.baselines import (
    BaselinePlusPlus,
    ExactGP,
    FineTune,
    LogisticRegressionOnFeatures,
    NearestNeighbour,
    Ridge,
)
from quickstudy.learners.metric import MatchingNet, ProtoNet, RelationNet, Siamese
from quickstudy.learners.model import CNP, DNC, MANN, NP, AttentiveNP, CausalInContext, InContext, RecurrentLearner
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
    "CNP",
    "DNC",
    "FOMAML",
    "IMAML",
    "MAML",
    "MANN",
    "NP",
    "AttentiveNP",
    "BaselinePlusPlus",
    "CausalInContext",
    "ExactGP",
    "FineTune",
    "GradientLearner",
    "InContext",
    "LogisticRegressionOnFeatures",
    "MatchingNet",
    "MetaSGD",
    "NearestNeighbour",
    "ProtoMAML",
    "ProtoNet",
    "RecurrentLearner",
    "RelationNet",
    "Reptile",
    "Ridge",
    "Siamese",
]
