"""Scores of predictions against counting by hand."""

import pytest
import torch

from quickstudy.evaluation.scoring import calibration_error


def test_calibration_by_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    confidence, right = torch.rand(500, generator=generator), torch.rand(500, generator=generator) < 0.6
    error, table = calibration_error(confidence, right, bins=15)
    c, r, expected = confidence.double().numpy(), right.numpy(), 0.0
    for low in range(15):
        rows = (c >= low / 15) & (c < (low + 1) / 15)
        expected += rows.mean() * abs(c[rows].mean() - r[rows].mean())
    assert error == pytest.approx(expected)
    assert table.shape == (15, 3)
    assert table[:, 2].sum() == pytest.approx(1)
    assert calibration_error(torch.ones(4), torch.ones(4).bool())[0] == 0
    assert calibration_error(torch.ones(4), torch.zeros(4).bool())[0] == 1
