"""VERSA: an amortised posterior over the head.

Gordon et al. 2019, "Meta-Learning Probabilistic Inference for Prediction", equations 4-6:

    q(w_n | support) = N(mu, diag(s^2)),  (mu, s) = psi(mean of the features f(x) of class n)
    p(y | x) = 1/L sum_l softmax(w_l f(x)),   w_l ~ q

Learned across tasks: f, psi and, for regression, the noise. Meta-trained for the likelihood of the query alone. For
regression psi reads the mean over rows of a perceptron of (f(x), y), and the prediction is in closed form:

    p(y | x) = N(mu f(x), sum_d s_d^2 f_d(x)^2 + noise^2)

`f` here has one more feature, which is 1: the bias. Where a class has few rows, q is wide and answers are careful. An
addition: with `context` psi reads the other classes too. In the paper w_n depends on class n alone, so that nothing can
depend on how far classes are apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.predictive import Gaussian
from quickstudy.learners.bases.head_belief import HeadBeliefLearner, drawn
from quickstudy.learners.bases.neural_process import masked_row_mean, perceptron
from quickstudy.operators.calls import BatchNormPolicy, Statistics
from quickstudy.registry import register


class HeadBelief(NamedTuple):
    """The state of one task."""

    mean: Tensor
    """(outputs, D + 1) means of the head's weights."""
    std: Tensor
    """(outputs, D + 1) standard deviations of the head's weights."""
    draws: Tensor | tuple[()]
    """(L, D + 1, outputs) draws of the head; empty for regression."""
    present: Tensor
    """(N,) classes that have a support row."""
    statistics: Statistics


@register("learner", family="model", learns="an amortised posterior", paper="Gordon et al. 2019", tasks="both")
class VERSA(HeadBeliefLearner):
    """Infers a distribution of the head from the support in one pass.

    Args:
        net: embedding module; None reads flattened inputs.
        outputs: most ways of a task, or targets a row has.
        features: size of the embedding; None reads it from `net.features`.
        width: of the inference net psi.
        samples: draws L of the head that a classification averages over.
        noise: standard deviation of targets to begin with, learned; classification does not use it.
        batch_norm: 'support' or 'transductive'.
        context: whether psi reads, besides a class, the mean of all classes of the task.

    Raises:
        InputError: a number that is not positive, or the size of the embedding is not known.
    """

    def __init__(
        self,
        net: nn.Module | None,
        outputs: int,
        features: int | None = None,
        width: int = 64,
        samples: int = 16,
        noise: float = 0.5,
        batch_norm: BatchNormPolicy = "support",
        context: bool = False,
    ) -> None:
        super().__init__(net, outputs, features, samples, noise, batch_norm)
        if width <= 0:
            raise InputError(f"{width=} must be positive")
        self.context, head = context, self.size + 1
        self.of_class = perceptron((1 + context) * self.size, width, width, 2 * head)
        self.reader = perceptron(self.size + outputs, width, width)
        self.of_support = perceptron(width, width, 2 * head * outputs)

    def adapt(self, support: Examples, key: Tensor | None = None) -> HeadBelief:
        """Infer the head's distribution; draw from it for classification."""
        rows = self.read(support)
        if support.ways is None:
            read = masked_row_mean(self.reader(torch.cat([rows.features, rows.labels], 1)), rows.real)
            inferred = self.of_support(read).reshape(self.outputs, -1)
        else:
            count = rows.labels.sum(0)
            means = rows.labels.mT @ rows.features / count.clamp_min(1).unsqueeze(1)
            if self.context:
                means = torch.cat([means, masked_row_mean(means, count > 0).expand_as(means)], 1)
            inferred = self.of_class(means)
        mean, log_std = inferred.chunk(2, -1)
        # Begins narrow, and no deviation explodes early in training.
        std = torch.exp(3 * torch.tanh(log_std / 3) - 1)
        draws: Tensor | tuple[()] = ()
        if support.ways is not None:
            noise = random.normal(drawn(key), self.samples, *mean.shape, dtype=mean.dtype)
            draws = (mean + std * noise).mT
        return HeadBelief(mean, std, draws, rows.present, rows.statistics)

    def marginal(self, state: HeadBelief, features: Tensor) -> Gaussian:
        """Return the mean over all heads in closed form."""
        variance = features.square() @ state.std.square().mT + (2 * self.log_noise).exp()
        return Gaussian(features @ state.mean.mT, variance.sqrt())
