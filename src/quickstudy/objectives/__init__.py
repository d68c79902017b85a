"""WHY: what learning well means. An objective is a function (learner, task, key) -> scalar loss of one task."""

from quickstudy.objectives.elbo import elbo
from quickstudy.objectives.pretraining import pretraining
from quickstudy.objectives.query_loss import query_loss
from quickstudy.objectives.sequence import sequence

__all__ = ["elbo", "pretraining", "query_loss", "sequence"]
