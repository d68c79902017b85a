"""The inner loop as a learner, for a composition of one's own; named methods are compositions with a paper."""

from quickstudy.inner.loop import GradientLearner

__all__ = ["GradientLearner"]
