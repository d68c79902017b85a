"""How long a step of the learned optimiser takes beside torch's Adam."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch.optim import Adam, Optimizer

from quickstudy.optim import LearnedOptimizer
from quickstudy_studies.learned_optimizer.held_out_nets import dense

SIZES = {"small": (64, 64, 64, 10), "medium": (64, 256, 256, 10), "large": (784, 800, 400, 10)}
"""Widths of MLPs of 9 thousand, 85 thousand and a million parameters."""


def step_times(repeats: int = 30, sizes: tuple[str, ...] = tuple(SIZES)) -> list[dict[str, Any]]:
    """Return the median milliseconds of `step` for each net and optimiser, gradients being there."""
    rows = []
    for name in sizes:
        net = dense(*SIZES[name])
        for p in net.parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
        makers: dict[str, Optimizer] = {
            "learned": LearnedOptimizer(net.parameters()),
            "Adam (foreach)": Adam(net.parameters(), foreach=True),
            "Adam (fused)": Adam(net.parameters(), fused=True),
        }
        row = {"net": name, "parameters": sum(p.numel() for p in net.parameters()), "tensors": 2 * len(SIZES[name]) - 2}
        rows.append({**row, "ms": {label: _median(each, repeats) for label, each in makers.items()}})
    return rows


def _median(optimizer: Optimizer, repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        begun = time.perf_counter()
        optimizer.step()
        times.append(time.perf_counter() - begun)
    # The first steps also build what is remembered.
    return round(1e3 * statistics.median(times[2:]), 4)
