"""A learner around another one, whose promises are those of the learner inside."""

from __future__ import annotations

from quickstudy.core import Learner


class AroundLearner(Learner):
    """Base of learners that change what another learner is given. A subclass sets `learner`."""

    learner: Learner

    @property
    def stochastic(self) -> bool:
        """Whether the learner inside takes a key."""
        return self.learner.stochastic

    @property
    def permutation_invariant(self) -> bool:
        """Whether the order of support rows does not matter to the learner inside."""
        return self.learner.permutation_invariant

    @property
    def independent_queries(self) -> bool:
        """Whether the learner inside predicts each row by itself."""
        return self.learner.independent_queries

    @property
    def exact_meta_gradient(self) -> bool:
        """Whether the meta-gradient of the learner inside is exact."""
        return self.learner.exact_meta_gradient

    @property
    def batch_norm(self) -> str:
        """Batch normalisation policy of the learner inside."""
        return self.learner.batch_norm
