"""Choices that suit the machine at hand."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
from pathlib import Path

import torch

from quickstudy.batching import Compile
from quickstudy.core import Learner
from quickstudy.operators.internals import AnyConvolution


def keep_pages() -> None:
    """Ask glibc to keep freed memory: on CPUs, returning and touching pages anew costs more than the arithmetic."""
    if platform.system() == "Linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for large blocks
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


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
