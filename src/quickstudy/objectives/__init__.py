"""WHY: what learning well means. An objective is a function (learner, task, key) -> scalar loss of one task."""

from quickstudy.objectives.adversarial import AdversarialQuery
from quickstudy.objectives.all_pairs import all_pairs
from quickstudy.objectives.base import Wrapper, named
from quickstudy.objectives.elbo import elbo
from quickstudy.objectives.inner_steps import AnnealedSteps, DiscountedSteps, InnerSteps
from quickstudy.objectives.log_loss import LogLoss
from quickstudy.objectives.pac_bayes import PACBayes
from quickstudy.objectives.pretraining import pretraining
from quickstudy.objectives.query_loss import query_loss
from quickstudy.objectives.reward import Reward
from quickstudy.objectives.sequence import sequence
from quickstudy.objectives.worst_case import WorstCase

__all__ = [
    "AdversarialQuery",
    "AnnealedSteps",
    "DiscountedSteps",
    "InnerSteps",
    "LogLoss",
    "PACBayes",
    "Reward",
    "WorstCase",
    "Wrapper",
    "all_pairs",
    "elbo",
    "named",
    "pretraining",
    "query_loss",
    "sequence",
]
