"""WHAT an inner loop adapts, and where it starts."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.classes import class_means
from quickstudy.operators.answers import answer
from quickstudy.operators.calls import Given, Statistics, call, uses_batch_statistics
from quickstudy.operators.layer_errors import check_net
from quickstudy.problem import Optimizee, Problem, budget

Theta = dict[str, Tensor]
"""Adapted tensors by name."""


class Adapted(nn.Module):
    """The part of a net that an inner loop changes: `initial` says where it starts, `run` runs the net with it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        check_net(net)
        self.net = net

    own: ClassVar[bool] = False
    """Whether theta is made of the net's own parameters and of nothing else."""
    drawn: bool = False
    """Whether `initial` or `steps` draws with the task's key."""

    def names(self) -> list[str]:
        """Return names of the net's parameters that are adapted, from their learned values; none unless it says so."""
        return []

    def learned_now(self) -> None:
        """Take note of what is learned now, for when candidates' tensors, which do not tell, take its place."""

    def start_names(self) -> set[str]:
        """Return names of own parameters that say where the inner loop starts and nothing else."""
        return {f"net.{name}" for name in self.names()}

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return theta_0 for a task.

        Args:
            support: the task's rows.
            given: batch statistics for the net (see `operators.calls.call`).
            key: () of the task, for a start that is drawn; None for key 0.
        """
        raise NotImplementedError

    def steps(self, support: Examples, steps: Tensor, key: Tensor | None = None) -> Tensor:
        """Return how many steps () the rule is told of where the learner takes so many; 0 tells it nothing."""
        return steps

    def budget(self, support: Examples) -> Tensor | None:
        """Return the number of steps () after which theta stays as it is, or None."""
        return None

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Return outputs of the net with theta, and the batch statistics used (see `operators.calls.call`)."""
        if isinstance(inputs, Optimizee):
            raise InputError("the task is a problem that brings its own net; use learners.L2O, which trains that one")
        return answer(self.net, inputs, theta, given, mask)


class AllParameters(Adapted):
    """All parameters that require a gradient, from their learned values. Frozen ones stay shared and unbatched."""

    own: ClassVar[bool] = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self._noted = tuple(name for name, value in net.named_parameters() if value.requires_grad)

    def names(self) -> list[str]:
        """Names of the adapted parameters."""
        named = dict(self.net.named_parameters())
        names = [name for name, value in named.items() if value.requires_grad]
        exchanged = {name for name, value in named.items() if not isinstance(value, nn.Parameter)}
        if not names and exchanged:
            # A candidate's tensors in the place of parameters, which inside vmap all deny that they are learned.
            names = [name for name in self._noted if name in exchanged]
        if not names:
            raise InputError("no parameter of the net requires a gradient, so there is nothing to adapt; unfreeze some")
        return names

    def learned_now(self) -> None:
        """Take note of which parameters require a gradient.

        Raises:
            InputError: none does.
        """
        self._noted = tuple(AllParameters.names(self))

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return the learned initialisation."""
        named = dict(self.net.named_parameters())
        return {name: named[name] for name in self.names()}


def last_layer(net: nn.Module) -> str:
    """Return the name of the last module that holds parameters itself: the head, by convention."""
    names: list[str] = [
        name for name, module in net.named_modules() if any(True for _ in module.parameters(recurse=False))
    ]
    if not names:
        raise InputError("the net has no parameters, so it has no head to adapt")
    return names[-1]


class HeadParameters(AllParameters):
    """Only the head's parameters, those whose names begin with `head`; the last layer where None."""

    def __init__(self, net: nn.Module, head: str | None = None) -> None:
        super().__init__(net)
        self.head = last_layer(net) if head is None else head

    def names(self) -> list[str]:
        """Names of the adapted parameters."""
        prefix = f"{self.head}." if self.head else ""
        every = list(self.net.named_parameters(remove_duplicate=False))
        # A parameter that also stands elsewhere is known by its first name.
        own = {id(value) for name, value in every if name.startswith(prefix)}
        named = dict(every)
        names = [name for name in super().names() if id(named[name]) in own]
        if not names:
            layers = sorted({name.rpartition(".")[0] for name, _ in self.net.named_parameters()})
            raise InputError(f"no trainable parameter under head='{self.head}'; layers with parameters: {layers}")
        return names


class ContextVector(Adapted):
    """A context vector that starts at zero and is an extra input of a net `net(inputs, context)`."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        size = getattr(net, "context", 0)
        if not isinstance(size, int) or size < 1:
            raise InputError(
                "the net takes no context: build it with context=..., such as nets.mlp(1, outputs=1, context=5), or "
                "give your module an integer attribute `context` and a forward(inputs, context)"
            )
        self.size = size

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return zeros (C,)."""
        like = next(self.net.parameters())
        return {"context": torch.zeros(self.size, dtype=like.dtype, device=like.device)}

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Run the net with the context."""
        return answer(self.net, inputs, None, given, mask, extra=(theta["context"],))


class PrototypeHead(AllParameters):
    """All parameters of an embedding net, and a linear head that starts as the prototypical classifier.

    w_k = 2 c_k, b_k = -|c_k|^2 (Snell et al. 2017, equation 8), with prototypes c_k of the support: so the head fits
    any number of ways, and the outer gradient flows through the prototypes.
    """

    own: ClassVar[bool] = False

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return the net's parameters and the head's."""
        theta = super().initial(support, given)
        features, _ = answer(self.net, support.inputs, theta, given, support.mask, flat=True)
        means = class_means(features, support)
        return {**theta, ".weight": 2 * means, ".bias": -means.square().sum(-1)}

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Return logits of the linear head."""
        body = {name: value for name, value in theta.items() if not name.startswith(".")}
        features, used = answer(self.net, inputs, body, given, mask, flat=True)
        return F.linear(features, theta[".weight"], theta[".bias"]), used


class Optimizees(Adapted):
    """All parameters of the net that a problem brings, from where the problem starts, in the steps that it gives.

    Args:
        told: share of problems whose number of steps the rule is told, drawn with the task's key.

    Raises:
        InputError: the share is not one.
    """

    def __init__(self, told: float = 1.0) -> None:
        super().__init__(nn.Identity())
        if not 0 <= told <= 1:
            raise InputError(f"told must be a share of problems, 0 to 1, not {told}")
        self.told, self.drawn = told, 0 < told < 1

    def budget(self, support: Examples) -> Tensor | None:
        """Return the number of steps () that the problem gives, or None."""
        return budget(support)

    def steps(self, support: Examples, steps: Tensor, key: Tensor | None = None) -> Tensor:
        """Return the problem's number of steps, or else the learner's, for those problems whose rule is told."""
        known = budget(support)
        steps = steps if known is None else known
        if self.told < 1:
            key = random.key(0, steps.device) if key is None else key
            steps = torch.where(random.uniform(random.fold_in(key, 7)) < self.told, steps, 0)
        return steps

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return the problem's theta_0."""
        if not isinstance(support, Problem) or not isinstance(support.inputs, Optimizee):
            raise InputError(
                "the task is no optimisation problem (quickstudy.problem.Problem), so it brings no net to train; use a "
                "task distribution of problems, or, for a learned update rule from a learned initialisation (Ravi & "
                "Larochelle 2017), GradientLearner(AllParameters(net), rule, Unrolled(), steps)"
            )
        net = support.inputs.net
        wanted = {name: tuple(value.shape) for name, value in net.named_parameters()}
        found = {name: tuple(value.shape) for name, value in support.start.items()}
        if wanted != found:
            wrong = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))[0]
            raise InputError(
                f"the problem's start does not fit its net: '{wrong}' has shape {found.get(wrong, 'none')}, and "
                f"{wanted.get(wrong, 'none')} in the net; give all of net.named_parameters()"
            )
        if uses_batch_statistics(net):
            raise InputError(
                "the problem's net has batch norm, whose statistics differ between the rows of a step and a query; use "
                "group or layer norm"
            )
        return dict(support.start)

    def run(
        self, theta: Theta, inputs: Any, given: Given = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Statistics]:
        """Run the problem's net with theta."""
        if not isinstance(inputs, Optimizee):
            raise InputError("inputs of a problem name the net that they are for: wrap them as Optimizee(inputs, net)")
        return call(inputs.net, inputs.inputs, theta, given, mask)


def slice_ways(outputs: Tensor, ways: int) -> Tensor:
    """Return the outputs of a task's classes, or raise InputError if the net has fewer outputs than ways."""
    if outputs.ndim < 2 or outputs.shape[1] < ways:
        raise InputError(
            f"the net has outputs of shape {tuple(outputs.shape)} but the task has {ways} ways; build it with "
            f"outputs={ways} and meta-train it (quickstudy train: --ways {ways}), or use ProtoMAML or a metric "
            "learner, which fit any number of ways"
        )
    return outputs[:, :ways]
