"""What `test_distributed.py` has several processes do: distributed_run.py PART FOLDER, started as by torchrun."""

import json
import logging
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import quickstudy as qs
from quickstudy.cli import main as command
from quickstudy.engine.launch import launch
from quickstudy.engine.ranks import Ranks
from quickstudy.errors import InputError, NonFiniteError, RanksError
from quickstudy.objectives import query_loss
from quickstudy.training import join
from tests.helpers.blobs import make_blobs

TRAIN, HELD = make_blobs().split(fractions=(0.7, 0.3))


def make_learner(dropout: float = 0.0, hidden: int = 6) -> qs.learners.MAML:
    """Return a learner with other weights in every process: the first one's must win."""
    torch.manual_seed(launch().rank)
    net = nn.Sequential(nn.Linear(4, hidden), nn.Dropout(dropout), nn.Tanh(), nn.Linear(hidden, 3))
    return qs.learners.MAML(net, lr=0.1)


def train(
    folder: Path | None, meta_batch: int, steps: int = 9, dropout: float = 0.0, hidden: int = 6, **options: Any
) -> qs.Run:
    options = {"outer": qs.outer.Gradient(0.1, optimizer="adam", clip=1.0), "validate_every": 3, **options}
    return qs.meta_train(
        make_learner(dropout, hidden),
        qs.tasks.FewShot(TRAIN, ways=3, shots=(1, 2), queries=2),
        validation=qs.tasks.FewShot(HELD, ways=3, queries=2),
        steps=steps,
        meta_batch=meta_batch,
        run_dir=folder,
        validation_tasks=5,
        log_every=1,
        device="cpu",
        progress=False,
        **options,
    )


def evaluations(ranks: Ranks) -> list[qs.Report]:
    """Return reports with more chunks than processes, the last one smaller; then with fewer."""
    torch.manual_seed(0)
    learner = qs.learners.MAML(qs.nets.mlp(4, (6,), 3), lr=0.1)
    tasks = qs.tasks.FewShot(HELD, ways=3, shots=(1, 2), queries=4)
    lines = qs.learners.MAML(qs.nets.mlp(1, (8,), 1))
    waves = qs.tasks.Sinusoid(shots=3, queries=4)
    return [
        qs.evaluate(learner, tasks, 13, chunk=3, ranks=ranks),
        qs.evaluate(lines, waves, 7, chunk=2, ranks=ranks),
        qs.evaluate(learner, tasks, 13, ranks=ranks),
        qs.evaluate(lines, waves, 1, ranks=ranks),
    ]


def save_reports(path: Path, reports: list[qs.Report]) -> None:
    found = {}
    for i, report in enumerate(reports):
        found |= {f"{i}-values": report.values, f"{i}-curve": report.curve, f"{i}-bins": report.reliability}
        found |= {f"{i}-scalars": [report.mean, report.interval, report.calibration]}
    np.savez(path, **found)


def talk(ranks: Ranks) -> None:
    """Check the exchanges themselves."""
    r, n = ranks.rank, ranks.size
    assert torch.equal(ranks.mean(torch.tensor([1.0, r])), torch.tensor([1.0, (n - 1) / 2]))
    rows = torch.arange(6.0, dtype=torch.float64).reshape(3, 2) / 7
    own = rows[:1] if r == 0 else rows[1:]
    assert torch.equal(ranks.gather(own), rows)
    nothing = torch.zeros(0, 0, dtype=torch.float64) if r == 0 else rows
    assert torch.equal(ranks.gather(nothing), rows)
    assert ranks.gather(torch.tensor([r == 1])).tolist() == [False, True]
    assert ranks.gather(torch.tensor([], dtype=torch.long)).tolist() == []

    parameters = [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2))]
    parameters += [nn.Parameter(torch.ones(3).bfloat16()), nn.Parameter(torch.ones(1), requires_grad=False)]
    parameters[0].grad = torch.full((3, 2), float(r + 1)).t()
    parameters[2].grad = torch.ones(2) if r == 1 else None
    parameters[3].grad = torch.full((3,), 1.0 + r).bfloat16()
    losses = ranks.share(parameters, torch.tensor([r + 0.25, r + 0.5]))
    assert losses.tolist() == [0.25, 0.5, 1.25, 1.5]
    assert parameters[0].grad.tolist() == [[1.5] * 3] * 2
    assert parameters[0].grad.stride() == (1, 2)
    assert parameters[1].grad is None
    assert parameters[2].grad.tolist() == [0.5, 0.5]
    assert parameters[3].grad.tolist() == [1.5] * 3
    assert parameters[3].grad.dtype == torch.bfloat16


class Bad:
    """The second process's losses, or gradients alone, are not finite from step 2 on."""

    def __init__(self, gradient: bool) -> None:
        self.gradient, self.calls = gradient, 0

    def __call__(self, learner: Any, task: Any, key: Any) -> torch.Tensor:
        self.calls += 1
        loss = query_loss(learner, task, key)
        if launch().rank == 0 or self.calls < 3:
            return loss
        # The derivative of a square root is infinite at 0.
        return loss + (loss * 0).sqrt() if self.gradient else loss * math.nan


class Deaf(qs.outer.Gradient):
    """An outer optimiser that shares nothing."""

    def estimate(self, meta_loss: Any, tasks: Any, keys: Any) -> torch.Tensor:
        return meta_loss.backward(tasks, keys)


def dies(learner: Any, task: Any, key: Any) -> torch.Tensor:
    """Kill the second process in its step 2."""
    dies.calls = getattr(dies, "calls", 0) + 1
    if launch().rank == 1 and dies.calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return query_loss(learner, task, key)


def first(folder: Path) -> None:
    """Two processes do everything that ends well, then errors that all notice; at last the second one dies."""
    facts: dict[str, Any] = {}
    ranks = join("cpu")
    talk(ranks)
    run = train(folder / "together", 2)
    facts["weights"] = [p.flatten().tolist() for p in run.learner.parameters()]
    facts["loss"] = [row["loss"] for row in run.history if "loss" in row]
    train(folder / "reptile", 2, outer=qs.outer.Reptile(0.5))
    train(folder / "evolution", 2, outer=qs.outer.EvolutionStrategies(6, 0.1))
    train(folder / "cma", 2, outer=qs.outer.CMAES(0.1))
    train(folder / "legs", 2, steps=3)
    train(folder / "dropout-whole", 2, steps=4, dropout=0.5)
    train(folder / "dropout", 2, steps=1, dropout=0.5)
    train(folder / "dropout", 2, steps=4, dropout=0.5)
    early = train(None, 2, steps=40, patience=2, validate_every=1, outer=qs.outer.Gradient(1e-6))
    facts["early"] = [early.steps, early.stopped_early]
    reports = evaluations(ranks)
    if ranks.first:
        save_reports(folder / "reports.npz", reports)
    facts["means"] = [report.mean for report in reports]
    command(["evaluate", str(folder / "sine"), "--tasks", "9", "--device", "cpu"])
    for name, objective in {"loss": Bad(gradient=False), "gradient": Bad(gradient=True)}.items():
        try:
            train(folder / name, 2, objective=objective)
        except NonFiniteError as error:
            facts[name] = str(error)
    try:
        train(None, 2, outer=Deaf())
    except InputError as error:
        facts["deaf"] = str(error)
    (folder / f"first{ranks.rank}.json").write_text(json.dumps(facts))
    try:
        train(None, 2, objective=dies)
    except RanksError as error:
        (folder / "died.txt").write_text(str(error))
        # Threads of gloo that waited for the dead one may abort an orderly exit.
        os._exit(0)


def second(folder: Path) -> None:
    """Go on with a run, then train until stopped by a signal."""
    train(folder / "legs", 2)
    done, step = [0], qs.training.loop.Trainer._step

    def tell(trainer: Any) -> float:
        loss = step(trainer)
        done[0] = trainer.standing.step
        if done[0] == 5:
            (folder / f"started{launch().rank}").touch()
        return loss

    qs.training.loop.Trainer._step = tell
    try:
        train(folder / "stopped", 2, steps=10**6, validate_every=10**6)
    finally:
        (folder / f"step{launch().rank}.txt").write_text(str(done[0]))


def third(folder: Path) -> None:
    """Two processes that were to train different things, then one that stops without a word."""
    rank, facts = launch().rank, {}
    join("cpu")
    logging.basicConfig(filename=folder / f"log{rank}.txt")
    different: dict[str, dict[str, Any]] = {
        "seed": {"seed": rank},
        "steps": {"steps": 3 + rank},
        "meta_batch": {"meta_batch": 2 + rank},
        "outer": {"outer": qs.outer.Gradient(0.1 + rank)},
        "parameters": {"hidden": 6 + rank},
        "run_dir": {"folder": None if rank else folder / "run"},
    }
    for name, options in different.items():
        try:
            train(**{"folder": None, "meta_batch": 2, "steps": 3, **options})
        except RanksError as error:
            facts[name] = str(error)
    (folder / f"third{rank}.json").write_text(json.dumps(facts))
    qs.engine.ranks.REMARK_SECONDS = 0.4
    if rank == 1:
        (folder / "pid").write_text(str(os.getpid()))
        while True:
            time.sleep(1)
    try:
        train(None, 2)
    except RanksError as error:
        (folder / "late.txt").write_text(str(error))
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)


if __name__ == "__main__":
    {"first": first, "second": second, "third": third}[sys.argv[1]](Path(sys.argv[2]))
