"""Fitting random teachers: rows of the law that is stated, judged by some of them."""

from typing import Any

import pytest
import torch

from quickstudy.errors import InputError
from quickstudy.nets.optimizees import perceptron
from quickstudy.tasks import Imitation


def regression(**options: Any) -> Imitation:
    return Imitation(perceptron(3, (4,), 2), 3, 2, **{"rows": 400, "conditioning": 10.0, "input_scale": 2.0, **options})


def classification(**options: Any) -> Imitation:
    return Imitation(perceptron(3, (4,), 3), 3, 3, classify=True, rows=400, **options)


def test_inputs_fall_in_scale_and_targets_are_standard_but_for_noise() -> None:
    batch = regression(noise=0.5).batch(0, 64)
    x, y = batch.support.inputs.inputs, batch.support.labels
    torch.testing.assert_close(x.std((0, 1)), 2 * 10 ** -torch.tensor([0, 0.5, 1]), rtol=0.05, atol=0)
    torch.testing.assert_close(y.var(1).mean(), torch.tensor(1.25), rtol=0.03, atol=0)
    assert y.mean(1).abs().max() < 0.2


def test_targets_without_noise_are_a_function_of_inputs() -> None:
    sharp, blurred = regression(noise=1e-6).batch(0, 2), regression(noise=0.3).batch(0, 2)
    torch.testing.assert_close(sharp.support.inputs.inputs, blurred.support.inputs.inputs)
    torch.testing.assert_close(
        (blurred.support.labels - sharp.support.labels).std(), torch.tensor(0.3), rtol=0.1, atol=0
    )


def test_labels_of_a_sharp_teacher_are_its_largest_outputs() -> None:
    said = regression().batch(0, 4)  # draws of two outputs
    assert said.support.labels.shape == (4, 400, 2)
    sharpest, sharp, blunt = (classification(sharpness=s).batch(0, 16).support.labels for s in (1e6, 1e3, 0.1))
    assert (sharpest == sharp).float().mean() > 0.99
    assert (sharpest == blunt).float().mean() < 0.5
    assert sharpest.unique().tolist() == [0, 1, 2]


def test_a_fit_is_judged_by_rows_that_are_fitted() -> None:
    batch = classification(judged=5).batch(0, 2)
    assert torch.equal(batch.query.inputs.inputs, batch.support.inputs.inputs[:, :5])
    assert torch.equal(batch.query.labels, batch.support.labels[:, :5])


@pytest.mark.parametrize("wrong", [{"judged": 0}, {"judged": 401}, {"noise": -1.0}, {"start_scale": (2.0, 1.0)}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        regression(**wrong)


def test_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="outputs"):
        Imitation(perceptron(3, (4,), 1), 3, 1, classify=True)
