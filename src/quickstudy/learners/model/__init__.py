"""Model-based learners: the task is learned in activations (a memory, a hidden state, generated or fast weights)."""

from quickstudy.learners.model.attentive_np import AttentiveNP
from quickstudy.learners.model.cnp import CNP
from quickstudy.learners.model.dnc import DNC
from quickstudy.learners.model.in_context import CausalInContext, InContext
from quickstudy.learners.model.latent_np import NP
from quickstudy.learners.model.mann import MANN
from quickstudy.learners.model.recurrent import RecurrentLearner

__all__ = ["CNP", "DNC", "MANN", "NP", "AttentiveNP", "CausalInContext", "InContext", "RecurrentLearner"]
