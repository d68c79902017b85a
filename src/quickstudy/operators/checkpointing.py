"""Long unrolls in little memory: keep some states of a loop, and compute the others again when backward needs them.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 4: keep every sqrt(n)-th state of n steps.
Memory then grows with sqrt(n), for the time of one more forward pass.

`torch.utils.checkpoint` works through hooks on saved tensors, which `torch.func` refuses. Here computing again is the
backward pass of an autograd function, which `vmap` maps over tasks like any other.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vjp
from torch.utils.checkpoint import get_device_states, set_device_states

from quickstudy.operators import trees
from quickstudy.operators.substitution import carried, with_parameters

LONG = 10
"""Number of steps from which unrolls are checkpointed unasked; shorter ones have little to save."""
LARGE = 2**22
"""Numbers in states and constants, summed over the steps, from which unrolls are checkpointed unasked.

An inner step of Conv4 keeps some tens of times as many."""


def unroll(
    step: Callable[..., Any], state: Any, *constants: Any, steps: int, module: nn.Module, every: int | None = None
) -> Any:
    """Return the state after so many steps. Values and derivatives are the same whatever `every` is.

    Args:
        step: `(state, *constants) -> state`, a pure function of its arguments, which are pytrees of tensors, and of
            `module`'s parameters. Draws from torch's own generators are repeated exactly.
        state: state before the first step.
        constants: further arguments, the same for every step.
        steps: number of steps.
        module: module whose parameters `step` may read.
        every: keep each state whose number is a multiple of this, and compute those between again in backward; 0 keeps
            everything. None chooses by the number of steps and the size of the state.
    """

    def take(count: int, state: Any, *constants: Any) -> Any:
        for _ in range(count):
            state = step(state, *constants)
        return state

    every = interval(steps, state, *constants) if every is None else every
    # Where nothing is recorded there is nothing to keep, and a compiler sees through plain steps only.
    if not every or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return take(steps, state, *constants)
    for start in range(0, steps, every):
        state = checkpoint(take, min(every, steps - start), state, *constants, module=module)
    return state


def interval(steps: int, *kept: Any) -> int:
    """Return the default of `every` for an unroll: sqrt(steps) if the unroll is large, else 0."""
    numbers = {id(leaf): leaf.numel() for leaf in trees.leaves(kept) if isinstance(leaf, Tensor)}
    return math.isqrt(steps) if steps >= LONG and steps * sum(numbers.values()) >= LARGE else 0


def checkpoint(function: Callable[..., Any], *args: Any, module: nn.Module) -> Any:
    """Return function(*args), keeping only the arguments for backward, which calls the function again.

    Args:
        function: pure function of its arguments, which are pytrees of tensors, and of `module`'s parameters.
        args: arguments of the function.
        module: module whose parameters the function may read.
    """
    call = Call(function, module)
    tensors = call.flatten(args)
    outputs = _Checkpoint.apply(call, _Generators(tensors), *tensors)  # type: ignore[no-untyped-call]
    return call.unflatten(outputs, tensors)


class Call:
    """One call as a function of tensors. It holds none of them: autograd does, while they are needed."""

    def __init__(self, function: Callable[..., Any], module: nn.Module) -> None:
        self.module = module
        # What is exchanged around the call is so around it when it is made again; parameters given to it come first.
        self.made = carried(lambda named, args: with_parameters(module, named, function, *args))

    def flatten(self, args: Any) -> list[Tensor]:
        """Return the tensors that the call depends on."""
        # A custom function passes gradients to its arguments alone, so parameters are arguments. Frozen ones need none.
        named = {name: value for name, value in self.module.named_parameters() if value.requires_grad}
        leaves, self.spec = trees.flatten((args, named))
        self.others = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        return [leaves[i] for i in self.places]

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors of the result, but for those that are among the arguments: these need no detour."""
        leaves = list(self.others)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, named = trees.unflatten(leaves, self.spec)
        found, self.after = trees.flatten(self.made(named, args))
        given = {id(tensor): i for i, tensor in enumerate(tensors)}
        self.sources = [given.get(id(leaf)) for leaf in found]
        return tuple(leaf for leaf, source in zip(found, self.sources, strict=True) if source is None)

    def unflatten(self, outputs: Sequence[Tensor], tensors: Sequence[Tensor]) -> Any:
        """Return the result."""
        rest = iter(outputs)
        leaves = [next(rest) if source is None else tensors[source] for source in self.sources]
        return trees.unflatten(leaves, self.after)


class _Generators:
    """The states of torch's generators, to draw the same numbers again."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.here = torch.get_rng_state()
        self.devices, self.there = get_device_states(*tensors)

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Repeat the draws made then, and leave the generators as they were before."""
        with torch.random.fork_rng(self.devices):
            torch.set_rng_state(self.here)
            set_device_states(self.devices, self.there)
            yield


class _Checkpoint(torch.autograd.Function):
    """The call; backward makes it again and goes back through it."""

    @staticmethod
    def forward(call: Callable[..., tuple[Tensor, ...]], generators: _Generators, *tensors: Tensor) -> Any:
        return call(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.call, ctx.generators = inputs[:2]
        ctx.save_for_backward(*inputs[2:])
        ctx.mark_non_differentiable(*(tensor for tensor in output if not tensor.is_floating_point()))

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Any, generators: _Generators, *tensors: Tensor) -> Any:
        # Differentiate the mapped call rather than map the derivative (`generate_vmap_rule`): the same kernels as
        # without checkpoints, and half the time for convolutions.
        mapped = torch.func.vmap(call, in_dims[2:], randomness=info.randomness)
        outputs = _Checkpoint.apply(mapped, generators, *tensors)  # type: ignore[no-untyped-call]
        return outputs, (0,) * len(outputs)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        wanted = [i for i in range(len(tensors)) if ctx.needs_input_grad[i + 2]]

        def floats(*some: Tensor) -> list[Tensor]:
            given = list(tensors)
            for i, tensor in zip(wanted, some, strict=True):
                given[i] = tensor
            return [output for output in ctx.call(*given) if output.is_floating_point()]

        with ctx.generators.again():
            _, pull = vjp(floats, *(tensors[i] for i in wanted))  # type: ignore[misc]
        twice = torch.is_grad_enabled()
        mine = [cotangent for cotangent in cotangents if cotangent.is_floating_point()]
        grads: list[Tensor | None] = [None] * (2 + len(tensors))
        for i, grad in zip(wanted, pull(mine, retain_graph=twice, create_graph=twice), strict=True):
            grads[i + 2] = grad
        return tuple(grads)
