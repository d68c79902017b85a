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


def test_a_frame_makes_place_and_size_of_a_drawing_irrelevant() -> None:
    framed = Drawings(nn.Identity(), 24, framed=True)
    shape = torch.zeros(1, 1, 12, 8).index_fill_(3, torch.tensor([0, 7]), 1.0).index_fill_(2, torch.tensor([5, 6]), 1.0)
    places = [torch.zeros(1, 1, 48, 48) for _ in range(3)]
    places[0][..., 2:14, 30:38] = shape
    places[1][..., 34:46, 1:9] = shape
    places[2][..., 10:34, 20:36] = shape.repeat_interleave(2, 2).repeat_interleave(2, 3)
    one, other, larger = (framed(place)[0, 0] for place in places)
    torch.testing.assert_close(one, other)
    # Interpolation blurs the edges of the smaller one more.
    assert (one - larger).abs().mean() < 0.06
    # 12 rows of 1.1 x 12 are drawn on, in the middle.
    rows = (one > 0.5).any(1).nonzero().flatten()
    assert (rows[0], rows[-1]) == (1, 22)


@pytest.mark.parametrize("edge", [60, 105, 250, 500])
def test_a_frame_reads_every_pixel_of_a_large_drawing(edge: int) -> None:
    """Lines one pixel wide, wherever they run, are as light as wide ones are wide: none falls between readings."""
    framed = Drawings(nn.Identity(), 28, framed=True)
    whole = 1.1 * edge / 28  # pixels of the image to a pixel of the frame
    for column in range(edge // 2, edge // 2 + 6):
        box = torch.zeros(1, 1, edge, edge)
        box[..., [0, -1], :] = box[..., [0, -1]] = 1.0
        line = box.clone()
        line[..., column] = 1.0
        added = (framed(line) - framed(box))[0, 0, 14].sum()
        assert float(added) == pytest.approx(1 / whole, rel=0.1)


def test_ground_around_a_drawing_does_not_matter() -> None:
    framed = Drawings(nn.Identity(), 28, framed=True)
    drawing = (torch.rand(1, 1, 10, 10, generator=torch.Generator().manual_seed(0)) > 0.85).float()
    drawing[..., [0, -1], :] = drawing[..., [0, -1]] = 1.0
    drawing = drawing.repeat_interleave(10, 2).repeat_interleave(10, 3)
    alone = framed(drawing)
    for ground in (10, 60, 150):
        assert (framed(nn.functional.pad(drawing, (ground,) * 4)) - alone).abs().mean() < 0.04


@pytest.mark.parametrize(("aspect", "high"), [(1.0, 10), (0.5, 20), (0.0, 40)])
def test_the_shorter_side_is_stretched_by_a_power_of_the_ratio(aspect: float, high: int) -> None:
    framed = Drawings(nn.Identity(), 44, framed=True, aspect=aspect)
    wide = torch.zeros(2, 1, 100, 100)
    wide[0, 0, 30:50, 10:90] = 1.0  # a ratio of a quarter
    wide[1] = wide[0].mT
    one, other = (framed(wide)[:, 0] > 0.5).float()
    assert torch.equal(one, other.mT)
    drawn = one.nonzero()
    sides = drawn.amax(0) - drawn.amin(0) + 1
    assert abs(int(sides[1]) - 40) <= 1  # 44 pixels with a margin of 1.1
    assert abs(int(sides[0]) - high) <= 1


def test_an_aspect_out_of_range_is_refused() -> None:
    for aspect in (-0.1, 1.5):
        with pytest.raises(InputError, match=r"aspect must lie in 0\.\.1"):
            Drawings(nn.Identity(), aspect=aspect)


@pytest.mark.parametrize("aspect", [1.0, 0.5])
def test_a_frame_leaves_an_empty_drawing_empty_and_does_not_blow_up_a_dot(aspect: float) -> None:
    framed = Drawings(nn.Identity(), 20, framed=True, aspect=aspect)
    empty = torch.zeros(1, 1, 40, 40)
    assert not framed(empty).any()
    dot = empty.clone()
    dot[..., 5, 7] = 1.0
    assert 0 < int((framed(dot) > 0.3).sum()) < 16


def test_frames_are_the_same_for_tasks_side_by_side() -> None:
    framed = Drawings(nn.Identity(), 8, framed=True)
    tasks = (torch.rand(3, 4, 1, 40, 30, generator=torch.Generator().manual_seed(0)) > 0.8).float()
    torch.testing.assert_close(torch.func.vmap(framed)(tasks), torch.stack([framed(task) for task in tasks]))


def test_numbers_that_are_no_shares_are_refused() -> None:
    for scale, words in ((255.0, "reach from 0 to 255"), (-1.0, "reach from -1 to 0"), (16.0, "X / X.max")):
        with pytest.raises(InputError, match=words):
            net()(scale * ink())
    slightly = 1.1 * ink() - 0.05  # as resizing leaves them
    assert torch.equal(net()(slightly), slightly)
    assert torch.vmap(net())(9 * ink().unsqueeze(0)).abs().amax() > 1  # where values cannot be looked at


def test_channels_that_are_no_colours_are_refused() -> None:
    for channels in (2, 4, 28):
        with pytest.raises(InputError, match=f"one channel or three, before height and width, not the {channels}"):
            net()(torch.zeros(3, channels, 28, 28))


def test_a_classifier_takes_colours_first_or_last() -> None:
    learner = qs.learners.ProtoNet(Drawings(conv4(1, 8)))
    grey = torch.rand(6, 28, 28, generator=torch.Generator().manual_seed(0)).numpy() * 0.8
    colour = grey[..., None].repeat(3, -1)
    labels = [0, 1, 2] * 2
    expected = qs.FewShotClassifier(learner).fit(grey, labels).predict_proba(grey)
    for images in (colour, colour.transpose(0, 3, 1, 2)):
        found = qs.FewShotClassifier(learner).fit(images, labels).predict_proba(images)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="reach from"):
        qs.FewShotClassifier(learner).fit(255 * grey, labels)
