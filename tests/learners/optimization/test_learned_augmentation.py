"""Learned augmentation: changes of images against SciPy's, and ranges that are learned where they are known."""

import math

import pytest
import torch
from scipy import ndimage
from torch import nn

import quickstudy as qs
from quickstudy import Examples, batching
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.inner.differentiation import FirstOrder
from quickstudy.learners import LearnedAugmentation
from quickstudy.nets import Affine, Augmentations, Jitter, affine
from quickstudy.problem import Optimizee, Problem


@pytest.mark.parametrize("shape", [(9, 9), (3, 10, 6)])
def test_images_change_as_scipy_changes_them(shape):
    images = torch.rand(4, *shape, dtype=torch.float64)
    degrees, factors = torch.tensor([0.0, 90.0, 25.0, -140.0]).double(), torch.tensor([1.0, 1.0, 1.3, 0.7]).double()
    shifts = torch.tensor([[0.25, 0.0], [0.0, 0.0], [0.2, -0.4], [0.0, 0.3]]).double()
    height, width = shape[-2:]
    found = affine(images, degrees, shifts, factors)
    for image, changed, angle, shift, factor in zip(images, found, degrees, shifts, factors, strict=True):
        # Places in half sides, x to the right and y down, to places in pixels (row, column), and back.
        sides, middle = torch.tensor([height, width]) / 2, torch.tensor([height - 1, width - 1]) / 2
        cos, sin = (f(math.radians(float(angle))) / float(factor) for f in (math.cos, math.sin))
        back = torch.tensor([[cos, sin], [-sin, cos]]).double()
        matrix = sides[:, None] * back / sides
        offset = middle - matrix @ (middle + sides * shift.flip(0))
        for old, new in zip(image.reshape(-1, height, width), changed.reshape(-1, height, width), strict=True):
            expected = ndimage.affine_transform(
                old.numpy(), matrix.numpy(), offset.numpy(), order=1, mode="grid-constant"
            )
            assert torch.allclose(new, torch.from_numpy(expected), atol=1e-12)


def test_a_quarter_turn_is_counter_clockwise_and_a_shift_is_to_the_right():
    image = torch.rand(1, 5, 5)
    nothing = torch.zeros(1, 2)
    assert torch.allclose(
        affine(image, torch.tensor([90.0]), nothing, torch.ones(1)), image.rot90(1, (1, 2)), atol=1e-5
    )
    moved = affine(image, torch.zeros(1), torch.tensor([[0.4, 0.0]]), torch.ones(1))
    assert torch.allclose(moved[:, :, 1:], image[:, :, :-1], atol=1e-5)


def images(ways: int = 2) -> Problem:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, ways)).double()
    start = {name: value.detach() for name, value in net.named_parameters()}
    labels = torch.arange(ways).repeat(4)
    return Problem(Optimizee(torch.rand(len(labels), 6, 6).double(), net), labels, start, ways=ways)


def test_the_gradient_of_ranges_is_the_slope():
    torch.manual_seed(0)
    task = images()
    learner = LearnedAugmentation(Augmentations([Affine(20.0, 0.1, 0.1), Jitter()]), steps=3, batch=5).double()

    def loss():
        return learner.loss(learner.adapt(task, random.key(1)), task)

    loss().backward()
    for value in learner.parameters():
        at = value.detach().clone()
        for number in range(len(at)):
            with torch.no_grad():
                ends = []
                for step in (1e-6, -1e-6):
                    value[number] = at[number] + step
                    ends.append(float(loss()))
                value.copy_(at)
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float(value.grad[number]), rel=1e-4, abs=1e-8)


def test_draws_are_fresh_in_each_step_and_of_the_key():
    task = images()
    learner = LearnedAugmentation(Affine(20.0), steps=2).double()

    def shown(state):
        return learner.rows.take(learner, state, task).inputs.inputs

    first, other = learner.start(task, random.key(1)), learner.start(task, random.key(2))
    assert torch.equal(shown(first), shown(learner.start(task, random.key(1))))
    for state in (other, learner.step(first, task)):
        assert not torch.allclose(shown(first), shown(state))
    assert shown(first).shape == (8, 6, 6)


def test_draws_stay_within_their_ranges():
    seen = {}

    class Told(Affine):
        def __init__(self):
            super().__init__(30.0, 0.1, 0.2)

    def spy(images, degrees, shifts, factors):
        seen.update(degrees=degrees, shifts=shifts / 2, factors=factors.log())
        return images

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quickstudy.nets.augmentations.affine", spy)
        Told()(torch.zeros(2000, 2, 2), random.key(0))
    for values, largest in ((seen["degrees"], 30.0), (seen["shifts"], 0.1), (seen["factors"], 0.2)):
        values = values.detach()
        assert values.abs().max() <= largest * (1 + 1e-5)
        assert values.std() == pytest.approx(largest / 3**0.5, rel=0.05)
        assert values.mean().abs() < 0.05 * largest


def test_the_best_noise_is_that_of_the_query():
    # y = x, one weight: noise of variance s^2 pulls it to m / (m + s^2), m the mean of x^2, in training and in query.
    net = nn.Linear(1, 1, bias=False)
    x = torch.linspace(0.5, 1.5, 512).unsqueeze(1)
    rows = Problem(Optimizee(x, net), x, {"weight": torch.full((1, 1), 0.8)})
    query = Examples(Optimizee(torch.cat([x + 0.5, x - 0.5]), net), torch.cat([x, x]), check=False)
    slopes = []
    for noise in (0.4, 0.6):
        learner = LearnedAugmentation(Jitter(noise), qs.rules.SGD(0.2), steps=15)

        def loss(key, learner=learner):
            state = learner.adapt(rows, key)
            return learner.loss(state, query), state.theta["weight"].squeeze()

        losses, weights = batching.map_tasks(loss, random.learner_keys(0, torch.arange(100)))
        m = float(x.square().mean())
        assert float(weights.detach().mean()) == pytest.approx(m / (m + noise**2), abs=0.01)
        slopes += [float(torch.autograd.grad(losses.mean(), learner.augment.log_ranges)[0])]
    below, above = slopes
    assert below < 0 < above
    assert 0.4 + 0.2 * below / (below - above) == pytest.approx(0.5, abs=0.03)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="rotation must be positive"):
        Affine(rotation=0.0)
    with pytest.raises(InputError, match="Unrolled"):
        LearnedAugmentation(differentiation=FirstOrder())
    with pytest.raises(InputError, match="images must have shape"):
        Affine()(torch.zeros(3, 4), random.key(0))
    with pytest.raises(InputError, match="no optimisation problem"):
        LearnedAugmentation().adapt(Examples(torch.zeros(2, 3, 3), torch.tensor([0, 1])), random.key(0))
