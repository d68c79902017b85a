"""A whole meta-gradient as one compiled function: losses, inner loops and outer gradient, without autograd between.

The batched loss and its gradient are recorded once as a flat graph of tensor operations (`make_fx`: transforms, modules
and Python are gone), which TorchInductor compiles. Its results are kept in PyTorch's cache on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from quickstudy.core import Learner

Losses = Callable[[Learner, Any, Tensor], Tensor]
"""(learner, batched tasks, keys) -> (T,) losses."""
Compiled = tuple[Callable[..., Any], list[int]]


class CompiledGradient:
    """Losses of a batch of tasks and the gradient of their sum, compiled for each shape and setting that comes.

    Args:
        losses: what is recorded.
    """

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._made: dict[Any, Compiled] = {}

    def __call__(
        self, learner: Learner, tasks: Any, keys: Tensor, total: int = 1
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return (T,) losses, and each parameter that they depend on with the gradient of their sum / total.

        Raises:
            Exception: whatever recording or compiling could not do.
        """
        modules = list(learner.modules())
        # Names are for recording alone, and to collect them takes long.
        own: list[Tensor] = [*{id(t): t for m in modules for t in m._parameters.values() if t is not None}.values()]
        own += {id(t): t for m in modules for t in m._buffers.values() if t is not None}.values()
        leaves, spec = pytree.tree_flatten((tasks, keys))
        tensors = [*(tensor.detach() for tensor in own), *leaves]
        # All that the recorded operations depend on, besides the numbers in tensors.
        setting = (
            total,
            spec,
            tuple((t.shape, t.stride(), t.dtype, t.device) for t in tensors),
            tuple(tensor.requires_grad for tensor in own),
            _settings(modules),
        )
        if setting not in self._made:
            named = [*learner.named_parameters(), *learner.named_buffers()]
            self._made[setting] = self._make(learner, named, spec, tensors, total)
        function, taught = self._made[setting]
        with torch.no_grad():
            losses, *found = function(*tensors)
        return losses, list(zip((own[place] for place in taught), found, strict=True))

    def _make(
        self,
        learner: Learner,
        named: list[tuple[str, Tensor]],
        spec: pytree.TreeSpec,
        tensors: list[Tensor],
        total: int,
    ) -> Compiled:
        module, count = _Losses(learner, self._losses), len(named)
        taught: list[int] = []

        def whole(*flat: Tensor) -> tuple[Tensor, ...]:
            own = [
                value.detach().requires_grad_(old.requires_grad)
                for value, (_, old) in zip(flat[:count], named, strict=True)
            ]
            arguments = pytree.tree_unflatten(list(flat[count:]), spec)
            values = {f"learner.{name}": value for value, (name, _) in zip(own, named, strict=True)}
            losses = functional_call(module, values, arguments)
            asked = [place for place, value in enumerate(own) if value.requires_grad] if losses.requires_grad else []
            found = (
                torch.autograd.grad(losses.sum() / total, [own[i] for i in asked], allow_unused=True) if asked else ()
            )
            taught[:] = [place for place, gradient in zip(asked, found, strict=True) if gradient is not None]
            return losses.detach(), *(gradient for gradient in found if gradient is not None)

        with torch.enable_grad():
            graph = make_fx(whole, tracing_mode="fake")(*tensors)
        graph.graph.eliminate_dead_code()
        graph.recompile()
        with torch.no_grad():
            return torch._inductor.compile(graph, [*tensors]), list(taught)


class _Losses(nn.Module):
    """Makes a learner's parameters those of a module that can be called with others in their place."""

    def __init__(self, learner: Learner, losses: Losses) -> None:
        super().__init__()
        self.learner, self.losses = learner, losses

    def forward(self, tasks: Any, keys: Tensor) -> Tensor:
        return self.losses(self.learner, tasks, keys)


def _settings(modules: list[nn.Module]) -> tuple[Any, ...]:
    """Return what else decides what modules do: their numbers and words, the identity of other things."""
    return tuple(
        value if isinstance(value, (bool, int, float, str)) else id(value)
        for module in modules
        for value in vars(module).values()
    )
