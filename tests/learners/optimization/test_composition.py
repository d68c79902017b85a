"""Named methods put parts of the inner loop together; which of them do more is written down here."""

from __future__ import annotations

from quickstudy import registry
from quickstudy.learners import GradientLearner

MORE = {
    # Two arms.
    "ADML": {"ends_where_it_starts", "finish", "predict", "start", "step"},
    # The net has outputs for the auxiliary losses beside those that predict.
    "AuxiliaryLosses": {"predict"},
    # Mixtures of several models, with learned noise that enters no inner step.
    "BMAML": {"learns_only_start", "predict"},
    "EnsembleMAML": {"learns_only_start", "predict"},
    # A belief about the start, for which the loss's gradient is needed.
    "PLATIPUS": {"learns_only_start", "predict", "start"},
    # Learned rules leave much to keep, whatever passes the gradient.
    "DatasetDistillation": {"every"},
    "L2O": {"every"},
    "LearnedAugmentation": {"every"},
    "MetaWeightNet": {"every"},
}
"""Methods of `GradientLearner` that a learner replaces, or a base of it."""


def test_named_methods_are_compositions() -> None:
    loop = {name for name in vars(GradientLearner) if not name.startswith("__")}
    found = {}
    for name, entry in registry.table("learner").items():
        if issubclass(entry.build, GradientLearner):
            between = entry.build.__mro__[: entry.build.__mro__.index(GradientLearner)]
            found[name] = {method for cls in between for method in vars(cls) if method in loop}
    assert len(found) > 15
    assert {name: methods for name, methods in found.items() if methods} == MORE
