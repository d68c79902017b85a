"""What machine this is: its names, versions, and measured matrix-product rates."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("quickstudy", "torch", "numpy", "higher", "torchopt", "easyfsl", "jax", "jaxlib", "optax", "torchvision")
ROOT = Path(__file__).parent.parent


def use_threads(threads: int | None) -> int:
    """Keep this process and those it starts to so many cores; return the number."""
    have = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    count = min(threads or len(have), len(have))
    if hasattr(os, "sched_setaffinity"):
        # Holds for libraries with pools of their own, too.
        os.sched_setaffinity(0, have[:count])
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)
    return count


def describe(threads: int, device: str) -> dict[str, Any]:
    """Return facts about the machine and the software."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load": load(),
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "revision": _git("rev-parse", "--short", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks")),
    }


def load(seconds: float = 1.0) -> float:
    """Return how many cores are at work while this process waits: what others take of the machine."""

    def ticks() -> tuple[int, int]:
        user, nice, system, idle, iowait, *rest = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
        return user + nice + system + sum(rest), idle + iowait

    try:
        busy, idle = ticks()
        time.sleep(seconds)
        busy, idle = (after - before for after, before in zip(ticks(), (busy, idle), strict=True))
    except OSError:  # no Linux
        return round(os.getloadavg()[0], 2)
    return round((os.cpu_count() or 1) * busy / max(1, busy + idle), 2)


def cpu_name() -> str:
    """Return what the CPU calls itself, with its vector instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    best = next((flag for flag in ("amx_tile", "avx512_bf16", "avx512f", "avx2") if flag in flags), "")
    return f"{facts.get('model name', platform.machine())} ({best})" if best else facts.get("model name", "")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def rates(device: str, size: int | None = None, repeats: int = 5) -> dict[str, float]:
    """Return the best rate of a square matrix product in FLOP/s, for each dtype that cases use."""
    size = size or (2048 if device == "cpu" else 8192)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        best = float("inf")
        for _ in range(repeats + 1):  # the first one only warms up, and is never the best
            start = time.perf_counter()
            a @ b
            if device != "cpu":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        found[str(dtype).removeprefix("torch.")] = 2 * size**3 / best
    return found
