"""The dtype of products, in several threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.inner.differentiation import Differentiation, Implicit, Unrolled
from quickstudy.objectives import query_loss
from quickstudy.operators.calls import call
from quickstudy.operators.precision import matmul_dtype, matmuls_in
from tests.helpers.task_batches import KEYS


def test_each_thread_has_its_own_matmul_dtype() -> None:
    net, x = nn.Linear(64, 64), torch.randn(8, 64)
    exact, _ = call(net, x)
    set_here, seen_there = threading.Barrier(2, timeout=60), threading.Barrier(2, timeout=60)

    def inside(dtype: torch.dtype | None) -> Tensor:
        with matmuls_in(dtype):
            set_here.wait()
            found, _ = call(net, x)
            # Neither leaves before the other has computed.
            seen_there.wait()
        return found.detach()

    with ThreadPoolExecutor(2) as threads:
        low, high = threads.map(inside, (torch.bfloat16, None))
    assert torch.equal(high, exact)
    rounded = nn.functional.linear(x.bfloat16(), net.weight.bfloat16(), net.bias.bfloat16()).float()
    assert torch.equal(low, rounded)
    assert not torch.equal(low, high)
    assert matmul_dtype.get() is None


@pytest.mark.parametrize("how", [Unrolled(checkpoint=1), Implicit("cg", 2)], ids=["checkpoint", "implicit"])
def test_backward_in_another_thread_multiplies_as_forward_did(how: Differentiation) -> None:
    # As autograd does on a GPU. These two run the net again in backward.
    learner = qs.learners.IMAML(qs.nets.mlp(1, (16,), 1), lr=0.1, steps=3)
    learner.differentiation = how
    tasks = qs.tasks.Sinusoid(5, 5).batch(0, 4)

    def gradients(elsewhere: bool, dtype: torch.dtype | None = torch.bfloat16) -> list[Tensor]:
        learner.zero_grad()
        with matmuls_in(dtype):
            loss = MetaLoss(learner, query_loss)(tasks, KEYS[:4]).mean()
            if elsewhere:
                thread = threading.Thread(target=loss.backward)
                thread.start()
                thread.join()
            else:
                loss.backward()  # type: ignore[no-untyped-call]
        return [p.grad.clone() for p in learner.parameters() if p.grad is not None]

    here = gradients(False)
    assert all(map(torch.equal, gradients(True), here))
    assert not all(map(torch.equal, gradients(False, None), here))
