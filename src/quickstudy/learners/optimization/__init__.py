"""Optimisation-based learners: one inner loop, many compositions."""

from quickstudy.learners.optimization.adml import ADML
from quickstudy.learners.optimization.anil import ANIL
from quickstudy.learners.optimization.auxiliary_losses import AuxiliaryLosses
from quickstudy.learners.optimization.bmaml import BMAML, EnsembleMAML
from quickstudy.learners.optimization.cavia import CAVIA
from quickstudy.learners.optimization.darts import DARTS
from quickstudy.learners.optimization.dataset_distillation import DatasetDistillation
from quickstudy.learners.optimization.hyper_parameters import HyperParameters
from quickstudy.learners.optimization.imaml import IMAML
from quickstudy.learners.optimization.inner_loop import GradientLearner
from quickstudy.learners.optimization.l2o import L2O
from quickstudy.learners.optimization.learned_augmentation import LearnedAugmentation
from quickstudy.learners.optimization.learned_loss import LearnedLoss
from quickstudy.learners.optimization.maml import FOMAML, MAML
from quickstudy.learners.optimization.meta_sgd import MetaSGD
from quickstudy.learners.optimization.meta_weight_net import MetaWeightNet
from quickstudy.learners.optimization.mmaml import MMAML
from quickstudy.learners.optimization.platipus import PLATIPUS
from quickstudy.learners.optimization.proto_maml import ProtoMAML
from quickstudy.learners.optimization.reptile import Reptile

__all__ = [
    "ADML",
    "ANIL",
    "BMAML",
    "CAVIA",
    "DARTS",
    "FOMAML",
    "IMAML",
    "L2O",
    "MAML",
    "MMAML",
    "PLATIPUS",
    "AuxiliaryLosses",
    "DatasetDistillation",
    "EnsembleMAML",
    "GradientLearner",
    "HyperParameters",
    "LearnedAugmentation",
    "LearnedLoss",
    "MetaSGD",
    "MetaWeightNet",
    "ProtoMAML",
    "Reptile",
]
