"""A whole outer step as one flat function: losses, inner loops and outer gradient, without autograd between.

What a function of a learner returns, and the gradient that it adds to the parameters, are recorded once as a graph of
tensor operations (`make_fx`: transforms, autograd, modules and Python are gone) and replayed from then on, or first
compiled by TorchInductor, whose results are kept in PyTorch's cache on disk. A replay does the same arithmetic in the
same order, without what it costs to arrive there: for nets of a few operations that is most of the time.

A recording knows of nothing that Python code reads besides tensors and the attributes of modules, such as a counter in
an objective. So the plain way is taken as well at the 1st, 2nd, 4th, 8th, ... replay, and must find the same losses.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.core import Learner
from quickstudy.operators import trees
from quickstudy.operators.internals import (
    OpOverload,
    TorchDispatchMode,
    compile_graph,
    direct_call,
    make_fx,
    own_buffers,
    own_parameters,
)
from quickstudy.operators.precision import matmul_dtype
from quickstudy.operators.substitution import prepare, with_parameters

Recordable = Callable[[Learner, Any], Any]
"""(learner, pytree of tensors) -> pytree of tensors, the first of them losses; may add to parameters' `.grad`."""
MOST = 16
"""Recordings of a run. More would mean that settings or shapes change all the time, and each costs seconds."""
LONGEST = 75_000
"""Operations of a step that is recorded, of which a third remain: ten seconds, and many minutes to compile."""


class UnrecordableError(Exception):
    """A step is too long or too changeable to be recorded, or what was recorded is not what the learner does."""


@dataclass
class Recording:
    """One graph: (modules' tensors, inputs) -> outputs, gradients."""

    graph: torch.fx.GraphModule
    replay: Callable[..., Any]
    outputs: trees.Structure
    trainable: list[int]
    """Places, among the learner's tensors, of those that have gradients."""
    comparable: bool
    """Whether the plain way draws the same random numbers, if any."""
    replays: int = 0


class Recorded:
    """A function of a learner that is recorded for each shape and setting that comes, and replayed.

    Args:
        function: what is recorded.
        compile: whether to compile what was recorded.
        also: further modules whose parameters and buffers it reads, such as an objective.
    """

    def __init__(self, function: Recordable, compile: bool = False, also: Sequence[nn.Module] = ()) -> None:
        self._function, self._compile, self._also = function, compile, tuple(also)
        # Compiled, sums are rounded in another order, and a few inner steps make much of that.
        self._tolerance = 5e-2 if compile else 1e-3
        self._made: dict[Any, Recording] = {}

    def __call__(self, learner: Learner, inputs: Any) -> Any:
        """Do what the function does.

        Raises:
            Exception: whatever recording or compiling could not do.
            UnrecordableError: the step is too long, or it changes, or depends on what cannot be recorded.
        """
        modules = [module for each in (learner, *self._also) for module in prepare(each)]
        # Names are for recording alone, and to collect them takes long.
        own: list[Tensor] = [*{id(t): t for m in modules for t in own_parameters(m).values() if t is not None}.values()]
        own += {id(t): t for m in modules for t in own_buffers(m).values() if t is not None}.values()
        leaves, spec = trees.flatten(inputs)
        tensors = [*(tensor.detach() for tensor in own), *leaves]
        # All that the recorded operations depend on, besides the numbers in tensors.
        setting = (
            spec,
            matmul_dtype.get(),
            tuple((t.shape, t.stride(), t.dtype, t.device) for t in tensors),
            tuple(tensor.requires_grad for tensor in own),
            _settings(modules),
        )
        recording = self._made.get(setting)
        if recording is None:
            recording = self._made[setting] = self._record(learner, len(own), spec, tensors)
        recording.replays += 1
        check = recording.comparable and recording.replays & (recording.replays - 1) == 0
        expected = self._plainly(learner, inputs) if check else None
        with torch.no_grad():
            results = recording.replay(*tensors)
        count = len(results) - len(recording.trainable)
        losses, gradients = results[0], results[count:]
        if expected is not None and not torch.allclose(losses, expected, rtol=self._tolerance, equal_nan=True):
            raise UnrecordableError(
                f"losses of {expected.tolist()} were {losses.tolist()} when replayed: the learner or the objective "
                "depends on more than tensors and attributes of modules"
            )
        for place, gradient in zip(recording.trainable, gradients, strict=True):
            before = own[place].grad
            own[place].grad = gradient if before is None else before + gradient
        return trees.unflatten(list(results[:count]), recording.outputs)

    def _plainly(self, learner: Learner, inputs: Any) -> Tensor:
        """Return the losses found without a recording, and leave no trace of having done so."""
        with torch.random.fork_rng(), _gradients_kept(learner):
            first: Tensor = trees.leaves(self._function(learner, inputs))[0]
            return first

    def _record(self, learner: Learner, count: int, spec: trees.Structure, tensors: list[Tensor]) -> Recording:
        if len(self._made) == MOST:
            raise UnrecordableError(f"shapes or settings have changed {MOST} times")
        module = _Call(learner, self._function, self._also)
        named = [*module.named_parameters(), *module.named_buffers()]
        trainable: list[int] = []
        after: list[trees.Structure] = []

        def whole(*flat: Tensor) -> tuple[Tensor, ...]:
            own = [
                value.detach().requires_grad_(old.requires_grad)
                for value, (_, old) in zip(flat[:count], named, strict=True)
            ]
            inputs = trees.unflatten(list(flat[count:]), spec)
            values = {name: value for value, (name, _) in zip(own, named, strict=True)}
            with _Limit():
                outputs = with_parameters(module, values, module, inputs)
            leaves, structure = trees.flatten(outputs)
            after[:] = [structure]
            trainable[:] = [place for place, value in enumerate(own) if value.grad is not None]
            return *leaves, *(value.grad for value in own if value.grad is not None)

        # One object that is given twice would be taken for one input, and the next time they may be two.
        tensors = [tensor.detach() for tensor in tensors]
        with torch.enable_grad():
            graph = make_fx(whole, tracing_mode="fake")(*tensors)
        _simplify(graph)
        graph.recompile()
        random = any(torch.Tag.nondeterministic_seeded in getattr(n.target, "tags", ()) for n in graph.graph.nodes)
        if not self._compile:
            _call_directly(graph)
            return Recording(graph, graph.forward, after[0], list(trainable), True)
        with torch.no_grad():
            compiled = compile_graph(graph, [*tensors])
        return Recording(graph, compiled, after[0], list(trainable), not random)


class _Limit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Ends the recording of too long a step."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.operations += 1
        if self.operations > LONGEST:
            raise UnrecordableError(f"it takes more than {LONGEST:,} operations")
        return func(*args, **(kwargs or {}))


class _Call(nn.Module):
    """Makes a learner's parameters those of a module that can be called with others in their place."""

    def __init__(self, learner: Learner, function: Recordable, also: Sequence[nn.Module]) -> None:
        super().__init__()
        self.learner, self.function, self.also = learner, function, nn.ModuleList(also)

    def forward(self, inputs: Any) -> Any:
        return self.function(self.learner, inputs)


@contextlib.contextmanager
def _gradients_kept(learner: Learner) -> Iterator[None]:
    """Let gradients be computed that are thrown away."""
    kept = [(parameter, parameter.grad) for parameter in learner.parameters()]
    for parameter, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient


def _simplify(graph: torch.fx.GraphModule) -> None:
    """Take out what has no result, and names of the same tensor that only autograd needed."""
    for node in graph.graph.nodes:
        if node.target in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            node.replace_all_uses_with(node.args[0])
    graph.graph.eliminate_dead_code()


def _call_directly(graph: torch.fx.GraphModule) -> None:
    """Let a graph call operators without a Python function for each.

    Faster by some percent, and safe from a trap: where the frame of so long a function ends just at the end of a chunk
    of CPython's stack, every Python function that it calls makes and frees another chunk, several times slower in all.
    """
    direct: dict[Any, Any] = {}
    for node in graph.graph.nodes:
        if isinstance(node.target, OpOverload):
            operator = direct.setdefault(node.target, functools.partial(direct_call(node.target)))
            operator.__name__ = operator.__qualname__ = re.sub(r"\W", "_", str(node.target))
            operator.__module__ = "operators"
            node.target = operator
    graph.recompile()


PLAIN = frozenset((bool, int, float, str))


def _settings(modules: list[nn.Module]) -> tuple[Any, ...]:
    """Return what else decides what modules do: their numbers and words, the identity of other things."""
    return tuple([value if type(value) in PLAIN else id(value) for m in modules for value in m.__dict__.values()])
