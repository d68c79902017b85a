"""Muon for matrices beside AdamW for the rest: each against PyTorch's own, and against an exact decomposition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.outer.muon import MuonAdamW


def steps(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], count: int = 3, start: int = 0) -> None:
    """Take some steps with gradients that depend on nothing but their number."""
    for step in range(start, start + count):
        for i, p in enumerate(parameters):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * step + i))
        optimizer.step()


def parameters() -> list[nn.Parameter]:
    """Return a convolution's weight, a matrix and two vectors."""
    generator = torch.Generator().manual_seed(7)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((6, 2, 3, 3), (4, 5), (6,), (1,))]


def test_each_is_moved_by_pytorchs_rule() -> None:
    ours, conv, matrix, *rest = parameters(), *parameters()
    flat = nn.Parameter(conv.detach().reshape(6, 18))
    muon = torch.optim.Muon([flat, matrix], lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=0.1, weight_decay=0.3)
    for step in range(3):
        for i, p in enumerate((flat, matrix, *rest)):
            p.grad = torch.randn(ours[i].shape, generator=torch.Generator().manual_seed(10 * step + i)).view_as(p)
        muon.step()
        adamw.step()
    steps(MuonAdamW([{"params": ours}], lr=0.1, weight_decay=0.3), ours)
    for p, expected in zip(ours, (flat, matrix, *rest), strict=True):
        torch.testing.assert_close(p.detach().view_as(expected), expected.detach())


def test_a_matrix_moves_by_its_gradients_nearest_orthogonal_one() -> None:
    p = nn.Parameter(torch.zeros(8, 30))
    optimizer = MuonAdamW([{"params": [p]}], lr=0.01)
    steps(optimizer, [p], 1)
    assert p.grad is not None
    u, _, v = torch.linalg.svd(p.grad, full_matrices=False)
    exact = -0.01 * 0.2 * 30**0.5 * u @ v
    assert torch.cosine_similarity(p.detach().flatten(), exact.flatten(), dim=0) > 0.98
    assert 0.7 < float(p.detach().norm() / exact.norm()) < 1.3  # five iterations leave singular values near one


def test_groups_have_rates_of_their_own() -> None:
    slow, fast = nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(3, 4))
    optimizer = qs.outer.Gradient(0.1, optimizer="muon", factors={"net.": 0.1}).optimizer(
        [("net.weight", slow), ("head", fast)]
    )
    for group in optimizer.param_groups:
        group["lr"] = 0.5 * group["factor"]
    slow.grad = fast.grad = torch.eye(3, 4)
    optimizer.step()
    torch.testing.assert_close(10 * slow.detach(), fast.detach())
    assert float(fast.detach().abs().max()) > 0.1


def test_what_has_no_gradient_stays_and_a_closure_is_called() -> None:
    still, moved = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = MuonAdamW([{"params": [still, moved]}])

    def closure() -> torch.Tensor:
        loss = moved.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    assert float(optimizer.step(closure)) == 4.0
    assert bool((still == 1).all())
    assert bool((moved < 1).all())


def test_a_saved_state_goes_on_as_if_it_had_not_stopped() -> None:
    whole, halves = parameters(), parameters()
    steps(MuonAdamW([{"params": whole}], lr=0.1), whole, 5)
    first = MuonAdamW([{"params": halves}], lr=0.1)
    steps(first, halves, 2)
    second = MuonAdamW([{"params": halves}], lr=0.1)
    second.load_state_dict(first.state_dict())
    steps(second, halves, 3, start=2)
    for one, other in zip(whole, halves, strict=True):
        assert torch.equal(one, other)


def test_an_interrupted_run_resumes(blobs: qs.datasets.ClassData, tmp_path: Path) -> None:
    def train(folder: Path, steps: int) -> qs.learners.ProtoNet:
        torch.manual_seed(0)
        learner = qs.learners.ProtoNet(qs.nets.mlp(4, (5, 3)))
        outer = qs.outer.Gradient(0.01, optimizer="muon")
        tasks = qs.tasks.FewShot(blobs, 3, 1, 2)
        qs.meta_train(learner, tasks, outer, steps=steps, meta_batch=2, run_dir=folder, progress=False)
        return learner

    whole = train(tmp_path / "whole", 6)
    train(tmp_path / "halves", 3)
    resumed = train(tmp_path / "halves", 6)
    for name, value in whole.named_parameters():
        torch.testing.assert_close(dict(resumed.named_parameters())[name], value, msg=name)
    assert not any(map(torch.equal, whole.parameters(), qs.learners.ProtoNet(qs.nets.mlp(4, (5, 3))).parameters()))


def test_another_optimisers_state_is_refused() -> None:
    given = parameters()
    saved = torch.optim.Adam(given).state_dict()
    with pytest.raises(qs.errors.CheckpointError, match="another optimiser's"):
        MuonAdamW([{"params": given}]).load_state_dict(saved)


@pytest.mark.parametrize("rule", ["gradient", "reptile"])
def test_every_outer_takes_it(rule: str) -> None:
    outer = {"gradient": qs.outer.Gradient, "reptile": qs.outer.Reptile}[rule](0.1, optimizer="muon")  # type: ignore[operator]
    optimizer = outer.optimizer([("w", nn.Parameter(torch.zeros(2, 2)))])
    assert isinstance(optimizer, MuonAdamW)
