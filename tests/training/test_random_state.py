"""Global state is left as it was found: random generators, flags, the environment, signal handlers."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.functional.random import torch_state_kept
from quickstudy.registry import lookup


def state() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "warnings": len(warnings.filters),
        "hooks": (sys.excepthook, threading.excepthook),
        "folder": os.getcwd(),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
    }


def train(**options: Any) -> qs.Run:
    net = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    tasks, held = qs.tasks.Sinusoid(3, 3), qs.tasks.Sinusoid(3, 3, seed=1)
    given = {"steps": 3, "meta_batch": 2, "validation_tasks": 2, "progress": False, "device": "cpu", **options}
    return qs.meta_train(qs.learners.MAML(net), tasks, validation=held, **given)


def recipe() -> Any:
    return lookup("recipe", "sinusoid-maml").build(steps=2, meta_batch=2, validation_tasks=2, compile=False)


def rows() -> Any:
    return np.random.default_rng(0).normal(size=(6, 4)).astype("float32"), np.array([0, 0, 1, 1, 2, 2])


WORK: dict[str, Callable[[Path], Any]] = {
    "recipe": lambda folder: recipe().train(folder / "recipe", progress=False),
    "evaluate": lambda folder: qs.evaluate(qs.learners.NearestNeighbour(), qs.tasks.FewShot(BLOBS, 3), 4),
    "classifier": lambda folder: qs.FewShotClassifier().fit(*rows()).predict_proba(rows()[0]),
    "command": lambda folder: main(["list", "rules"]),
    "training command": lambda folder: main(
        ["train", "sinusoid-maml", "--steps", "1", "--meta-batch", "1", "--run-dir", str(folder / "x")]
    ),
    "load": lambda folder: qs.load(recipe().train(folder / "load", progress=False).run_dir or folder),
    "pretrained": lambda folder: qs.pretrained("drawings"),
}  # fmt: skip
BLOBS = qs.datasets.arrays(np.random.default_rng(0).normal(size=(24, 4)).astype("float32"), np.repeat(np.arange(6), 4))


@pytest.mark.parametrize("name", WORK)
def test_nothing_global_changes(name: str, tmp_path: Path) -> None:
    WORK[name](tmp_path / "first")  # whatever is imported on the way may change things once
    before = state()
    WORK[name](tmp_path)
    after = state()
    if "command" in name:
        # What reads the command line draws names; that makes no two draws the same.
        del before["python"], after["python"]
    assert after == before


@pytest.mark.parametrize("options", [{}, {"precision": "64-true"}, {"precision": "bf16-mixed"}, {"compile": "record"}])
def test_training_leaves_generators_as_they_were(options: dict[str, Any]) -> None:
    torch.manual_seed(5)
    train(**options)
    torch.manual_seed(5)
    torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    before = state()
    torch.manual_seed(5)
    train(**options)
    assert state() == before


def test_training_that_fails_leaves_them_so_too() -> None:
    torch.manual_seed(5)
    with pytest.raises(qs.errors.NonFiniteError):
        train(outer=qs.outer.Gradient(1e30, optimizer="sgd"), steps=50)
    torch.manual_seed(5)
    torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    expected = torch.rand(1)
    torch.manual_seed(5)
    with pytest.raises(qs.errors.NonFiniteError):
        train(outer=qs.outer.Gradient(1e30, optimizer="sgd"), steps=50)
    assert torch.equal(torch.rand(1), expected)


def test_repeats_without_a_seed_differ() -> None:
    found = [next(train().learner.parameters()).detach().flatten() for _ in range(3)]
    assert not any(torch.equal(found[i], found[j]) for i in range(3) for j in range(i))


def test_threads_at_once_leave_what_the_first_found() -> None:
    torch.manual_seed(1)
    before, inside, over = torch.get_rng_state(), threading.Event(), threading.Event()

    def other() -> None:
        with torch_state_kept():
            torch.manual_seed(3)
            inside.set()
            over.wait(10)

    thread = threading.Thread(target=other)
    with torch_state_kept():
        torch.manual_seed(2)
        thread.start()
        assert inside.wait(10)
    over.set()
    thread.join()
    assert torch.equal(torch.get_rng_state(), before)
