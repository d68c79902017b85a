"""Model-based learners: the task is learned in activations (a memory, a hidden state, generated or fast weights)."""

from quickstudy.learners.model.attentive_np import AttentiveNP
from quickstudy.learners.model.attribute_sets import AttributeSets
from quickstudy.learners.model.cnp import CNP
from quickstudy.learners.model.dnc import DNC
from quickstudy.learners.model.gibbs import GibbsClassifier
from quickstudy.learners.model.hyper_network import HyperNetwork
from quickstudy.learners.model.in_context import CausalInContext, InContext
from quickstudy.learners.model.latent_np import NP
from quickstudy.learners.model.mann import MANN
from quickstudy.learners.model.meta_net import MetaNet
from quickstudy.learners.model.plastic import Plastic
from quickstudy.learners.model.recurrent import RecurrentLearner
from quickstudy.learners.model.simulated import Simulated
from quickstudy.learners.model.snail import SNAIL
from quickstudy.learners.model.transducer import Transducer
from quickstudy.learners.model.versa import VERSA

__all__ = [
    "CNP",
    "DNC",
    "MANN",
    "NP",
    "SNAIL",
    "VERSA",
    "AttentiveNP",
    "AttributeSets",
    "CausalInContext",
    "GibbsClassifier",
    "HyperNetwork",
    "InContext",
    "MetaNet",
    "Plastic",
    "RecurrentLearner",
    "Simulated",
    "Transducer",
]
