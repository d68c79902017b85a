"""HOW the outer gradient passes through an inner loop, to whatever of it is learned: its start, rates, loss, ...

`gradient` computes the inner gradient; `finish` may attach an outer gradient to the inner loop's result. The latter
takes the result theta* for a fixed point of the inner step, theta* = Phi(theta*, omega), where the implicit function
theorem gives d theta* / d omega = (I - dPhi/dtheta)^-1 dPhi/domega without the steps that led there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vjp

from quickstudy.errors import InputError, unknown_name
from quickstudy.operators.fixed_points import attach, conjugate_gradient, depends, mixed, neumann_series
from quickstudy.registry import register

Theta = dict[str, Tensor]
Solver = Literal["cg", "neumann"]


@dataclass(frozen=True)
class InnerStep:
    """One inner step Phi, pure functions of theta, of tensors that it is given, and of the module's parameters."""

    loss: Callable[..., Tensor]
    """(theta, *given) -> inner loss."""
    update: Callable[..., Theta]
    """(gradient, theta, loss, *given) -> theta after the step."""
    module: nn.Module
    """Module whose parameters are learned."""
    symmetric: bool
    """Whether dPhi/dtheta is symmetric: that of theta - lr dL/dtheta is, for a number lr."""

    def __call__(self, theta: Theta, *given: Any) -> Theta:
        """Return Phi(theta)."""
        grads, loss = grad_and_value(self.loss)(theta, *given)
        return self.update(grads, theta, loss, *given)


class Differentiation:
    """Base: inner gradients are constants to the outer one."""

    exact: ClassVar[bool] = False
    """Whether the outer gradient is the true derivative."""
    recorded: ClassVar[bool] = True
    """Whether the outer gradient goes through the inner steps."""
    checkpoint: int | None = 0
    """Choice of the inner states to keep (see `Unrolled`)."""

    def gradient(self, loss: Callable[..., Tensor], theta: Theta, *given: Any) -> tuple[Theta, Tensor]:
        """Return dL/dtheta and L."""
        # `grad` turns recording on for itself only.
        with torch.no_grad():
            return grad_and_value(loss)(theta, *given)

    def finish(self, inner: InnerStep, theta: Theta, *given: Any) -> Theta:
        """Return the inner loop's end theta, with an outer gradient attached."""
        return theta


@register("differentiation")
@dataclass(frozen=True)
class Unrolled(Differentiation):
    """Through every inner step, second order.

    Args:
        checkpoint: keep every so many-th inner state for the outer gradient and compute what lies between again, for
            the same gradient in less memory and more time; 0 keeps everything. None chooses: large unrolls keep every
            sqrt(steps)-th (see `operators.checkpointing.unroll`).
    """

    exact: ClassVar[bool] = True
    checkpoint: int | None = None

    def __post_init__(self) -> None:
        """Check the argument."""
        if self.checkpoint is not None and self.checkpoint < 0:
            raise InputError(f"checkpoint must be 0 (keep everything) or more, not {self.checkpoint}")

    def gradient(self, loss: Callable[..., Tensor], theta: Theta, *given: Any) -> tuple[Theta, Tensor]:
        """Return dL/dtheta and L, themselves differentiable."""
        return grad_and_value(loss)(theta, *given)


@register("differentiation")
@dataclass(frozen=True)
class FirstOrder(Differentiation):
    """Through every inner step, with inner gradients as constants: d theta' / d theta_0 = I for gradient descent."""


@register("differentiation")
@dataclass(frozen=True)
class Implicit(Differentiation):
    """At the fixed point of the inner step, whatever in it is learned; no inner step is stored.

    Backward solves (I - dPhi/dtheta)^T x = outer gradient, by products with a vector alone:

    - 'cg': conjugate gradient (Rajeswaran et al. 2019, "Meta-Learning with Implicit Gradients", algorithm 2), for
      steps with a symmetric derivative, such as plain gradient descent's.
    - 'neumann': sum_{k=0..steps} (dPhi/dtheta^T)^k (Lorraine, Vicol & Duvenaud 2020, "Optimizing Millions of
      Hyperparameters by Implicit Differentiation", algorithm 3), for any step that contracts; it leaves out
      (dPhi/dtheta^T)^(steps + 1) of the solution. 0 steps put the identity in place of the inverse.

    Biased unless the inner loop has converged and the solve is exact. Of its start, gradient descent's fixed point
    knows nothing: that is learned through a term that pulls to it, as in `rules.ProximalSGD`. A rule's state, such as
    Adam's moments, counts as constant.

    Args:
        solver: 'cg' or 'neumann'.
        steps: products with dPhi/dtheta^T; each costs about two inner gradients.
        damping: of 'cg', which then solves (I - dPhi/dtheta + damping I)^T x = outer gradient: a bias towards the
            identity, for losses that curve downwards somewhere, where conjugate gradient goes no further.

    Raises:
        InputError: an argument is out of range; in an inner loop, 'cg' for a rule that does not say `symmetric = True`,
            or a fixed point that nothing learned reaches.
    """

    recorded: ClassVar[bool] = False
    solver: Solver = "cg"
    steps: int = 5
    damping: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.damping >= 0 or (self.damping and self.solver != "cg"):
            raise InputError(f"damping must be 0 or more, and 0 for a solver other than 'cg', not {self.damping}")
        if self.solver not in ("cg", "neumann"):
            raise unknown_name("solver", self.solver, ("cg", "neumann"))
        least = 1 if self.solver == "cg" else 0
        if self.steps < least:
            raise InputError(f"steps must be {least} or more, not {self.steps}")

    def finish(self, inner: InnerStep, theta: Theta, *given: Any) -> Theta:
        """Return the end with the implicit gradient."""
        if not torch.is_grad_enabled():
            return theta
        if self.solver == "cg" and not inner.symmetric:
            raise InputError(
                "conjugate gradient needs an update whose derivative is symmetric, as plain gradient descent's is; for "
                "other rules use Implicit('neumann'), or set `symmetric = True` on your rule if its is"
            )
        fixed = {name: value.detach() for name, value in theta.items()}

        def solve(vector: Theta, theta: Theta, *given: Any) -> Theta:
            pull = vjp(lambda theta: inner(theta, *given), theta)[1]
            if self.solver == "neumann":
                return neumann_series(lambda v: pull(v)[0], vector, self.steps)

            def matvec(v: Theta) -> Theta:
                pulled = pull(v)[0]
                return {name: (1 + self.damping) * v[name] - pulled[name] for name in v}

            return conjugate_gradient(matvec, vector, self.steps)

        return attach(fixed, _reached(inner(fixed, *given), inner), solve, *given)


@register("differentiation")
@dataclass(frozen=True)
class SAMA(Differentiation):
    """At the fixed point of the inner step with the identity in place of the inverse, by first derivatives alone.

    Choe et al. 2023, "Making Scalable Meta Learning Practical", section 3: with v = (dPhi/dg)^T outer gradient, g the
    inner gradient and dPhi/dg the derivative of the optimiser's step (for Adam, of the whole adaptive step),

        d outer / d omega = (dL/domega(theta* + eps v) - dL/domega(theta* - eps v)) / (2 eps),  eps = alpha / |v|

    for all that the inner loss L depends on. What the step itself depends on (rates, strengths, a start that pulls) has
    its derivative by autograd. Three gradients of first order, no inner step stored; what it leaves out, `Implicit`
    solves for. Departures: dPhi/dg is autograd's, so any rule has one; it is that of one more step from where the
    loop has ended, with Adam's correction of the moments' bias; the same eps for all tensors of a task. With gradient
    descent v includes the inner rate, which the authors' code leaves to the outer rate.

    Args:
        alpha: length of the step eps v; 0.01 as in DARTS (Liu et al. 2019). The authors' scripts take 0.3 and 1 for
            language models.

    Raises:
        InputError: alpha is not positive; in an inner loop, a fixed point that nothing learned reaches.
    """

    recorded: ClassVar[bool] = False
    alpha: float = 0.01

    def __post_init__(self) -> None:
        """Check the argument."""
        if not self.alpha > 0:
            raise InputError(f"alpha must be positive, not {self.alpha}")

    def finish(self, inner: InnerStep, theta: Theta, *given: Any) -> Theta:
        """Return the end with the approximate gradient."""
        if not torch.is_grad_enabled():
            return theta
        fixed = {name: value.detach() for name, value in theta.items()}
        grads, _ = self.gradient(inner.loss, fixed, *given)
        loss = inner.loss(fixed, *given)
        # A loss that nothing learned enters, such as a plain net's, has no mixed derivative.
        if depends(loss):
            grads = mixed(grads, inner.loss, fixed, *given, module=inner.module, alpha=self.alpha)
        moved = inner.update(grads, fixed, loss.detach(), *given)
        return attach(fixed, _reached(moved, inner), lambda vector, theta: vector)


def _reached(moved: Theta, inner: InnerStep) -> Theta:
    """Return what a step led to, if anything that is learned reaches it."""
    learned = any(parameter.requires_grad for parameter in inner.module.parameters())
    if learned and not any(depends(value) for value in moved.values()):
        raise InputError(
            "nothing that is learned reaches the fixed point of the inner loop: gradient descent forgets its start. "
            "Use rules.ProximalSGD, which is pulled to it (as in IMAML), or Unrolled() or FirstOrder()"
        )
    return moved
