"""Nets that rely on PyTorch's order in memory: the same values and gradients as plain PyTorch, one task or many."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap

import quickstudy as qs
from quickstudy.operators.calls import call
from quickstudy.operators.layouts import Layouts

pytestmark = pytest.mark.usefixtures("float64")
Tail = Callable[[Tensor], Tensor]


def strided(x: Tensor) -> Tensor:
    rows, channels, height, width = x.shape
    return x.as_strided(
        (rows, channels, height - 1, width, 2), (channels * height * width, height * width, width, 1, width)
    )


def strided_by_own(x: Tensor) -> Tensor:
    s = x.stride()
    return x.as_strided((*x.shape[:2], x.shape[2] - 1, x.shape[3], 2), (*s, s[2]))


def written_through_view(x: Tensor) -> Tensor:
    y = x * 1
    y.view(len(x), -1).mul_(3.0)
    return y


def written_through_flatten(x: Tensor) -> Tensor:
    y = F.max_pool2d(x, 1)
    y.flatten(1)[:, 0] = 2.0
    return y


def base_written_after_view(x: Tensor) -> Tensor:
    y = F.max_pool2d(x, 1)
    seen = y.view(len(x), -1)
    F.relu(y, True)
    return seen


def by_contiguity(x: Tensor) -> Tensor:
    assert x.is_contiguous()
    return x.flatten(1)


TAILS: dict[str, Tail] = {
    "view": lambda x: x.view(x.size(0), -1),
    "view-list": lambda x: x.view([x.size(0), -1]),
    "view_as": lambda x: x.view_as(torch.zeros(len(x), x[0].numel())),
    "view-dtype": lambda x: x.view(torch.float64).view(len(x), -1),
    "view-inner": lambda x: x.view(len(x), 2, 2, *x.shape[2:]).transpose(1, 2).reshape(len(x), -1),
    "view-places": lambda x: x.view(*x.shape[:2], -1).permute(0, 2, 1),
    "view-permuted": lambda x: x.permute(0, 2, 3, 1).contiguous().view(len(x), -1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)).flatten(1),
    "view_as_complex": lambda x: torch.view_as_complex(x.view(len(x), -1, 2)).abs(),
    "as_strided": strided,
    "as_strided-own": strided_by_own,
    "is_contiguous": by_contiguity,
    "written-view": written_through_view,
    "written-flatten": written_through_flatten,
    "written-base": base_written_after_view,
    "pool": lambda x: F.max_pool2d(x, 2).view(len(x), -1),
    "average": lambda x: F.avg_pool2d(x, 2).view(len(x), -1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 2).view(len(x), -1),
    "adaptive-max": lambda x: F.adaptive_max_pool2d(x, 2).view(len(x), -1),
    "group_norm": lambda x: F.group_norm(x, 2).view(len(x), -1),
    "instance_norm": lambda x: F.instance_norm(x).view(len(x), -1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]).view(len(x), -1),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2.0).view(len(x), -1),
    "pad": lambda x: F.pad(x, (1, 1)).view(len(x), -1),
    "einsum": lambda x: torch.einsum("schw->swhc", x).contiguous().view(len(x), -1),
    "channels-last": lambda x: x.contiguous(memory_format=torch.channels_last).flatten(1),
}


class Net(nn.Module):
    def __init__(self, tail: Tail) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.tail = nn.Conv2d(1, 4, 3, padding=1), tail

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(torch.tanh(self.conv(x)))


@pytest.mark.parametrize("name", TAILS)
def test_values_and_gradients_are_those_of_plain_torch(name: str) -> None:
    net = Net(TAILS[name])
    tasks = torch.randn(3, 2, 1, 4, 4)

    def plain(x: Tensor) -> Tensor:
        return net(x)  # type: ignore[no-any-return]

    def ours(x: Tensor) -> Tensor:
        return call(net, x)[0]  # type: ignore[no-any-return]

    expected = torch.stack([plain(x) for x in tasks])
    torch.testing.assert_close(torch.stack([ours(x) for x in tasks]), expected)
    if name != "channels-last":  # vmap knows of no such order
        torch.testing.assert_close(vmap(ours)(tasks), expected)
    theta = {key: value.detach() for key, value in net.named_parameters()}

    def loss(theta: dict[str, Tensor], x: Tensor) -> Tensor:
        return call(net, x, theta)[0].pow(3).sum()

    def native(theta: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(net, theta, (x,)).pow(3).sum()

    if name != "channels-last":
        inner = vmap(grad(loss), in_dims=(None, 0))(theta, tasks)
        slopes = [grad(native)(theta, x) for x in tasks]
        for key, value in inner.items():
            torch.testing.assert_close(value, torch.stack([slope[key] for slope in slopes]))
        # Adapted parameters are of each task.
        stepped = vmap(lambda theta, x: call(net, x, theta)[0])(inner, tasks)
        alone = [torch.func.functional_call(net, each, (x,)) for each, x in zip(slopes, tasks, strict=True)]
        torch.testing.assert_close(stepped, torch.stack(alone))


def test_order_is_changed_for_nets_that_need_it_alone() -> None:
    x = torch.randn(2, 1, 4, 4)
    for tail, needed in ((TAILS["view"], False), (TAILS["as_strided"], True)):
        net = Net(tail)
        call(net, x)
        assert Layouts(net).ordinary is needed
    net = Net(lambda x: x.view(3, 3))
    with pytest.raises(qs.errors.InputError, match=r"shape '\[3, 3\]' is invalid"):
        call(net, x)
    assert not Layouts(net).ordinary


@pytest.mark.parametrize("compile", [False, "record"])
@pytest.mark.parametrize("name", ["view", "as_strided", "written-flatten"])
def test_learners_train(name: str, compile: bool) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(60, 1, 6, 6), torch.arange(12).repeat_interleave(5)
    tasks = qs.tasks.FewShot(qs.datasets.arrays(images.numpy(), labels.numpy()), ways=3, shots=1, queries=2)
    losses = []
    for tail in (TAILS[name], lambda x: TAILS[name](x.contiguous())):
        net = nn.Sequential(Net(tail), nn.Flatten(), nn.LazyLinear(3))
        torch.manual_seed(1)
        net(images)
        run = qs.meta_train(qs.learners.MAML(net), tasks, steps=2, meta_batch=2, progress=False, compile=compile)
        losses.append(run.losses if hasattr(run, "losses") else run.learner.state_dict())
    torch.testing.assert_close(losses[0], losses[1])
