"""One process of the study of scaling: trains as `meta_train` does, but only the steps that it is told to.

It is started as torchrun would start it, and reads commands from standard input, one a line, as JSON: a name and
arguments. Every process of a group gets the same commands. Each answers with a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Learner, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.functional import random
from quickstudy.storage import checkpoint as ckpt
from quickstudy.training import starting
from quickstudy.training.loop import Trainer, prepared

WAYS, SHOTS, QUERIES, HIDDEN = 5, 1, 5, 64
"""Tasks like those of the recipe glyphs-maml: drawings of 28x28 and a Conv4 of 64 filters."""


def problem() -> tuple[Learner, qs.tasks.FewShot]:
    """Return MAML with one inner step, and tasks from 100 classes of 20 noise images, as large as glyphs are."""
    torch.manual_seed(0)
    learner = qs.learners.MAML(qs.nets.conv4(1, HIDDEN, WAYS), lr=0.4, steps=1)
    labels = torch.arange(100).repeat_interleave(20)
    images = torch.rand(len(labels), 1, 28, 28, generator=torch.Generator().manual_seed(1))
    return learner, qs.tasks.FewShot(qs.datasets.arrays(images, labels), WAYS, SHOTS, QUERIES)


class Ended(Exception):  # noqa: N818 - no error: the controller is done with this process
    """Ends `meta_train`."""


def timed(work: Callable[[], Any], repeats: int) -> list[float]:
    """Return the seconds that each repetition took."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


class Obedient(qs.outer.Gradient):
    """The usual outer optimiser, which obeys commands between two steps and times the parts of each."""

    trainer: Trainer

    def __init__(self) -> None:
        super().__init__(lr=1e-4)
        self.left, self.running, self.started = 0, False, 0.0
        self.compute: list[float] = []
        self.exchange: list[float] = []

    def estimate(self, meta_loss: MetaLoss, tasks: Task, keys: Tensor) -> Tensor:
        if self.left == 0:
            if self.running:
                seconds = (time.perf_counter() - self.started) / len(self.compute)
                answer({"step": seconds, "compute": self.compute, "exchange": self.exchange})
            self.running = False
            self._obey(meta_loss)
        self.left -= 1
        start = time.perf_counter()
        own = meta_loss.backward(tasks, keys)
        between = time.perf_counter()
        found = meta_loss.share(own)
        self.compute.append(between - start)
        self.exchange.append(time.perf_counter() - between)
        return found

    def _obey(self, meta_loss: MetaLoss) -> None:
        """Obey commands up to one that asks for steps."""
        while True:
            name, *arguments = json.loads(sys.stdin.readline() or '["end"]')
            if name == "end":
                raise Ended
            if name == "steps":
                meta_loss.ranks.wait()
                self.left, self.running, self.compute, self.exchange = arguments[0], True, [], []
                self.started = time.perf_counter()
                return
            meta_loss.ranks.wait()
            answer(getattr(self, name)(meta_loss, *arguments))

    def backward(self, meta_loss: MetaLoss, tasks: int, repeats: int) -> list[float]:
        """Time the meta-gradient of so many tasks, by itself."""
        batch = self.trainer.asked.tasks.batch(0, tasks)
        keys = random.fold_in(random.key(0), torch.arange(tasks))
        found = timed(lambda: meta_loss.backward(batch, keys), repeats)
        meta_loss.learner.zero_grad(set_to_none=True)
        return found

    def draw(self, meta_loss: MetaLoss, tasks: int, repeats: int) -> list[float]:
        """Time drawing so many tasks."""
        return timed(lambda: self.trainer.asked.tasks.batch(0, tasks), repeats)

    def sums(self, meta_loss: MetaLoss, size: int, repeats: int) -> list[float]:
        """Time the exchange of so many numbers."""
        numbers = torch.zeros(size)
        return timed(lambda: meta_loss.ranks.sums(numbers), repeats)

    def validate(self, meta_loss: MetaLoss, tasks: int, repeats: int) -> list[float]:
        """Time an evaluation that is shared out."""
        learner, options = meta_loss.learner, {"curve_steps": 0, "ranks": meta_loss.ranks}
        found = timed(lambda: qs.evaluate(learner, self.trainer.asked.tasks, tasks, **options), repeats)
        learner.train()
        return found

    def checkpoint(self, meta_loss: MetaLoss, repeats: int) -> list[float]:
        """Time writing a checkpoint."""
        content = {"learner": dict(meta_loss.learner.state_dict()), "optimizer": self.trainer.optimizer.state_dict()}
        with tempfile.TemporaryDirectory() as folder:
            return timed(lambda: ckpt.save_checkpoint(Path(folder) / "last", content), repeats)

    def facts(self, meta_loss: MetaLoss) -> dict[str, float]:
        """Return the sizes of the problem."""
        from torch.utils.flop_counter import FlopCounterMode

        tasks, keys = self.trainer.asked.tasks.batch(0, 1), random.fold_in(random.key(0), torch.arange(1))
        with FlopCounterMode(display=False) as counter:
            meta_loss.backward(tasks, keys)
        meta_loss.learner.zero_grad(set_to_none=True)
        sizes = sum(p.numel() for p in meta_loss.learner.parameters())
        return {"parameters": sizes, "flops": counter.get_total_flops(), "tasks": batching.count(tasks)}


def answer(value: Any) -> None:
    """Write a line."""
    print(json.dumps(value), flush=True)


def main(threads: int, meta_batch: int) -> None:
    """Train as told."""
    torch.set_num_threads(threads)
    learner, tasks = problem()
    outer = Obedient()

    def keep(*arguments: Any) -> Trainer:
        outer.trainer = prepared(*arguments)
        torch.set_num_threads(threads)
        return outer.trainer

    starting.prepared = keep  # type: ignore[attr-defined]
    with contextlib.suppress(Ended):
        qs.meta_train(learner, tasks, outer, steps=10**9, meta_batch=meta_batch, device="cpu", progress=False)


def median(values: list[float]) -> float:
    """Return the median of all but the first value, which warms up."""
    return statistics.median(values[1:])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
