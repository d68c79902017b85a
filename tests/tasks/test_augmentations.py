"""Warped images: against known maps, the same for the same key."""

import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.tasks import Blur, Noise, Warp
from quickstudy.tasks.augmentations import _matrices

NONE = {"rotation": 0.0, "shear": 0.0, "scale": 0.0, "shift": 0.0, "bend": 0.0}
KEYS = random.fold_in(random.key(0), torch.arange(3))


def images(side: int = 28) -> torch.Tensor:
    coarse = torch.rand(3, 4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse.flatten(0, 1), (side, side), mode="bicubic").clamp(0, 1).reshape(3, 4, 1, side, side)


def moved(picture: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    places = F.affine_grid(theta, list(picture.shape), align_corners=False)
    return F.grid_sample(picture, places, align_corners=False)


def test_nothing_is_no_change() -> None:
    torch.testing.assert_close(Warp(**NONE)(images(), KEYS), images(), rtol=1e-5, atol=1e-5)


def test_a_quarter_turn_is_rot90() -> None:
    drawn = torch.zeros(2, 6)
    drawn[:, 0] = torch.tensor([1.0, -1.0])
    theta = _matrices(drawn, Warp(**{**NONE, "rotation": 90.0}))
    picture = images()[0, :1]
    for each, turns in zip(theta, (1, -1), strict=True):
        found = moved(picture, each[None])
        torch.testing.assert_close(found, torch.rot90(picture, turns, (-2, -1)), rtol=1e-4, atol=1e-4)


def test_a_shift_moves_by_pixels() -> None:
    drawn = torch.zeros(1, 6)
    drawn[0, 4] = 1.0
    theta = _matrices(drawn, Warp(**{**NONE, "shift": 3 / 28}))
    picture = images()[0, :1]
    found = moved(picture, theta)
    torch.testing.assert_close(found[..., :-3], picture[..., 3:], rtol=1e-4, atol=1e-4)


def test_scale_and_shear_keep_the_middle() -> None:
    drawn = torch.tensor([[0.0, 1.0, 1.0, -1.0, 0.0, 0.0]])
    (theta,) = _matrices(drawn, Warp(**{**NONE, "shear": 45.0, "scale": 0.25}))
    expected = torch.tensor([[0.8, 1.25], [0.0, 1.25]])
    torch.testing.assert_close(theta[:, :2], expected)
    assert (theta[:, 2] == 0).all()


def test_every_image_is_warped_by_itself_and_its_key() -> None:
    warp, given = Warp(), images()
    same = given[:1, :1].expand(3, 4, -1, -1, -1)
    found = warp(same, KEYS)
    assert len({tuple(each.flatten().tolist()) for each in found.flatten(0, 1)}) == 12
    torch.testing.assert_close(warp(same[1:2], KEYS[1:2])[0], found[1])
    bent = Warp(**{**NONE, "bend": 0.05})(given, KEYS)
    assert 0.01 < (bent - given).abs().mean() < 0.3


def test_strength_is_of_all_sizes_but_the_grid() -> None:
    half = Warp(rotation=8.0, bend=0.02, grid=5).times(0.5)
    assert half == Warp(rotation=4.0, shear=5.0, scale=0.075, shift=0.04, bend=0.01, grid=5)
    torch.testing.assert_close(Warp().times(0)(images(), KEYS), images(), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="rotation must be 0 or more"):
        Warp(rotation=-1)
    with pytest.raises(InputError, match="grid"):
        Warp(grid=1)
    with pytest.raises(InputError, match="must be 0 or more"):
        Warp().times(-0.5)
    with pytest.raises(InputError, match="needs images"):
        Warp()(torch.zeros(2, 3, 4), KEYS[:2])


def test_noise_is_of_its_size_and_of_the_key() -> None:
    grey = torch.full((3, 20, 1, 28, 28), 0.5)
    found = Noise(0.1)(grey, KEYS)
    assert (found - grey).std().item() == pytest.approx(0.1, rel=0.03)
    torch.testing.assert_close(Noise(0.1)(grey[1:2], KEYS[1:2])[0], found[1])
    assert Noise(5.0)(grey, KEYS).aminmax() == (0, 1)


def test_blur_is_scipys() -> None:
    found = Blur(1.5)(images(), KEYS)
    expected = ndimage.gaussian_filter(images().numpy(), (0, 0, 0, 1.5, 1.5), mode="constant", radius=(0, 0, 0, 4, 4))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "size"), [(Blur, 0.0), (Blur, -1.0), (Blur, float("nan")), (Noise, -0.1)])
def test_sizes_without_meaning_are_refused(kind: type, size: float) -> None:
    with pytest.raises(InputError, match="must"):
        kind(size)
