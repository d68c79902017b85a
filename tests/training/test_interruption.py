"""Runs that are killed at any moment and resumed end as if nothing had happened, bit for bit."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from quickstudy.storage import checkpoint as ckpt

ROOT = Path(__file__).parents[2]
STEPS = 150


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.interrupted_run", str(folder)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path) -> None:
    process = start(folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def interrupt(folder: Path, number: int, delay: float) -> tuple[int, str]:
    """Start a run, send a signal so long after training began, return its exit code and standard error."""
    started = folder.parent / "started"
    started.unlink(missing_ok=True)
    process = start(folder)
    while not started.exists():
        if process.poll() is not None:  # It had nothing left to do.
            return process.returncode, process.communicate()[1]
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def step_of(folder: Path) -> int:
    path = folder / "last.safetensors"
    return int(ckpt.load_checkpoint(path)["step"]) if path.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(folder)
    return folder


def same(folder: Path, whole: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        found, expected = ckpt.load_checkpoint(folder / name), ckpt.load_checkpoint(whole / name)
        equal(found, expected)
    assert ckpt.load_checkpoint(folder / "last.safetensors")["step"] == STEPS
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(found, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            equal(found[key], expected[key])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            equal(a, b)
    else:
        assert found == expected


def test_kill(whole: Path, tmp_path: Path) -> None:
    folder, chance, reached = tmp_path / "run", random.Random(), []
    for _ in range(4):
        code, _ = interrupt(folder, signal.SIGKILL, chance.uniform(0.05, 0.5))
        if code == 0:
            break  # It was faster than the kill.
        assert code == -signal.SIGKILL
        reached.append(step_of(folder))
    assert reached == sorted(reached)
    finish(folder)
    same(folder, whole)


def test_terminate_and_interrupt(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, errors = interrupt(folder, signal.SIGTERM, 0.4)
    assert code == 143
    assert f"saved to {folder}" in errors
    first = step_of(folder)
    assert 0 < first < STEPS
    code, errors = interrupt(folder, signal.SIGINT, 0.2)
    assert code in (-signal.SIGINT, 130)
    assert "KeyboardInterrupt" in errors
    assert first < step_of(folder) < STEPS
    finish(folder)
    same(folder, whole)
