"""The loop of meta-training: a step, a validation, a checkpoint, in turn, until done or interrupted."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from quickstudy import batching
from quickstudy.batching import Compile, Objective
from quickstudy.core import Learner, Task
from quickstudy.engine.hardware import keep_pages, worth_compiling
from quickstudy.engine.meta_loss import TaskLosses
from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.errors import InputError, NonFiniteError
from quickstudy.evaluation import chunk_size, evaluate
from quickstudy.functional import random
from quickstudy.operators.calls import products_in
from quickstudy.outer.base import Outer
from quickstudy.problem import Optimizee
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage.run_folder import RunFolder
from quickstudy.tasks.base import TaskDistribution
from quickstudy.training.interruption import deferred_signals, end_by
from quickstudy.training.progress import Progress, open_progress

CHECKPOINT_SECONDS = 30.0
"""Longest wall time between checkpoints; there is one after each validation too."""
VALIDATION_SEED = 2023
"""Of the bank of validation tasks: another one than that of test tasks, which for synthetic tasks would be the same."""


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


@dataclass
class Trainer:
    """One run: its parts, its progress, and how it is saved.

    Where several processes train together, all have the same weights and decide alike, since whatever they decide by
    (losses, gradients, validation, signals) is exchanged first. Only the first one prints and writes.
    """

    learner: Learner
    tasks: TaskDistribution
    validation: TaskDistribution | None
    outer: Outer
    objective: Objective
    steps: int
    meta_batch: int
    run_dir: Path | None
    validate_every: int
    validation_tasks: int
    patience: int | None
    log_every: int
    seed: int
    fabric: Fabric
    chunk: int | None
    compile: Compile | None
    tensorboard: bool
    products: torch.dtype | None = None
    step: int = 0
    best: float = math.nan
    best_step: int = 0
    since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: dict[str, Tensor] | None = None
    drawn: Task | None = None
    ranks: Ranks = ALONE
    folder: RunFolder | None = None

    def prepare(self, facts: dict[str, Any], settings: dict[str, Any], resume: bool) -> None:
        """Place everything on the device, then restore an interrupted run or describe a new one."""
        if self.fabric.device.type == "cpu":
            keep_pages()
        self.fabric.launch()
        self.ranks = Ranks.of(self.fabric)
        # Moves and converts in place, and gives every process the first one's weights; its wrapper is not needed.
        self.fabric.setup_module(self.learner)
        self.learner.train()
        self.tasks.to(self.fabric.device)
        parameters = [p for p in self.learner.parameters() if p.requires_grad]
        if not parameters:
            raise InputError(f"{type(self.learner).__name__} has no parameter to meta-train; evaluate it as it is")
        self.parameters = parameters
        self.optimizer = self.outer.optimizer(
            (name, p) for name, p in self.learner.named_parameters() if p.requires_grad
        )
        if self.compile is None:
            self.compile = worth_compiling(self.learner, self.fabric.device, self.steps)
        if isinstance(self.objective, torch.nn.Module):
            self.objective.to(self.fabric.device)
        self.losses = TaskLosses(self.objective, self.chunk, self.compile, self.ranks)
        self.outer.prepare(self.learner)
        if self.run_dir is not None:
            self.folder = RunFolder(self.run_dir, self.ranks)
            self._open(self.folder, facts, settings, resume)
        # Small tasks are drawn for many steps at once: drawing costs about as much for one as for a hundred.
        self.ahead = max(1, min(100, chunk_size(self.tasks) // self.meta_batch)) if self.tasks.uniform else 1

    def _open(self, folder: RunFolder, facts: dict[str, Any], settings: dict[str, Any], resume: bool) -> None:
        """Restore the run of a folder, or describe a new one there."""
        if folder.holds_run() and resume:
            self.meta_batch = folder.share_of(self.meta_batch, facts)
            self._restore(folder, folder.load())
            if self.step < self.steps:
                folder.note_changes(self.steps, settings)
        else:
            run = {**facts, "steps": self.steps, "settings": settings, "batch_norm": self.learner.batch_norm}
            held_out = [] if self.validation is None else list(self.validation.classes)
            classes = {"train": list(self.tasks.classes), "validation": held_out}
            folder.begin(run, self.fabric.device, classes)
        if self.tensorboard:
            folder.open_events(self.step)

    def _restore(self, folder: RunFolder, content: dict[str, Any]) -> None:
        ckpt.load_weights(self.learner, content["learner"], folder.path / ckpt.LAST)
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.best_step, self.since_best = content["step"], content["best_step"], content["since_best"]
        self.best = math.nan if content["best"] is None else content["best"]
        self.outer.load_state_dict(content.get("outer", {}))
        self.history = content["history"]
        self.best_weights = folder.load_best(self.best_step)

    def run(self, show: bool) -> Run:
        """Train until done, early stop, interruption or a non-finite loss."""
        # A run that had stopped early stays stopped when it is started again.
        stopped = self.patience is not None and self.since_best >= self.patience
        saved_at, first = time.monotonic(), self.step
        with deferred_signals() as received, open_progress(show and self.ranks.first) as bar:
            self.ranks.received = received
            bar.start(self.steps, self.step)
            while self.step < self.steps and not stopped:
                loss = self._step()
                if self.step % self.log_every == 0 or self.step == self.steps:
                    self._log({"step": self.step, "loss": loss, "lr": self.outer.rate(self.step - 1, self.steps)})
                bar.advance(self.step, loss)
                due = self.validation is not None and self.step % self.validate_every == 0
                if due or (self.validation is not None and self.step == self.steps):
                    stopped = self._validate(bar)
                asked = self.ranks.asked_to_stop()
                if asked or due or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                    self._save()
                    saved_at = time.monotonic()
                if asked:
                    self.ranks.wait()  # for the file: torchrun ends all processes once one has ended
                    end_by(asked, self.run_dir if self.ranks.first else None)
        if self.step > first or first == 0:
            self._save()
        self.ranks.wait()  # so that every process can read the run folder from here on
        if self.folder is not None:
            self.folder.close()
        if self.best_weights is not None:
            self.learner.load_state_dict(self.best_weights)
        self.learner.eval()
        return Run(self.learner, self.history, self.best, self.best_step, self.step, stopped, self.run_dir)

    def _step(self) -> float:
        device = self.fabric.device
        indices, batch = self._indices(self.step), self._draw()
        keys = random.learner_keys(self.seed, indices.to(device))
        self._seed()
        self.optimizer.zero_grad(set_to_none=True)
        if hasattr(self.objective, "schedule"):
            self.objective.schedule(self.step / self.steps)
        with products_in(self.products):
            losses = self.outer.estimate(self.losses, self.learner, batch, keys, self.ranks)
        if len(losses) != self.ranks.size * len(keys):
            raise InputError(
                f"{type(self.outer).__name__}.estimate returned {len(losses)} losses for {self.ranks.size} processes "
                f"of {len(keys)} tasks; it must return those of all: ranks.share(learner.parameters(), losses)"
            )
        grads = [p.grad for p in self.parameters if p.grad is not None]
        if self.step == 0 and not grads:
            raise InputError(
                f"no parameter of {type(self.learner).__name__} gets a gradient from {type(self.outer).__name__} for "
                "this objective: what is judged does not depend on any"
            )
        norm = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros((), device=device)
        loss = losses.mean()
        if not math.isfinite(float(loss) + float(norm)):
            self._stop_non_finite(batch, losses, keys)
        if self.outer.clip is not None and grads:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.outer.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.outer.rate(self.step, self.steps) * group["factor"]
        self.optimizer.step()
        self.step += 1
        return float(loss)

    def _seed(self) -> None:
        """Make torch's own generator, which dropout in a user's net draws from, a function of seed, step and process.

        So it need not be saved, and processes drop different units.
        """
        digest = hashlib.blake2b(f"{self.seed} {self.step} {self.ranks.rank}".encode(), digest_size=4).digest()
        number, device = int.from_bytes(digest), self.fabric.device
        torch.default_generator.manual_seed(number)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(number)

    def _indices(self, step: int) -> Tensor:
        """Return which tasks of the stream this process takes at a step."""
        start = (step * self.ranks.size + self.ranks.rank) * self.meta_batch
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
        if not bad and self.outer.behind(batch) is None:
            # Every loss is finite, so some gradient is not: look at the tasks one by one.
            own = []
            for i in range(len(keys)):
                self.optimizer.zero_grad(set_to_none=True)
                self.outer.estimate(self.losses, self.learner, batching.select(batch, slice(i, i + 1)), keys[i : i + 1])
                grads = [p.grad for p in self.parameters if p.grad is not None]
                if not bool(torch.isfinite(torch.nn.utils.get_total_norm(grads))):
                    own.append(self.ranks.rank * len(keys) + i)
            bad = self.ranks.gather(torch.tensor(own, dtype=torch.long)).tolist()
        where = "no run_dir was given, so they were not saved"
        if self.folder is not None:
            name = f"nonfinite-{self.step}.safetensors"
            where = f"they are saved with the weights in {self.folder.path / name}"
            # Drawn anew, as they may be another process's.
            lasting = self.outer.behind(batch)
            culprits = self.tasks.draw(torch.tensor(bad or [0]) + self.step * len(losses))
            if lasting is not None and self.ranks.size == 1:
                culprits = batching.select(lasting, torch.tensor(bad or [0]))
            content = {
                "step": self.step,
                "tasks": {
                    part: {"inputs": _tensors(rows.inputs), "labels": rows.labels, "mask": rows.mask}
                    for part, rows in (("support", culprits.support), ("query", culprits.query))
                },
                "learner": dict(self.learner.state_dict()),
            }
            self.folder.save(name, content)
        self.ranks.wait()
        raise NonFiniteError(
            f"step {self.step}: the loss or meta-gradient of tasks {bad} of the meta-batch is NaN or infinite; "
            f"{where}. Checkpoints hold the last good weights. Try a smaller inner or outer lr, or outer clip=10"
        )

    def _validate(self, bar: Progress) -> bool:
        assert self.validation is not None
        report = evaluate(
            self.learner,
            self.validation,
            self.validation_tasks,
            device=self.fabric.device,
            seed=VALIDATION_SEED,
            curve_steps=0,
            ranks=self.ranks,
        )
        self.learner.train()
        self._log({"step": self.step, f"validation_{report.metric}": report.mean})
        bar.validation(report.metric, report.mean)
        gain = report.gain(self.best)
        better = math.isnan(self.best) or gain > 0
        self.since_best = 0 if better else self.since_best + 1
        # Of equals, the later: where validation says all that it can, training may still go on to improve.
        if better or gain == 0:
            self.best, self.best_step = report.mean, self.step
            self.best_weights = {name: value.detach().clone() for name, value in self.learner.state_dict().items()}
            if self.folder is not None:
                content = {"learner": self.best_weights, "step": self.step, "validation": report.mean}
                self.folder.save(ckpt.BEST, content)
        return self.patience is not None and self.since_best >= self.patience

    def _log(self, row: dict[str, float]) -> None:
        self.history.append(row)
        if self.folder is not None:
            self.folder.log(row)

    def _save(self) -> None:
        if self.folder is None:
            return
        content = {
            "learner": dict(self.learner.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": None if math.isnan(self.best) else self.best,
            "best_step": self.best_step,
            "since_best": self.since_best,
            "history": self.history,
            "outer": self.outer.state_dict() if self.ranks.size == 1 or self.outer.same_everywhere else {},
        }
        self.folder.save(ckpt.LAST, content)


def _tensors(inputs: Any) -> Any:
    """Return inputs without the net that a problem's inputs come with."""
    return inputs.inputs if isinstance(inputs, Optimizee) else inputs
