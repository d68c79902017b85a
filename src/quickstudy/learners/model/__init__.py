"""Model-based learners: the task is learned in activations (a memory, a hidden state, generated or fast weights)."""

from quickstudy.learners.model.mann import MANN
from quickstudy.learners.model.recurrent import RecurrentLearner

__all__ = ["MANN", "RecurrentLearner"]
