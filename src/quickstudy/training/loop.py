"""The loop of meta-training: a step, a validation, a checkpoint, in turn, until done or interrupted."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from lightning_fabric import Fabric
from torch import nn

from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData, digests
from quickstudy.engine.hardware import kept_pages, worth_compiling
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.ranks import joined
from quickstudy.errors import InputError
from quickstudy.evaluation import evaluate
from quickstudy.functional import notebook, random
from quickstudy.operators.precision import matmuls_in
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage.run_folder import RunFolder, damaged
from quickstudy.tasks.base import TaskDistribution
from quickstudy.training.batches import Batches
from quickstudy.training.interruption import deferred_signals, end_by
from quickstudy.training.loggers import Loggers
from quickstudy.training.post_mortem import stop_non_finite
from quickstudy.training.progress import Progress, open_progress
from quickstudy.training.restoring import restored
from quickstudy.training.settings import Settings, Standing

CHECKPOINT_SECONDS = 30.0
"""Longest wall time between checkpoints; there is one after each validation too."""
VALIDATION_SEED = 2023
"""Seed of the bank of validation tasks. It differs from the test seed: synthetic tasks would otherwise coincide."""

_TURN = threading.RLock()
_P = ParamSpec("_P")
_T = TypeVar("_T")


def in_turn(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a method that waits while another thread trains: learners may share a net, and all share a generator."""

    @functools.wraps(method)
    def inner(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with _TURN:
            return method(*args, **kwargs)

    return inner


@dataclass
class Run:
    """The result of `meta_train`.

    Attributes:
        learner: the meta-trained learner, with its best weights where there was validation, in evaluation mode.
        history: logged rows: step, loss, and validation metric where measured.
        best: best validation metric, nan without validation.
        best_step: its step.
        steps: outer steps done.
        stopped_early: whether validation had stopped improving.
        run_dir: the run folder, or None.
        evaluations: what these steps took, in adaptations to a task with one set of parameters, and its loss
            (`outer.Outer.evaluations`).
    """

    learner: Learner
    history: list[dict[str, float]] = field(default_factory=list)
    best: float = math.nan
    best_step: int = 0
    steps: int = 0
    stopped_early: bool = False
    run_dir: Path | None = None
    evaluations: int = 0

    def __repr__(self) -> str:
        best = "" if math.isnan(self.best) else f", best {self.best:.4g} at step {self.best_step}"
        return f"Run({type(self.learner).__name__}, {self.steps} steps{best}, run_dir={str(self.run_dir)!r})"

    def _repr_html_(self) -> str:
        facts = {"learner": type(self.learner).__name__, "steps": self.steps, "run_dir": self.run_dir}
        best = {} if math.isnan(self.best) else {"best validation": f"{self.best:.4g} at step {self.best_step}"}
        logged = [(row["step"], row["loss"]) for row in self.history if "loss" in row]
        drawn = notebook.curve([step for step, _ in logged], [loss for _, loss in logged], "loss")
        return notebook.table(facts | best) + drawn


def prepared(
    asked: Settings, fabric: Fabric, facts: dict[str, Any], notes: dict[str, Any], resume: bool, lasting: ExitStack
) -> Trainer:
    """Place everything on the device, then restore an interrupted run or describe a new one.

    Args:
        asked: what was asked.
        fabric: the device and the processes, not yet launched.
        facts: what says that a run is this run.
        notes: whatever else is to be kept in the run's description, `settings` among it.
        resume: go on with the run of the folder, if there is one.
        lasting: takes what has to be put back or let go when the run has ended, however it ends.
    """
    learner = asked.learner
    with _TURN:  # Fabric changes classes of PyTorch for a moment
        ranks = joined(fabric)
    same = {name: getattr(asked, name) for name in ("steps", "validate_every", "patience", "log_every")}
    same["parameters"] = {name: [*value.shape] for name, value in learner.state_dict().items()}
    ranks.agree({**facts, **same, "resume": resume, "folder": asked.run_dir is not None})
    lasting.enter_context(random.torch_state_kept(fabric.device))
    # Moves and converts in place, and gives every process the first one's weights; its wrapper is not needed.
    fabric.setup_module(learner)
    learner.train()
    asked.tasks.to(fabric.device)
    named = [(name, p) for name, p in learner.named_parameters() if p.requires_grad]
    optimizer = asked.outer.optimizer(named)
    compile = worth_compiling(learner, fabric.device, asked.steps) if asked.compile is None else asked.compile
    asked.objective.to(fabric.device)
    meta_loss = MetaLoss(learner, asked.objective, asked.chunk, compile, ranks)
    asked.outer.prepare(learner)
    standing, folder = Standing(), None
    if asked.run_dir is not None:
        folder = RunFolder(asked.run_dir, ranks)
        lasting.callback(folder.close)
        if folder.holds_run() and resume:
            asked = replace(asked, meta_batch=folder.share_of(asked.meta_batch, facts, notes["settings"]))
            standing = restored(asked, folder, optimizer)
            if standing.step < asked.steps:
                folder.note_changes(asked.steps, notes["settings"])
        else:
            run = {**facts, "steps": asked.steps, **notes, "batch_norm": learner.batch_norm}
            folder.begin(run, fabric.device, _classes({"train": asked.tasks, "validation": asked.validation}))
    loggers = Loggers(asked.loggers if ranks.first else (), asked.run_dir)
    loggers.begin({**facts, "steps": asked.steps, "settings": notes["settings"]})
    lasting.push(loggers.ended)
    batches = Batches(asked.tasks, asked.meta_batch, ranks, named[0][1].dtype)
    parameters = [p for _, p in named]
    return Trainer(
        asked, standing, meta_loss, parameters, optimizer, batches, fabric.device, folder, loggers,
        saved_best=standing.best_step, restored=standing.step or -1,
    )  # fmt: skip


def _classes(parts: dict[str, TaskDistribution | None]) -> dict[str, Any]:
    """Return the names of the classes of each part, and digests of what they hold where they are of `ClassData`."""
    names = {name: [] if part is None else list(part.classes) for name, part in parts.items()}
    data = {name: getattr(part, "data", None) for name, part in parts.items()}
    contents = {name: list(digests(each)) for name, each in data.items() if isinstance(each, ClassData)}
    return {**names, **({"contents": contents} if contents else {})}


@dataclass
class Trainer:
    """One run: what was asked, how far it has come, and the parts that do it (see `prepared`).

    Where several processes train together, all have the same weights and decide alike, since whatever they decide by
    (losses, gradients, validation, signals) is exchanged first. Only the first one prints and writes.
    """

    asked: Settings
    standing: Standing
    meta_loss: MetaLoss
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    batches: Batches
    device: torch.device
    folder: RunFolder | None
    loggers: Loggers
    saved_best: int
    """The step of the best weights that lie in the run folder."""
    restored: int
    """The step of the checkpoint that the run went on from; -1 for a new one."""
    saved: int = 0
    """The last step of which this process wrote a checkpoint."""

    def run(self, show: bool) -> Run:
        """Train until done, early stop, interruption or a non-finite loss."""
        asked, standing, ranks = self.asked, self.standing, self.meta_loss.ranks
        # A run that had stopped early stays stopped when it is started again.
        stopped = standing.stopped(asked.patience)
        saved_at, first = time.monotonic(), standing.step
        with kept_pages(self.device), deferred_signals() as received, open_progress(show and ranks.first) as bar:
            ranks.received = received
            bar.start(asked.steps, standing.step)
            if asked.run_dir is not None and first:
                bar.resumed(str(asked.run_dir))
            while standing.step < asked.steps and not stopped:
                loss = self._step()
                step = standing.step
                if step % asked.log_every == 0 or step == asked.steps:
                    self._log({"step": step, "loss": loss, "lr": asked.outer.rate(step - 1, asked.steps)})
                bar.advance(step, loss)
                due = asked.validation is not None and step % asked.validate_every == 0
                if due or (asked.validation is not None and step == asked.steps):
                    stopped = self._validate(bar)
                signal = ranks.asked_to_stop()
                if signal or due or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                    self._save()
                    saved_at = time.monotonic()
                if signal:
                    ranks.wait()  # for the file: torchrun ends all processes once one has ended
                    end_by(signal, asked.run_dir if ranks.first else None)
        if standing.step > max(first, self.saved):
            self._save()
        ranks.wait()  # so that every process can read the run folder from here on
        return self._ended(stopped)

    def _ended(self, stopped: bool) -> Run:
        asked, standing = self.asked, self.standing
        if standing.best_weights is not None:
            asked.learner.load_state_dict(standing.best_weights)
        return Run(
            learner=asked.learner.eval(),
            history=standing.history,
            best=standing.best,
            best_step=standing.best_step,
            steps=standing.step,
            stopped_early=stopped,
            run_dir=asked.run_dir,
            evaluations=standing.step * asked.outer.evaluations(asked.meta_batch * self.meta_loss.ranks.size),
        )

    @in_turn
    def _step(self) -> float:
        asked, standing, ranks = self.asked, self.standing, self.meta_loss.ranks
        outer, step = asked.outer, standing.step
        batch = self.batches.at(step)
        keys = random.learner_keys(asked.seed, self.batches.indices(step).to(self.device))
        self._seed()
        self.optimizer.zero_grad(set_to_none=True)
        asked.objective.schedule(step / asked.steps)
        with matmuls_in(asked.matmul_dtype):
            losses = outer.estimate(self.meta_loss, batch, keys)
        if len(losses) != ranks.size * len(keys):
            raise InputError(
                f"{type(outer).__name__}.estimate returned {len(losses)} losses for {ranks.size} processes "
                f"of {len(keys)} tasks; it must return those of all: meta_loss.share(losses)"
            )
        grads = [p.grad for p in self.parameters if p.grad is not None]
        if step == 0 and not grads:
            raise InputError(
                f"no parameter of {type(asked.learner).__name__} gets a gradient from {type(outer).__name__} for "
                "this objective: what is judged does not depend on any"
            )
        norm = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros((), device=self.device)
        loss = losses.mean()
        if not math.isfinite(float(loss) + float(norm)):
            stop_non_finite(step, outer, self.meta_loss, asked.tasks, batch, keys, losses, self.folder)
        if outer.clip is not None and grads:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, outer.clip, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = outer.rate(step, asked.steps) * group["factor"]
        try:
            self.optimizer.step()
        except Exception as error:
            if step != self.restored or self.folder is None:
                raise
            last = self.folder.path / ckpt.LAST
            raise damaged(last, "optimizer", f"is of no such optimiser ({error})") from error
        standing.step += 1
        return float(loss)

    def _seed(self) -> None:
        """Make torch's own generator, which dropout in a user's net draws from, a function of seed, step and process.

        So it need not be saved, and processes drop different units.
        """
        text = f"{self.asked.seed} {self.standing.step} {self.meta_loss.ranks.rank}"
        number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(number)

    @in_turn
    def _validate(self, bar: Progress) -> bool:
        asked, standing = self.asked, self.standing
        assert asked.validation is not None
        report = evaluate(
            asked.learner,
            asked.validation,
            asked.validation_tasks,
            device=self.device,
            seed=VALIDATION_SEED,
            curve_steps=0,
            ranks=self.meta_loss.ranks,
        )
        asked.learner.train()
        self._log({"step": standing.step, f"validation_{report.metric}": report.mean})
        bar.validation(report.metric, report.mean)
        standing.take(report, asked.learner)
        return standing.stopped(asked.patience)

    def _log(self, row: dict[str, float]) -> None:
        self.standing.history.append(row)
        if self.folder is not None:
            self.folder.log(row)
        self.loggers.log(row)

    def _save(self) -> None:
        """Write the last checkpoint, then the best one: the weights of a best that a kill kept from its file are in the
        last checkpoint."""
        if self.folder is None:
            return
        outer = self.asked.outer
        content = {
            "learner": dict(self.asked.learner.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            **self.standing.content(),
            "outer": outer.state_dict() if self.meta_loss.ranks.size == 1 or outer.same_everywhere else {},
        }
        self.folder.save(ckpt.LAST, content)
        if self.standing.best_weights is not None and self.standing.best_step > self.saved_best:
            self.folder.save(ckpt.BEST, self.standing.best_content())
        self.saved, self.saved_best = self.standing.step, self.standing.best_step
        self.loggers.saved()
