"""Choices that suit the machine at hand."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from quickstudy.batching import Compile
from quickstudy.core import Learner
from quickstudy.operators.internals import AnyConvolution

_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -4, -3, -1
_LARGE = 32 * 2**20
_lock = threading.Lock()
_keepers = 0


@contextlib.contextmanager
def kept_pages(device: torch.device) -> Iterator[None]:
    """Let glibc keep freed memory meanwhile: on CPUs, to return pages and touch them anew costs a fifth of the time.

    Afterwards freed memory goes back to the system, and goes on doing so. glibc's thresholds are then those that its
    own rule arrives at in a process that has freed a block of 32 MB. It has no way to ask for the ones before.

    Args:
        device: where arithmetic is done; nothing happens unless it is a CPU.
    """
    if device.type != "cpu":
        yield
        return
    _count_keepers(1)
    try:
        yield
    finally:
        _count_keepers(-1)


def keep_pages() -> None:
    """Let glibc keep freed memory for good, all of this process's: for scripts that only train or evaluate."""
    _count_keepers(1)


def _count_keepers(more: int) -> None:
    """Set glibc's thresholds when the first keeper comes and when the last one goes; several threads may keep pages."""
    global _keepers
    with _lock, contextlib.suppress(OSError, AttributeError):
        before, _keepers = _keepers, _keepers + more
        if platform.system() != "Linux" or (before > 0) == (_keepers > 0):
            return
        libc = ctypes.CDLL("libc.so.6")
        if _keepers:
            libc.mallopt(_MMAP_MAX, 0)  # no mapping of its own for large blocks
            libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        else:
            libc.mallopt(_MMAP_MAX, 65536)
            libc.mallopt(_MMAP_THRESHOLD, _LARGE)
            libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGE)
            libc.malloc_trim(0)


SOME_STEPS, MANY_STEPS = 200, 5000
"""Outer steps that pay for recording, and for compiling: they take seconds once, and save milliseconds each."""


def worth_compiling(learner: Learner, device: torch.device, steps: int) -> Compile:
    """Choose the compile mode when the user gave none: on a CPU recorded, and in long runs of small nets compiled.

    Convolutions are faster uncompiled, where they run on maps whose channels come last (`operators.channels_last`).
    """
    if device.type != "cpu" or steps < SOME_STEPS:
        return False
    convolves = any(isinstance(module, AnyConvolution) for module in learner.modules())
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    return True if steps >= MANY_STEPS and not convolves and compiler is not None else "record"


def processor() -> str:
    """Return the number and the name of the CPU's cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()
