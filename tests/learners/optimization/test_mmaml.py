"""MMAML: the modulation is the encoder's, and stays."""

import pytest
import torch

import quickstudy as qs
from quickstudy import nets
from quickstudy.errors import InputError
from quickstudy.learners import MMAML
from quickstudy.testing.specimens import regression_task


def learner(**options):
    torch.manual_seed(0)
    return MMAML(nets.modulated_mlp(1, (5, 4)), features=1, width=6, lr=0.05, steps=3, **options).double()


def doubled():
    return qs.batching.to_dtype(regression_task(), torch.float64)


@pytest.mark.parametrize("modulation", ["film", "sigmoid"])
def test_modulated_net_is_its_formula(modulation: str) -> None:
    torch.manual_seed(0)
    net = nets.modulated_mlp(2, (3, 4), 2, modulation)
    assert net.context == (14 if modulation == "film" else 7)
    x, context = torch.randn(6, 2), torch.randn(net.context)
    h, rest = x, context.tolist()
    for layer in net.layers:
        h = h @ layer.weight.T + layer.bias
        width = h.shape[1]
        first, rest = torch.tensor(rest[:width]), rest[width:]
        if modulation == "film":
            second, rest = torch.tensor(rest[:width]), rest[width:]
            h = h * (1 + first) + second
        else:
            h = h / (1 + torch.exp(-first))
        h = h.clamp_min(0)
    torch.testing.assert_close(net(x, context), h @ net.head.weight.T + net.head.bias)


def test_inner_loop_moves_the_net_but_not_the_modulation() -> None:
    model, task = learner(), doubled()
    state = model.adapt(task.support)
    tau = model.adapted.encoder(task.support)
    assert torch.equal(state.theta["context"], tau)
    # The same steps by hand, through autograd, from the net's own parameters.
    theta = {name: value.detach().clone().requires_grad_() for name, value in model.adapted.net.named_parameters()}
    for _ in range(3):
        outputs = torch.func.functional_call(model.adapted.net, theta, (task.support.inputs, tau.detach()))
        grads = torch.autograd.grad((outputs - task.support.labels).square().mean(), list(theta.values()))
        theta = {
            name: (value - 0.05 * g).detach().requires_grad_()
            for (name, value), g in zip(theta.items(), grads, strict=True)
        }
    for name, value in theta.items():
        torch.testing.assert_close(state.theta[name], value)


def test_large_inner_gradients_are_clamped() -> None:
    task = doubled()
    free, held = learner(), learner(clip=1e-3)
    start = dict(held.adapted.net.named_parameters())
    moved = held.adapt(task.support).theta
    largest = max(float((moved[name] - value).detach().abs().max()) for name, value in start.items())
    assert largest == pytest.approx(3 * 0.05 * 1e-3, rel=0.01)
    assert not torch.equal(free.adapt(task.support).theta["head.bias"], moved["head.bias"])


def test_one_task_encoder_tells_families_apart() -> None:
    torch.manual_seed(0)
    model = MMAML(nets.modulated_mlp(1, (20, 20)), features=1, width=20, lr=1e-3, steps=1)
    tasks = qs.tasks.MultiModal(("sine", "linear"), queries=10)
    before = qs.evaluate(model, tasks, tasks=60).mean
    qs.meta_train(model, tasks, qs.outer.Gradient(lr=5e-3), steps=100, meta_batch=10, compile=False, progress=False)
    # No one function of x is right for more than chance: what is gained, the support told.
    assert qs.evaluate(model, tasks, tasks=60).mean < 0.4 * before


def test_wrong_nets() -> None:
    with pytest.raises(InputError, match="takes no context"):
        MMAML(nets.mlp(1, (4,), outputs=1), features=1)
    with pytest.raises(InputError, match="size of what it reads"):
        MMAML(nets.modulated_mlp(1, (4,)))
    with pytest.raises(InputError, match="must be positive"):
        MMAML(nets.modulated_mlp(1, (4,)), features=1, lr=0.0)
    with pytest.raises(InputError, match="unknown modulation 'softmax'"):
        nets.modulated_mlp(1, (4,), modulation="softmax")
