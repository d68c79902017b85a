"""What is best on the machine at hand."""

import ast
import platform
import subprocess
import sys

import pytest
import torch

import quickstudy as qs
from quickstudy.engine import hardware
from quickstudy.engine.hardware import worth_compiling


def test_long_runs_on_a_cpu_are_recorded_and_those_of_small_nets_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, small, convolving = (
        torch.device("cpu"),
        qs.learners.ProtoNet(qs.nets.mlp(4, (8,))),
        qs.learners.ProtoNet(qs.nets.conv4()),
    )
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert worth_compiling(small, cpu, 60_000) is True
    assert worth_compiling(small, cpu, 1000) == "record", "compiling would not pay"
    assert worth_compiling(small, cpu, 100) is False, "recording would not pay"
    assert worth_compiling(convolving, cpu, 60_000) == "record", "these are faster uncompiled"
    assert worth_compiling(small, torch.device("cuda"), 60_000) is False
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert worth_compiling(small, cpu, 60_000) == "record", "nothing to compile with"


HOST = """
import gc, resource, sys
import numpy as np
import quickstudy as qs

def pages():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20

def kept(size, count):
    before = pages()
    blocks = [np.ones((size << 20) // 8) for _ in range(count)]
    grew = pages() - before
    del blocks
    gc.collect()
    assert grew > size * count - 30, grew
    return pages() - before

data = qs.datasets.arrays(np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 8)
tasks, learner = qs.tasks.FewShot(data, 2, 1, 2), qs.learners.ProtoNet(qs.nets.mlp(4, (4,), 4))
qs.evaluate(learner, tasks, 5)
found = [kept(size, 256 // size) for size in (32, 16, 4)]
try:
    qs.evaluate(learner, tasks, 5, progress=lambda *_: 1 / 0)
except ZeroDivisionError:
    pass
print(found + [kept(size, 256 // size) for size in (32, 16, 4)])
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="glibc's allocator")
def test_the_memory_of_the_host_goes_back_to_the_system_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", HOST], capture_output=True, text=True, check=True)
    assert max(ast.literal_eval(done.stdout)) < 80, done.stdout


def test_pages_are_kept_until_the_last_keeper_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            calls.append((option, value))
            return 1

        def malloc_trim(self, pad: int) -> int:
            calls.append((pad,))
            return 1

    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda name: Library())
    monkeypatch.setattr(hardware.platform, "system", lambda: "Linux")
    monkeypatch.setattr(hardware, "_keepers", 0)
    cpu = torch.device("cpu")
    with hardware.kept_pages(torch.device("cuda")):
        assert not calls
    with hardware.kept_pages(cpu):
        first = list(calls)
        assert (-4, 0) in first
        with pytest.raises(ZeroDivisionError), hardware.kept_pages(cpu):
            _ = 1 / 0
        assert calls == first, "the outer one still keeps them"
    assert calls[-1] == (0,)
    assert (-4, 65536) in calls[len(first) :]
    hardware.keep_pages()
    count = len(calls)
    with hardware.kept_pages(cpu):
        pass
    assert len(calls) == count, "kept for good"
