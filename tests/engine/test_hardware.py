"""What is best on the machine at hand."""

import pytest
import torch

import quickstudy as qs
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
