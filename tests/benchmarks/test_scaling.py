"""The model of scaling, and the page that it writes. Nothing is timed here."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.scaling_model import Cluster, Local, Workload, cluster_parts, line, wait

from benchmarks import scaling, scaling_tables

ROOT = Path(__file__).parents[2]

COUNTS = (1, 2, 4, 8)
TRUE = Local(
    cores=2, fixed=0.02, task=0.05, validation=0.03, contention=1.1, spread=0.0, latency=1e-4, bandwidth=1e9, bytes=4e5
)


def rounds(seconds):
    return {"step": seconds, "quartiles": [seconds, seconds], "steps": [seconds], "compute": 0.0, "exchange": 0.0}


def measured():
    """Return what would be measured where the model holds."""
    return {
        "environment": {
            "cores": 2, "date": "2026-01-01", "cpu": "a CPU", "revision": "0", "changed": False, "load": 0.0,
            "versions": {"torch": "2"},
        },
        "meta_batch": 16, "minutes": 1.0, "facts": {"parameters": 1e5, "flops": 2e9},
        "backward": {str(m): 0.01 + m * 0.049 for m in (1, 2, 4, 8, 16)},
        "rest": 0.01, "draw": 0.001, "contention": 1.1, "spread": 0.0, "validation": 0.03, "validation_tasks": 64,
        "sums": {str(size): 2e-4 + size * 4 / 1e9 for size in (64, 4096, 262144)},
        "evaluations": {str(n): TRUE.evaluation(n, 64) for n in COUNTS}, "checkpoint": 0.01,
        "rounds": {"one": rounds(0.5), **{str(n): rounds(TRUE.step(n, 16)) for n in COUNTS}},
    }  # fmt: skip


def test_fit_finds_the_constants():
    found = Local.fit(measured())
    for name in ("fixed", "task", "contention", "latency", "bandwidth", "bytes", "validation"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=1e-6), name
    assert found.step(8, 16) == pytest.approx(TRUE.step(8, 16))


def test_line_never_falls_below_zero():
    assert line({1: 1.0, 2: 1.0, 4: 1.0}) == (pytest.approx(1.0), pytest.approx(0.0))
    assert line({1: 1.0, 2: 2.0, 4: 4.5})[0] == 0.0


@pytest.mark.parametrize("n", [2, 8, 64, 1000])
def test_wait_is_the_largest_of_normal_numbers(n):
    assert wait(n) == pytest.approx(np.random.default_rng(0).normal(size=(2000, n)).max(1).mean(), abs=0.06)


def test_a_step_is_its_parts():
    # One process computes alone; eight on two cores wait four times as long for a core.
    assert TRUE.step(1, 16) == pytest.approx(0.02 + 16 * 0.05)
    assert TRUE.parts(8, 16)["compute"] == pytest.approx(1.1 * 4 * (0.02 + 2 * 0.05))
    assert TRUE.parts(2, 16)["exchange"] == pytest.approx(2e-4 + 4e5 / 1e9)


def test_cluster():
    load = Workload("a net", parameters=1e6, flops=1e12, tasks=2, total=64)
    alone = cluster_parts(Cluster(), load, 1, 2)
    assert alone["compute"] == pytest.approx(0.01 + 2e12 / 20e12)
    assert alone["slowest"] == alone["exchange"] == 0
    assert cluster_parts(Cluster(), load, 8, 2)["exchange"] == pytest.approx(6 * 20e-6 + 1.75 * 4e6 / 200e9)
    assert cluster_parts(Cluster(), load, 64, 2)["exchange"] == pytest.approx(12 * 20e-6 + 126 / 64 * 4e6 / 25e9)


def test_page_shows_the_tables(tmp_path):
    found = measured()
    text = scaling.page("before\n<!-- results -->\nold\n<!-- /results -->\nafter", found)
    assert text.startswith("before")
    assert text.endswith("after")
    assert "old" not in text
    assert "| 8, 1 thread each |" in text
    assert "+0%" in text
    assert "None of this was measured on GPUs" in text
    scaling_tables.draw(found, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_rounds_are_summed_up():
    turns = [[{"step": s + r, "compute": [1.0, 2.0], "exchange": [0.5]} for r in (0.0, 0.5)] for s in (1.0, 9.0, 2.0)]
    found = scaling.summary(turns)
    assert (found["step"], found["compute"], found["exchange"]) == (2.5, 1.5, 0.5)
    assert scaling.relative_spread([1.0, 2.0, 3.0]) == pytest.approx(0.5 / 1.349)


def test_the_page_is_current():
    kept = json.loads(scaling.KEPT.read_text()) if scaling.KEPT.exists() else None
    text = scaling.PAGE.read_text()
    assert scaling.page(text, kept) == text
