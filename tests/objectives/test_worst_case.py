"""The worst tasks, against sorting by hand and the minimum that defines CVaR."""

import pytest
import torch

from quickstudy import batching
from quickstudy.core import Examples
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import InputError
from quickstudy.objectives import AnnealedSteps, Reward, WorstCase, query_loss
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers.task_batches import KEYS, tasks

pytestmark = pytest.mark.usefixtures("float64")
LOSSES = torch.tensor([0.3, 2.0, -1.0, 1.5, 0.9], dtype=torch.float64)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 2.0), (0.1, 2.0), (0.2, 2.0), (0.4, 1.75), (0.5, (2 + 1.5 + 0.5 * 0.9) / 2.5), (1.0, 0.74)],
)
def test_the_worst_share_by_hand(share: float, expected: float) -> None:
    assert float(WorstCase(share).combine(LOSSES)) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.2, 0.37, 0.5, 0.83, 1.0])
def test_is_the_minimum_that_defines_cvar(share: float) -> None:
    losses = torch.randn(11)
    # The minimum over c of a convex function with kinks at the losses is at one of them.
    excess = (losses - losses.unsqueeze(1)).clamp_min(0).mean(1)
    assert float(WorstCase(share).combine(losses)) == pytest.approx(float((losses + excess / share).min()))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_its_gradient(share: float) -> None:
    losses = LOSSES.clone().requires_grad_()
    assert torch.autograd.gradcheck(WorstCase(share).combine, (losses,))
    (slope,) = torch.autograd.grad(WorstCase(share).combine(losses), losses)
    by_hand = {0.0: [0, 1, 0, 0, 0], 0.5: [0, 0.4, 0, 0.4, 0.2], 1.0: [0.2] * 5}[share]
    assert slope.tolist() == pytest.approx(by_hand)


def test_one_task_is_itself() -> None:
    assert float(WorstCase(0.5).combine(torch.tensor([3.0]))) == 3


@pytest.mark.parametrize("chunk", [None, 2])
def test_meta_gradient_is_that_of_the_combined_loss(chunk: int | None) -> None:
    learner, objective = CLASSIFICATION["MAML"](mlp, WAYS).double(), WorstCase(0.4)
    batch = batching.to_dtype(tasks(), torch.float64)
    losses = MetaLoss(learner, objective, chunk).backward(batch, KEYS)
    found = [p.grad for p in learner.parameters()]
    looped = torch.stack([query_loss(learner, batching.select(batch, i), KEYS[i]) for i in range(7)])
    torch.testing.assert_close(losses, looped.detach())
    expected = torch.autograd.grad(objective.combine(looped), list(learner.parameters()))
    torch.testing.assert_close(found, list(expected))


def test_passes_on_what_it_wraps() -> None:
    plain, steps, reward = WorstCase(), WorstCase(of=AnnealedSteps()), WorstCase(of=Reward())
    assert plain.judges_end
    assert not plain.rewards
    assert plain.differentiable
    # It compares tasks, so it is no longer the learner's own loss.
    assert query_loss.learners_own
    assert not plain.learners_own
    assert plain.compares_tasks
    assert plain.weight(torch.arange(1, 3), 2).tolist() == [0, 1]
    with pytest.raises(NotImplementedError):
        plain.reward(torch.zeros(1), Examples(torch.zeros(1), torch.zeros(1)))
    assert steps.judges_states
    assert not steps.judges_end
    steps.schedule(0.5)
    assert steps.of.done == 0.5
    assert steps.weight(torch.arange(1, 3), 2).tolist() == [0, 1]
    assert reward.differentiable is False
    assert reward.rewards
    query = Examples(torch.zeros(2, 1), torch.tensor([0, 1]))
    assert reward.reward(torch.tensor([0, 0]), query).tolist() == [1, 0]
    assert [name for name, _ in steps.named_buffers()] == ["of.done"]


def test_arguments() -> None:
    for share in (-0.1, 1.1):
        with pytest.raises(InputError, match="share must lie"):
            WorstCase(share)
    with pytest.raises(InputError, match="unknown objective 'query_los'; did you mean 'query_loss'"):
        WorstCase(of="query_los")
    with pytest.raises(InputError, match="an objective is a function"):
        WorstCase(of=3)  # type: ignore[arg-type]
