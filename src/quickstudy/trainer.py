"""The loop of meta-training: a step, a validation, a checkpoint, in turn, until done or interrupted."""

from __future__ import annotations

import contextlib
import csv
import ctypes
import io
import json
import math
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from quickstudy import batching
from quickstudy import checkpoint as ckpt
from quickstudy.batching import Objective, TaskLosses
from quickstudy.core import Learner, Task
from quickstudy.errors import CheckpointError, InputError, NonFiniteError
from quickstudy.evaluation import LOWER_IS_BETTER, chunk_size, evaluate
from quickstudy.functional import random
from quickstudy.interruption import deferred_signals, end_by
from quickstudy.outer.base import Outer
from quickstudy.progress import Progress, open_progress
from quickstudy.tasks.base import TaskDistribution

CHECKPOINT_SECONDS = 30.0
"""Longest wall time between checkpoints; there is one after each validation too."""


@dataclass
class Run:
    """What `meta_train` returns.

    Attributes:
        learner: the meta-trained learner, with its best weights where there was validation, in evaluation mode.
        history: logged rows: step, loss, and validation metric where measured.
        best: best validation metric, nan without validation.
        best_step: its step.
        steps: outer steps done.
        stopped_early: whether validation had stopped improving.
        run_dir: the run folder, or None.
    """

    learner: Learner
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = math.nan
    best_step: int = 0
    steps: int = 0
    stopped_early: bool = False
    run_dir: Path | None = None


def keep_pages() -> None:
    """Ask glibc to keep freed memory: on CPUs, returning and touching pages anew costs more than the arithmetic."""
    if platform.system() == "Linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for large blocks
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


@dataclass
class Trainer:
    """One run: its parts, its progress, and how it is saved."""

    learner: Learner
    tasks: TaskDistribution
    validation: TaskDistribution | None
    outer: Outer
    objective: Objective
    steps: int
    meta_batch: int
    folder: Path | None
    validate_every: int
    validation_tasks: int
    patience: int | None
    log_every: int
    seed: int
    fabric: Fabric
    chunk: int | None
    compile: bool
    tensorboard: bool
    step: int = 0
    best: float = math.nan
    best_step: int = 0
    since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    drawn: Task | None = None

    def prepare(self, facts: dict[str, Any], settings: dict[str, Any], resume: bool) -> None:
        """Place everything on the device, then restore an interrupted run or describe a new one."""
        torch.manual_seed(self.seed)
        if self.fabric.device.type == "cpu":
            keep_pages()
        self.fabric.launch()
        self.fabric.setup_module(self.learner)  # moves and converts in place; its wrapper is not needed
        self.learner.train()
        self.tasks.to(self.fabric.device)
        parameters = [p for p in self.learner.parameters() if p.requires_grad]
        if not parameters:
            raise InputError(f"{type(self.learner).__name__} has no parameter to meta-train; evaluate it as it is")
        self.parameters = parameters
        self.optimizer = self.outer.optimizer(parameters)
        if self.chunk is None:
            self.chunk = chunk_size(self.tasks)
        # Small tasks are drawn for many steps at once: drawing costs about as much for one as for a hundred.
        self.ahead = max(1, min(100, chunk_size(self.tasks) // self.meta_batch))
        self.losses = TaskLosses(self.objective, self.chunk, self.compile)
        self.writer: Any = None
        if self.folder is None:
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise CheckpointError(f"run_dir {self.folder} is a file; choose a folder")
        last = self.folder / ckpt.LAST
        if self.fabric.global_rank == 0:
            ckpt.remove_unfinished(self.folder)
        if resume and last.exists():
            self._check_same(facts)
            self._restore(ckpt.load_checkpoint(last))
            if self.step < self.steps and self.fabric.global_rank == 0:
                self._describe_again(settings)
        elif self.fabric.global_rank == 0:
            for name in (ckpt.LAST, ckpt.BEST):
                with contextlib.suppress(FileNotFoundError):
                    (self.folder / name).unlink()
            self._describe(facts, settings)
        if self.tensorboard and self.fabric.global_rank == 0:
            self.writer = _summary_writer(self.folder, self.step)

    def _describe(self, facts: dict[str, Any], settings: dict[str, Any]) -> None:
        assert self.folder is not None
        environment = {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "platform": platform.platform(),
            "device": str(self.fabric.device),
            "threads": torch.get_num_threads(),
        }
        run = {"format": ckpt.VERSION, "version": _version(), **facts, "steps": self.steps, "settings": settings}
        ckpt.write_json(
            self.folder / ckpt.RUN, {**run, "batch_norm": self.learner.batch_norm, "environment": environment}
        )
        held_out = [] if self.validation is None else list(self.validation.classes)
        ckpt.write_json(self.folder / "classes.json", {"train": list(self.tasks.classes), "validation": held_out})
        self._write_rows()

    def _describe_again(self, settings: dict[str, Any]) -> None:
        """Note what may differ when a run goes on, such as a larger number of steps."""
        assert self.folder is not None
        old = ckpt.read_json(self.folder / ckpt.RUN)
        new = {**old, "steps": self.steps, "settings": _as_json(settings) or old.get("settings")}
        if new != old:
            ckpt.write_json(self.folder / ckpt.RUN, new)

    def _check_same(self, facts: dict[str, Any]) -> None:
        assert self.folder is not None
        old = ckpt.read_json(self.folder / ckpt.RUN)
        changed = [key for key, value in facts.items() if old.get(key) != _as_json(value)]
        if changed:
            raise CheckpointError(
                f"{self.folder} holds a run with another {', '.join(changed)}; choose another run_dir, or pass "
                "resume=False to start anew there"
            )

    def _restore(self, content: dict[str, Any]) -> None:
        assert self.folder is not None
        lacking = {"learner", "optimizer", "step", "best", "best_step", "since_best", "history", "random"} - set(
            content
        )
        if lacking:
            raise CheckpointError(
                f"{self.folder / ckpt.LAST} lacks {sorted(lacking)}: not a checkpoint of meta-training"
            )
        ckpt.load_weights(self.learner, content["learner"], self.folder / ckpt.LAST)
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.best_step, self.since_best = content["step"], content["best_step"], content["since_best"]
        self.best = math.nan if content["best"] is None else content["best"]
        self.history = content["history"]
        ckpt.restore_random_state(content["random"])
        best = self.folder / ckpt.BEST
        if self.best_step and best.exists():
            saved = ckpt.load_checkpoint(best)
            # A kill between the two files can leave a newer best than the last checkpoint knows of; training will
            # come to the same one again.
            self.best_weights = saved["learner"] if saved["step"] == self.best_step else None
        self._write_rows()

    def run(self, show: bool) -> Run:
        """Train until done, early stop, interruption or a non-finite loss."""
        # A run that had stopped early stays stopped when it is started again.
        stopped = self.patience is not None and self.since_best >= self.patience
        saved_at, first = time.monotonic(), self.step
        with deferred_signals() as received, open_progress(show and self.fabric.global_rank == 0) as bar:
            bar.start(self.steps, self.step)
            while self.step < self.steps and not stopped:
                loss = self._step()
                if self.step % self.log_every == 0 or self.step == self.steps:
                    self._log({"step": self.step, "loss": loss, "lr": self.outer.rate(self.step - 1, self.steps)})
                bar.advance(self.step, loss)
                due = self.validation is not None and self.step % self.validate_every == 0
                if due or (self.validation is not None and self.step == self.steps):
                    stopped = self._validate(bar)
                if received or due or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                    self._save()
                    saved_at = time.monotonic()
                if received:
                    end_by(received[0], self.folder)
        if self.step > first or first == 0:
            self._save()
        if self.writer is not None:
            self.writer.close()
        if self.best_weights is not None:
            self.learner.load_state_dict(self.best_weights)
        self.learner.eval()
        return Run(self.learner, self.history, self.best, self.best_step, self.step, stopped, self.folder)

    def _step(self) -> float:
        world, device = self.fabric.world_size, self.fabric.device
        indices, batch = self._indices(self.step), self._draw()
        keys = random.fold_in(random.key(self.seed, device), indices.to(device))
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.outer.estimate(self.losses, self.learner, batch, keys)
        grads = [p.grad for p in self.parameters if p.grad is not None]
        if world > 1:
            for p in self.parameters:
                own = torch.zeros_like(p) if p.grad is None else p.grad
                p.grad = cast(Tensor, self.fabric.all_reduce(own, reduce_op="mean"))
            grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros((), device=device)
        loss = losses.mean()
        if not math.isfinite(float(loss) + float(norm)):
            self._stop_non_finite(batch, losses, keys)
        if self.outer.clip is not None and grads:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.outer.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.outer.rate(self.step, self.steps)
        self.optimizer.step()
        self.step += 1
        return float(loss)

    def _indices(self, step: int) -> Tensor:
        """Return which tasks of the stream this process takes at a step."""
        start = (step * self.fabric.world_size + self.fabric.global_rank) * self.meta_batch
        return torch.arange(start, start + self.meta_batch)

    def _draw(self) -> Task:
        """Return the tasks of this step."""
        within = self.step % self.ahead
        if self.drawn is None or within == 0:
            first = self.step - within
            indices = torch.cat([self._indices(step) for step in range(first, first + self.ahead)])
            self.drawn = batching.to_dtype(self.tasks.draw(indices), self.parameters[0].dtype)
        part = slice(within * self.meta_batch, (within + 1) * self.meta_batch)
        return batching.select(self.drawn, part)  # type: ignore[no-any-return]

    def _stop_non_finite(self, batch: Task, losses: Tensor, keys: Tensor) -> None:
        bad = (~torch.isfinite(losses)).nonzero().squeeze(1).tolist()
        if not bad:
            # Every loss is finite, so some gradient is not: look at the tasks one by one.
            for i in range(len(losses)):
                self.optimizer.zero_grad(set_to_none=True)
                self.outer.estimate(self.losses, self.learner, batching.select(batch, slice(i, i + 1)), keys[i : i + 1])
                grads = [p.grad for p in self.parameters if p.grad is not None]
                if not bool(torch.isfinite(torch.nn.utils.get_total_norm(grads))):
                    bad.append(i)
        where = "no run_dir was given, so they were not saved"
        if self.folder is not None:
            culprits = batching.select(batch, torch.tensor(bad or [0], device=losses.device))
            path = self.folder / f"nonfinite-{self.step}.safetensors"
            content = {
                "step": self.step,
                "tasks": {
                    part: {"inputs": rows.inputs, "labels": rows.labels, "mask": rows.mask}
                    for part, rows in (("support", culprits.support), ("query", culprits.query))
                },
                "learner": dict(self.learner.state_dict()),
            }
            ckpt.save_checkpoint(path, content)
            where = f"they are saved with the weights in {path}"
        raise NonFiniteError(
            f"step {self.step}: the loss or meta-gradient of tasks {bad} of the meta-batch is NaN or infinite; "
            f"{where}. Checkpoints hold the last good weights. Try a smaller inner or outer lr, or outer clip=10"
        )

    def _validate(self, bar: Progress) -> bool:
        assert self.validation is not None
        report = evaluate(
            self.learner, self.validation, self.validation_tasks, device=self.fabric.device, curve_steps=0
        )
        self.learner.train()
        self._log({"step": self.step, f"validation_{report.metric}": report.mean})
        bar.validation(report.metric, report.mean)
        better = math.isnan(self.best) or (
            report.mean < self.best if report.metric in LOWER_IS_BETTER else report.mean > self.best
        )
        self.since_best = 0 if better else self.since_best + 1
        if better:
            self.best, self.best_step = report.mean, self.step
            self.best_weights = {name: value.detach().clone() for name, value in self.learner.state_dict().items()}
            if self.folder is not None and self.fabric.global_rank == 0:
                content = {"learner": self.best_weights, "step": self.step, "validation": report.mean}
                ckpt.save_checkpoint(self.folder / ckpt.BEST, content)
        return self.patience is not None and self.since_best >= self.patience

    def _log(self, row: dict[str, float]) -> None:
        self.history.append(row)
        if self.fabric.global_rank == 0 and self.folder is not None:
            try:
                with (self.folder / "metrics.csv").open("a", newline="") as file:
                    csv.writer(file).writerows(_cells([row]))
            except OSError as error:
                raise ckpt.write_error(self.folder / "metrics.csv", error) from error
        if self.writer is not None:
            for name, value in row.items():
                if name != "step":
                    self.writer.add_scalar(name, value, int(row["step"]))

    def _write_rows(self) -> None:
        """Write the whole log: rows after the last checkpoint will be made again."""
        assert self.folder is not None
        text = io.StringIO()
        csv.writer(text).writerows([["step", "name", "value"], *_cells(self.history)])
        ckpt.write_atomically(self.folder / "metrics.csv", text.getvalue().encode())

    def _save(self) -> None:
        if self.folder is None or self.fabric.global_rank != 0:
            return
        content = {
            "learner": dict(self.learner.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": None if math.isnan(self.best) else self.best,
            "best_step": self.best_step,
            "since_best": self.since_best,
            "history": self.history,
            "random": ckpt.random_state(),
        }
        ckpt.save_checkpoint(self.folder / ckpt.LAST, content)


def _cells(rows: list[dict[str, float]]) -> list[list[Any]]:
    return [[row["step"], name, value] for row in rows for name, value in row.items() if name != "step"]


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _version() -> str:
    from quickstudy import __version__

    return __version__


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("tensorboard=True needs the extra: pip install 'quickstudy[tensorboard]'") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
