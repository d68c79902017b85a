"""Quickstudy's side: what a user gets, through the public API.

`build` makes the outer step of a learner on fixed tasks, either of its parts ('step': `meta_loss.MetaLoss`,
`outer.Gradient`, with the chunks and the allocator that `meta_train` chooses) or as `meta_train` itself runs it
('meta_train': drawing, checks for NaN and logging included).
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import quickstudy as qs
from benchmarks.case import Context, Pump, Step, TorchStep, gradients
from benchmarks.peers.problems import MAML, Episodes, Proto
from quickstudy.batching import Compile, to_dtype
from quickstudy.core import Examples, Learner, Task
from quickstudy.engine.hardware import SOME_STEPS, keep_pages, worth_compiling
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.functional import random
from quickstudy.inner.differentiation import Unrolled
from quickstudy.objectives.query_loss import query_loss
from quickstudy.operators.precision import matmuls_in
from quickstudy.tasks.base import Plan, TaskDistribution

Precision = Literal["32-true", "64-true", "bf16-mixed"]
PRECISIONS: dict[torch.dtype, Precision] = {
    torch.float32: "32-true",
    torch.float64: "64-true",
    torch.bfloat16: "bf16-mixed",
}


class Fixed(TaskDistribution):
    """The same few tasks, again and again."""

    def __init__(self, tasks: Task, count: int) -> None:
        super().__init__()
        self.tasks, self.count = tasks, count

    def plan(self, indices: Tensor) -> Plan:
        return {"index": indices % self.count}

    def gather(self, plan: Plan) -> Task:
        # Tasks in order are what is there already: a copy would only measure memory.
        index = plan["index"]
        if len(index) == self.count and bool((index == torch.arange(self.count, device=index.device)).all()):
            return self.tasks
        return qs.batching.select(self.tasks, index)  # type: ignore[no-any-return]


def batched(episodes: Episodes) -> Task:
    """Return the tasks as Quickstudy has them."""
    support, query = (Examples(*rows, ways=episodes.ways, check=False) for rows in (episodes.support, episodes.query))
    return Task(support, query)


def learner_of(problem: MAML | Proto, checkpoint: int | None = None) -> Learner:
    """Return the learner of a problem; `checkpoint` as in `Unrolled`."""
    if isinstance(problem, Proto):
        return qs.learners.ProtoNet(problem.net, batch_norm="transductive")
    method = qs.learners.FOMAML if problem.first_order else qs.learners.MAML
    learner = method(problem.net, lr=problem.lr, steps=problem.steps, batch_norm="transductive")
    if checkpoint is not None:
        learner.differentiation = Unrolled(checkpoint=checkpoint)
    return learner


def prefix_of(problem: MAML | Proto) -> str:
    """Return what names of the net's parameters begin with within the learner."""
    return "net." if isinstance(problem, Proto) else "adapted.net."


class Parts(TorchStep):
    """Losses, gradient and update, put together as a user would."""

    def __init__(
        self, problem: MAML | Proto, context: Context, compile: Compile | None, checkpoint: int | None
    ) -> None:
        keep_pages()
        # As 'bf16-mixed': parameters and their updates keep 32 bits.
        self.matmul_dtype = torch.bfloat16 if context.dtype == torch.bfloat16 else None
        dtype = torch.float32 if self.matmul_dtype else context.dtype
        self.learner = learner_of(problem, checkpoint).to(context.device, dtype)
        super().__init__(self.learner, prefix_of(problem))
        self.tasks = to_dtype(batched(problem.episodes), dtype)
        self.keys = random.fold_in(random.key(0), torch.arange(len(problem.episodes))).to(context.device)
        self.outer = qs.outer.Gradient(lr=1e-3)
        self.optimizer = self.outer.optimizer(self.learner.named_parameters())
        if compile is None:  # as for a run too short to pay for a compiler
            compile = worth_compiling(self.learner, torch.device(context.device), SOME_STEPS)
        self.meta_loss = MetaLoss(self.learner, query_loss, compile=compile)

    def backward(self) -> Tensor:
        with matmuls_in(self.matmul_dtype):
            return self.outer.estimate(self.meta_loss, self.tasks, self.keys).mean()


class Ended(Exception):  # noqa: N818 - no error: the benchmark is done with this loop
    """Ends `meta_train`."""


class Counted(qs.outer.Gradient):
    """The usual outer optimiser, which asks before each step whether to make it."""

    def __init__(self, pump: Pump) -> None:
        super().__init__(lr=1e-3)
        self.pump = pump

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        if not self.pump.tick():
            raise Ended
        return super().estimate(meta_loss, tasks, keys)


class Seen(qs.outer.Gradient):
    """The usual outer optimiser, which notes the loss and gradient of its last step."""

    def __init__(self, prefix: str) -> None:
        super().__init__(lr=1e-3)
        self.prefix = prefix
        self.found: dict[str, Tensor] = {}

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        found = super().estimate(meta_loss, tasks, keys)
        named = {name.removeprefix(self.prefix): p for name, p in meta_loss.learner.named_parameters()}
        self.found = {"loss": found.mean().clone(), **{key: g.clone() for key, g in gradients(named).items()}}
        return found


class Whole(Step):
    """`meta_train` itself: a step is everything between two estimates of the meta-gradient."""

    def __init__(self, problem: MAML | Proto, context: Context, compile: Compile | None) -> None:
        self.learner, self.prefix = learner_of(problem), prefix_of(problem)
        self.tasks, self.count = Fixed(batched(problem.episodes), len(problem.episodes)), len(problem.episodes)
        self.options: dict[str, Any] = {
            "meta_batch": self.count,
            "compile": compile,
            "device": context.device,
            "precision": PRECISIONS[context.dtype],
            "progress": False,
        }

    def loop(self, pump: Pump) -> None:
        with contextlib.suppress(Ended):
            qs.meta_train(self.learner, self.tasks, Counted(pump), steps=10**9, **self.options)

    def check(self) -> dict[str, Tensor]:
        learner, seen = copy.deepcopy(self.learner), Seen(self.prefix)
        qs.meta_train(learner, self.tasks, seen, steps=1, **self.options)
        return seen.found


def build(
    problem: MAML | Proto,
    context: Context,
    via: Literal["step", "meta_train"] = "step",
    compile: Compile | None = None,
    checkpoint: int | None = None,
) -> Step:
    if compile is True:
        torch.compile(lambda x: x + 1)(torch.zeros(2))  # load the compiler before memory is measured
    elif compile is not False:
        make_fx(lambda x: x + 1, tracing_mode="fake")(torch.zeros(2))  # likewise
    if via == "meta_train":
        return Whole(problem, context, compile)
    return Parts(problem, context, compile, checkpoint)
