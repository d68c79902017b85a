import pytest
import torch
from torch import nn

from quickstudy import optim, registry, shipped
from quickstudy.rules import LearnedRule


@pytest.fixture
def momentum(monkeypatch, tmp_path):
    """A shipped rule that torch.optim has too: momentum of 0.9, rate 0.01."""
    registry.fill("rule")
    monkeypatch.setitem(registry.TABLES, "rule", dict(registry.TABLES["rule"]))

    class Momentum(LearnedRule):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.01))

        def start(self, theta, steps=None):
            return {name: {"v": torch.zeros_like(p)} for name, p in theta.items()}

        def update(self, grads, state, theta, loss=None):
            v = {name: 0.9 * state[name]["v"] + g for name, g in grads.items()}
            return {name: p - self.rate * v[name] for name, p in theta.items()}, {name: {"v": v[name]} for name in v}

    registry.register("rule")(Momentum)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "weights")
    optim.save_rule(Momentum(), tmp_path / "weights" / "learned-optimizer.safetensors")
