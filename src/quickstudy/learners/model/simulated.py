"""Learning in a simulator that is itself learned, so that what is learned there holds in the real world.

Environment learning as a bilevel problem; sim-to-real by fitting the simulator, as in Chebotar et al. 2019, "Closing
the Sim-to-Real Loop: Adapting Simulation Randomization with Real World Experience", section III. With a simulator
s_omega and a learner A,

    w(omega)  = A({(x_i, s_omega(x_i)) : x_i in the support})      (inner: trained in the simulator alone)
    omega*    = argmin sum_(x, y) real  L(f_w(omega)(x), y)         (outer: judged by the real world, on the query)

Learned across tasks: omega, the simulator's parameters, and the meta-trained parameters of the inner learner. Measured
labels of the support are ignored. Departures: omega is one simulator, not a distribution of them; any learner is
trained, not only a policy.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from quickstudy.core import Examples, Learner, Output, State
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import FirstOrder
from quickstudy.learners.bases.around import AroundLearner
from quickstudy.registry import register


@register("learner", family="model", learns="simulator", paper="Chebotar et al. 2019", tasks="regression")
class Simulated(AroundLearner):
    """Trains a learner on a simulator's answers to the support's inputs, and predicts what is real by it.

    Args:
        simulator: a module, inputs (S, ...) -> targets (S, ...); its parameters are meta-learned.
        learner: what is trained in the simulator; a regression learner.
        features: a net whose outputs the learner sees in place of the inputs; None for the inputs themselves.

    Raises:
        InputError: the learner takes its inner gradients for constants; in `adapt`, the task is not one of regression,
            or the simulator's targets do not fit it.
    """

    def __init__(self, simulator: nn.Module, learner: Learner, features: nn.Module | None = None) -> None:
        super().__init__()
        if isinstance(getattr(learner, "differentiation", None), FirstOrder):
            raise InputError(
                f"{type(learner).__name__} takes inner gradients for constants, and the simulator is in them alone, so "
                "that it would learn nothing; use an exact one, such as MAML"
            )
        self.simulator, self.learner, self.features = simulator, learner, features

    def adapt(self, support: Examples, key: Tensor | None = None) -> State:
        """Train in the simulator."""
        if support.ways is not None:
            raise InputError("Simulated is for regression: the support needs floating targets, not labels")
        targets = self.simulator(support.inputs)
        if targets.shape != support.labels.shape:
            raise InputError(
                f"the simulator answers {tuple(targets.shape)} where the task has targets {tuple(support.labels.shape)}"
            )
        rows = Examples(self._seen(support.inputs), targets, support.mask, check=False)
        return self.learner.learn(rows, key)

    def predict(self, state: State, inputs: Any) -> Output:
        """Return the learner's (Q, ...) predictions."""
        return self.learner.predict(state, self._seen(inputs))

    def _seen(self, inputs: Any) -> Any:
        return inputs if self.features is None else self.features(inputs)
