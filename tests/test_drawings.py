"""Drawings of any kind become what the net was trained on."""

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.nets import Drawings, conv4


def net(size: int = 4) -> Drawings:
    return Drawings(nn.Identity(), size)


def ink(size: int = 4) -> Tensor:
    return torch.zeros(2, 1, size, size).index_fill_(2, torch.tensor([1]), 1.0)


def test_what_is_right_already_is_left_alone() -> None:
    assert torch.equal(net()(ink()), ink())


def test_dark_on_light_colours_and_bytes_are_the_same_drawing() -> None:
    for other in (1 - ink(), ink().expand(-1, 3, -1, -1), (255 * ink()).to(torch.uint8), (255 * (1 - ink())).byte()):
        torch.testing.assert_close(net()(other), ink())


def test_other_sizes_are_averaged_or_enlarged() -> None:
    large = ink().repeat_interleave(3, 2).repeat_interleave(5, 3)
    torch.testing.assert_close(net()(large), ink())
    assert net()(ink(2)[:, :, :, :]).shape == (2, 1, 4, 4)
    torch.testing.assert_close(net()(torch.full((1, 1, 9, 2), 0.25)), torch.full((1, 1, 4, 4), 0.25))


def test_a_learner_takes_any_of_them() -> None:
    learner = qs.learners.ProtoNet(Drawings(conv4(1, 8))).eval()
    support = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 0.8
    state = learner.adapt(qs.Examples(support, torch.tensor([0, 1, 2, 0, 1, 2])))
    same = learner.predict(state, support)
    torch.testing.assert_close(learner.predict(state, support.expand(-1, 3, -1, -1)), same)
    large = support.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(learner.predict(state, large), same, rtol=1e-4, atol=1e-4)
    assert learner.net.features == 8


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="rows, channels, height, width"):
        net()(torch.zeros(3, 28, 28))
