"""MMAML: MAML whose start is modulated by what kind of task it is.

Vuorio et al. 2019, "Multimodal Model-Agnostic Meta-Learning via Task-Aware Modulation", algorithm 1:

    v = h(support),  tau = g(v)                                (encode the task, generate its modulation)
    theta' = theta - lr grad_theta L(f_{theta, tau})           (inner: tau stays as it is)
    theta, h, g <- ... - beta grad sum_i L_i(f_{theta'_i, tau_i})

Learned across tasks: theta, the encoder h and the generator g. One start cannot be near to families of tasks that are
unlike each other; the modulation first chooses a family. Departures: h is a mean over rows of a perceptron, where the
paper's is a recurrent net over rows, so that their order does not matter; all hidden layers are modulated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional.classes import label_features
from quickstudy.inner.adapted import AllParameters, Theta
from quickstudy.inner.differentiation import Unrolled
from quickstudy.inner.loop import GradientLearner
from quickstudy.learners.bases.neural_process import masked_row_mean, perceptron
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import BatchNormPolicy, Given, Statistics
from quickstudy.registry import register
from quickstudy.rules import Rule

TAU = "context"
"""Name of the modulation in theta; no parameter of a net has it, for nets have an integer of that name."""


class TaskEncoder(nn.Module):
    """Reads a support into a vector, whatever the order and number of its rows.

    Args:
        embedding: module that embeds inputs; None reads them flattened.
        features: numbers of an embedded row.
        outputs: most ways of a task, or targets a row has.
        width: of the hidden layers.
        size: of the vector.
    """

    def __init__(self, embedding: nn.Module | None, features: int, outputs: int, width: int, size: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.embedding = nn.Flatten() if embedding is None else embedding
        self.reader = perceptron(features + outputs, width, width, width)
        self.writer = perceptron(width, width, width, size)

    def forward(self, support: Examples, given: Given = None) -> Tensor:
        """Return the vector (size,)."""
        rows, _ = answer(self.embedding, support.inputs, given=given, mask=support.mask, flat=True)
        read = self.reader(torch.cat([rows, label_features(support, self.outputs, rows.dtype)], 1))
        vector: Tensor = self.writer(masked_row_mean(read, support.mask))
        return vector


class Modulated(AllParameters):
    """All parameters, and beside them the modulation that an encoder gives."""

    own = False

    def __init__(self, net: nn.Module, encoder: TaskEncoder) -> None:
        super().__init__(net)
        self.encoder = encoder

    def start_names(self) -> set[str]:
        """Return the names of the net's parameters, and of the encoder's: they do not say where the loop ends."""
        return super().start_names() | {f"encoder.{name}" for name, _ in self.encoder.named_parameters()}

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return the learned initialisation and the support's modulation."""
        return {**super().initial(support, given), TAU: self.encoder(support, given)}

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Run the net, modulated."""
        own = {name: value for name, value in theta.items() if name != TAU}
        return answer(self.net, inputs, own, given, mask, extra=(theta[TAU],))


class AllButModulation(Rule):
    """Gradient descent that leaves the modulation as it is, theta <- theta - lr g.

    Args:
        lr: learning rate.
        clip: largest absolute value of each number of g; None for none.
    """

    def __init__(self, lr: float, clip: float | None) -> None:
        super().__init__()
        if not lr > 0 or (clip is not None and not clip > 0):
            raise InputError(f"{lr=} and {clip=} must be positive")
        self.lr, self.clip = float(lr), clip

    def update(self, grads: Theta, state: Any, theta: Theta, loss: Tensor | None = None) -> tuple[Theta, Any]:
        """Return the moved theta."""
        moved = {TAU: theta[TAU]}
        for name in theta.keys() - moved.keys():
            g = grads[name] if self.clip is None else grads[name].clamp(-self.clip, self.clip)
            moved[name] = theta[name] - self.lr * g
        return {name: moved[name] for name in theta}, state


@register(
    "learner",
    family="optimisation",
    learns="initialisation and its modulation",
    paper="Vuorio et al. 2019",
    tasks="both",
)
class MMAML(GradientLearner):
    """MAML for several unlike families of tasks: an encoder of the support modulates the net before gradient steps.

    Args:
        net: a module with `forward(inputs, context)` and an integer `context`, the modulation's size, such as
            `nets.modulated_mlp(1, (100, 100, 100), outputs=1)` or `nets.conv4(outputs=5, context=100)`.
        outputs: most ways of a task, or targets a row has.
        features: numbers of a row that the encoder reads; None takes the embedding's `features`.
        embedding: module whose features of the inputs the encoder reads; None reads them flattened.
        width: of the encoder's hidden layers.
        lr: inner learning rate.
        steps: inner steps in meta-training.
        test_steps: inner steps in evaluation mode; None for the same.
        clip: largest absolute value of each number of an inner gradient (10 in the authors' code); None for none.
        batch_norm: 'support' or 'transductive'.

    Raises:
        InputError: the net takes no context, or the size of what the encoder reads is not known.
    """

    def __init__(
        self,
        net: nn.Module,
        outputs: int = 1,
        features: int | None = None,
        embedding: nn.Module | None = None,
        width: int = 64,
        lr: float = 1e-3,
        steps: int = 5,
        test_steps: int | None = None,
        clip: float | None = None,
        batch_norm: BatchNormPolicy = "support",
    ) -> None:
        size, read = getattr(net, "context", 0), getattr(embedding, "features", None) if features is None else features
        if not isinstance(size, int) or size < 1:
            raise InputError(
                "the net takes no context to be modulated by: build it as nets.modulated_mlp(...) or with context=..."
            )
        if not isinstance(read, int):
            raise InputError("the encoder needs the size of what it reads: pass features=..., numbers of a row")
        adapted = Modulated(net, TaskEncoder(embedding, read, outputs, width, size))
        super().__init__(adapted, AllButModulation(lr, clip), Unrolled(), steps, test_steps, batch_norm)
