"""Meta-training: one loop for every learner, outer optimiser, objective and task distribution.

What it promises: task i of the stream is a pure function of (seed, i) and everything else is in the checkpoint, so a
run that is interrupted at any moment and resumed ends with bit-identical weights (on the CPU).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from quickstudy.batching import Compile
from quickstudy.core import Learner
from quickstudy.engine.launch import launch
from quickstudy.engine.objective import LossOfTask, Objective
from quickstudy.engine.ranks import ALONE, Ranks, joined
from quickstudy.errors import InputError
from quickstudy.functional.numbers import whole
from quickstudy.objectives.base import named
from quickstudy.outer.base import Outer
from quickstudy.plugins import needed
from quickstudy.registry import describe, lookup
from quickstudy.tasks.base import TaskDistribution
from quickstudy.training.loggers import Logger
from quickstudy.training.loggers import check as check_loggers
from quickstudy.training.loop import Run, prepared
from quickstudy.training.objective_code import code_of
from quickstudy.training.refusals import refusal, too_long
from quickstudy.training.settings import Settings

__all__ = ["Run", "check_disjoint", "join", "meta_train"]

PRECISIONS = ("32-true", "64-true", "bf16-true", "bf16-mixed")


def meta_train(
    learner: Learner,
    tasks: TaskDistribution,
    outer: Outer | None = None,
    validation: TaskDistribution | None = None,
    steps: int = 1000,
    meta_batch: int = 16,
    run_dir: str | os.PathLike[str] | None = None,
    *,
    objective: Objective | LossOfTask | str | None = None,
    validate_every: int | None = None,
    validation_tasks: int = 100,
    patience: int | None = None,
    log_every: int = 20,
    seed: int = 0,
    device: str = "auto",
    precision: str = "32-true",
    chunk: int | None = None,
    compile: Compile | None = None,
    resume: bool = True,
    progress: bool = True,
    tensorboard: bool = False,
    loggers: Logger | str | Sequence[Logger | str] = (),
    settings: dict[str, Any] | None = None,
    test: TaskDistribution | None = None,
) -> Run:
    """Meta-train a learner.

    Args:
        learner: what learns; changed in place.
        tasks: stream of meta-training tasks.
        outer: outer optimiser; None takes the learner's default (`outer.Gradient()` for most).
        validation: tasks of other classes, for choosing the best weights and early stopping.
        steps: outer steps.
        meta_batch: tasks an outer step (of each process, where there are several). A resumed run keeps its tasks a
            step: with another number of processes each takes an equal part of them.
        run_dir: folder for checkpoints, logs and description; None keeps nothing. A folder with an interrupted run
            of the same description is resumed. While this process trains there, no other may.
        objective: function (learner, task, key) -> scalar, or the name of one in `quickstudy.objectives`; None takes
            the learner's default, or 'sequence' where tasks are sequences.
        validate_every: outer steps between validations; None makes ten in all.
        validation_tasks: tasks of a validation, always the same.
        patience: stop after so many validations without a better one; None never.
        log_every: outer steps between rows of the log.
        seed: of everything that training draws besides tasks. Torch's own generator, from which a net's dropout draws,
            is set from (seed, step, process) before each step, and at the end put back to what it was.
        device: 'auto' (CUDA where there is one, else the CPU), 'cpu', 'cuda', ... (Lightning Fabric's accelerators).
        precision: '32-true', '64-true', 'bf16-true' or 'bf16-mixed' (nets multiply and convolve in bfloat16;
            parameters, inner and outer updates, norms and losses keep 32 bits).
        chunk: tasks at once; None chooses.
        compile: compile losses and meta-gradient as a whole, which takes 5 to 60 s once and is kept in PyTorch's
            cache on disk; 'record' only records them, in a second or two, and replays without Python's and autograd's
            share of the time (see `recording`); None chooses (see `hardware.worth_compiling`).
        resume: go on with an interrupted run in run_dir; False starts anew.
        progress: show progress on standard error.
        tensorboard: also write TensorBoard events (needs the extra 'tensorboard').
        loggers: objects with `log_metrics(metrics, step)`, as those of Lightning Fabric, or 'csv', 'tensorboard',
            'wandb' or 'mlflow' (see `training.loggers`). They are told the rows of the log, each once, when a
            checkpoint has been written. One that raises is told nothing more, and the training goes on.
        settings: anything else to keep in run.json (a recipe's configuration).
        test: tasks for the figure, which training does not look at. The run folder describes them, so that
            `quickstudy evaluate` and `report` find them; None lets them take the part of a split that is left.

    Returns:
        The run. Interrupted by Ctrl-C or SIGTERM it saves a checkpoint first, then raises.

    Raises:
        InputError: training and validation classes overlap, a setting is out of range, or the outer optimiser cannot
            train this learner for this objective.
        NonFiniteError: a loss or gradient is NaN or infinite; the tasks that caused it are in the run folder.
        CheckpointError: another process trains in the run folder, it is damaged, or it cannot be written; or its tasks
            a step cannot be shared evenly by so many processes.
        AnotherRunError: the run folder holds another run; the error names what differs.
        LaunchError: what torchrun or srun set in the environment cannot be true.
        RanksError: another process of the run is gone, does not answer, or trains something else.
        KeyboardInterrupt: on Ctrl-C, after saving.
    """
    if not isinstance(learner, Learner):
        raise InputError(f"learner must be a quickstudy learner around a net, not {type(learner).__name__}")
    for name, each in (("tasks", tasks), ("validation", validation), ("test", test)):
        if not isinstance(each, TaskDistribution) and (each is not None or name == "tasks"):
            kind = type(each).__name__
            raise InputError(f"{name} must be a task distribution, such as tasks.FewShot(data), not {kind}")
    if outer is not None and not isinstance(outer, Outer):
        raise InputError(f"outer must be an outer optimiser, such as outer.Gradient(lr=1e-3), not {outer!r}")
    least = {"steps": steps, "meta_batch": meta_batch, "log_every": log_every, "validation_tasks": validation_tasks}
    least |= {name: n for name, n in {"validate_every": validate_every, "patience": patience}.items() if n is not None}
    least = {name: whole(name, value) for name, value in least.items()}
    steps, meta_batch, log_every, validation_tasks, *_ = least.values()
    validate_every, patience = least.get("validate_every"), least.get("patience")
    seed, chunk = whole("seed", seed, None), None if chunk is None else whole("chunk", chunk)
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is not one of {', '.join(PRECISIONS)}")
    check_disjoint(tasks, validation)
    if outer is None:
        outer = lookup("outer", learner.default_outer).build()
    assert outer is not None
    objective = named(objective or ("sequence" if tasks.sequential else learner.default_objective))
    learner.train()
    reason = refusal(outer, learner, objective) or too_long(learner, tasks)
    if reason is not None:
        raise InputError(reason)
    asked = Settings(
        learner=learner,
        tasks=tasks,
        validation=validation,
        outer=outer,
        objective=objective,
        steps=steps,
        meta_batch=meta_batch,
        run_dir=None if run_dir is None else Path(run_dir),
        validate_every=validate_every or max(1, steps // 10),
        validation_tasks=validation_tasks,
        patience=patience,
        log_every=log_every,
        seed=seed,
        chunk=chunk,
        compile=compile,
        loggers=[*check_loggers(loggers), *(["tensorboard"] if tensorboard and run_dir is not None else [])],
        matmul_dtype=torch.bfloat16 if precision == "bf16-mixed" else None,
    )
    facts = {
        "learner": describe(learner),
        "outer": describe(outer),
        "objective": describe(objective) if hasattr(objective, "config") else objective.name,
        "tasks": {**tasks.describe(), "fingerprint": tasks.fingerprint},
        "validation": None if validation is None else {**validation.describe(), "fingerprint": validation.fingerprint},
        "validation_tasks": None if validation is None else validation_tasks,
        "meta_batch": meta_batch,
        "seed": seed,
        "precision": precision,
    }
    if not hasattr(objective, "config"):
        facts["objective_code"] = code_of(objective)
    # Autocast does not work inside torch.func.grad: nets are called in mixed precision by `operators.calls`.
    fabric = _fabric(device, "32-true" if precision == "bf16-mixed" else precision)
    origins = {
        "distributions": {"train": describe(tasks), "validation": describe(validation), "test": describe(test)},
        "imports": needed(
            learner, outer, objective, tasks, validation, test, {"recipe": (settings or {}).get("recipe", "")}
        ),
    }
    notes = {"settings": settings or {}, **origins}
    with ExitStack() as lasting:
        return prepared(asked, fabric, facts, notes, resume, lasting).run(progress)


def _fabric(device: str, precision: str) -> Fabric:
    """Return a Fabric of one process, or of all those that torchrun or srun started."""
    started = launch()
    started.check()
    # Apple's GPUs lack float64, which drawing tasks needs, so they are never chosen unasked.
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        return Fabric(
            accelerator=chosen,
            strategy=DDPStrategy(timeout=timedelta(seconds=started.timeout)) if started.size > 1 else "auto",
            devices=started.size // started.nodes,
            num_nodes=started.nodes,
            precision=precision,  # type: ignore[arg-type]
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"device='{device}' cannot be used here ({error}); try device='cpu'") from error


def join(device: str = "auto") -> Ranks:
    """Return the processes that torchrun or srun started, for work that is no training: `evaluate(..., ranks=join())`.

    Raises:
        InputError: the device cannot be used, or machines have different numbers of processes.
    """
    if launch().size == 1:
        return ALONE
    return joined(_fabric(device, PRECISIONS[0]))


def check_disjoint(tasks: TaskDistribution, other: TaskDistribution | None) -> None:
    """Raise InputError if two distributions share a class: results on seen classes say nothing about learning.

    Problems of optimisation may: what is new in them is not their classes.
    """
    if other is None or tasks.metric == "loss" or tasks.fingerprint == "" or other.fingerprint == "":
        return
    overlap = set(tasks.classes) & set(other.classes)
    if overlap:
        raise InputError(
            f"{len(overlap)} classes are both in meta-training and in held-out tasks, such as '{min(overlap)}'; "
            "split the data with data.split(...), whose parts are disjoint"
        )
