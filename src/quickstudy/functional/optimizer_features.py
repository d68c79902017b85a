"""Features that learned update rules read: averages of gradients, factored second moments, the time, all on one scale.

A tensor of theta has any `shape`, of any rank. Its averages for K decays have shape (*shape, K), and its features have
shape (*shape, F). All functions here are pure, can be mapped over tasks and differentiated twice, and are finite where
gradients are zero.

Metz et al. 2022, "Practical tradeoffs between memory, compute, and performance in learned optimizers" (PT), appendix B;
Metz et al. 2022, "VeLO: Training Versatile Learned Optimizers by Scaling Up", appendix; Shazeer & Stern 2018,
"Adafactor: Adaptive Learning Rates with Sublinear Memory Cost" (AF), algorithm 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

Kept = dict[str, Tensor]
"""Tensors that are kept of one tensor between steps, by name."""

TIMES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
"""Time scales in steps (PT)."""
FRACTIONS = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)
"""Shares of training that features tell apart (VeLO)."""


def zeros(like: Tensor, count: int) -> Tensor:
    """Return (*shape, K) zeros, for K averages of a tensor."""
    return like.new_zeros(*like.shape, count)


def averages(old: Tensor, value: Tensor, decays: Tensor) -> Tensor:
    """Return exponential moving averages (*shape, K) with a value (*shape) taken in: d old + (1 - d) value.

    They are not corrected for their start at zero, since the networks that read them know the time.
    """
    decays = decays.to(value.dtype)
    return decays * old + (1 - decays) * value.unsqueeze(-1)


def shifted(decays: Tensor, shift: Tensor) -> Tensor:
    """Return learned decays (K,): 1 - (1 - d) exp(10 shift), so that equal shifts are equal factors of 1 - d (PT)."""
    return (1 - (1 - decays) * torch.exp(10 * shift)).clamp(0, 1)


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the axes of rows and columns, the second largest and the largest dimension; None for vectors."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return order[-2], order[-1]


def factors_start(like: Tensor, count: int) -> Kept:
    """Return zeros for K factored second moments: `rows` and `columns`, without the other's axis; `full` of vectors."""
    axes = factored_axes(tuple(like.shape))
    if axes is None:
        return {"full": zeros(like, count)}
    row, column = axes
    # By shape, as a dimension of no numbers has no first one.
    rows, columns = ([n for axis, n in enumerate(like.shape) if axis != other] for other in (column, row))
    return {"rows": like.new_zeros(*rows, count), "columns": like.new_zeros(*columns, count)}


def factors_update(kept: Kept, grad: Tensor, decays: Tensor) -> Kept:
    """Return the factors with a gradient taken in: averages of its mean square along rows and columns (AF)."""
    square = grad.square() + 1e-30
    axes = factored_axes(tuple(grad.shape))
    if axes is None:
        return {"full": averages(kept["full"], square, decays)}
    row, column = axes
    return {
        "rows": averages(kept["rows"], square.mean(column), decays),
        "columns": averages(kept["columns"], square.mean(row), decays),
    }


def factors_spread(kept: Kept, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return rows and columns, each over the whole tensor (*shape, K); of a vector its second moments twice."""
    axes = factored_axes(shape)
    if axes is None:
        return kept["full"], kept["full"]
    row, column = axes
    whole = (*shape, kept["rows"].shape[-1])
    return kept["rows"].unsqueeze(column).expand(whole), kept["columns"].unsqueeze(row).expand(whole)


def factors_scale(kept: Kept, shape: tuple[int, ...]) -> Tensor:
    """Return (*shape, K) by which Adafactor multiplies a gradient: 1 / sqrt(rows columns / mean of rows)."""
    axes = factored_axes(shape)
    if axes is None:
        return _inverse_root(kept["full"])
    row, column = axes
    # In `rows` the column's axis is missing.
    mean = kept["rows"].mean(row - 1 if row > column else row, keepdim=True)
    rows, columns = _inverse_root(kept["rows"] / (mean + 1e-9)), _inverse_root(kept["columns"])
    return rows.unsqueeze(column) * columns.unsqueeze(row)


def parameter_features(grad: Tensor, value: Tensor, momenta: Tensor, squares: Tensor, factors: Kept) -> Tensor:
    """Return the features of PT's per-parameter network, (*shape, 2 + 2 R + 8 M), not yet `normalised`.

    Args:
        grad: (*shape).
        value: the parameter, (*shape).
        momenta: (*shape, M) averages of the gradient.
        squares: (*shape, R) averages of its square, R being 1 or M.
        factors: M factored second moments.

    Returns:
        In order: g, theta, m, v, m / sqrt(v), 1 / sqrt(v), g by Adafactor's scale, rows and columns, 1 / sqrt of both,
        m by Adafactor's scale.
    """
    shape = tuple(grad.shape)
    root = (squares + 1e-6).rsqrt()
    scale = factors_scale(factors, shape)
    rows, columns = factors_spread(factors, shape)
    one = grad.unsqueeze(-1)
    own = [one, value.unsqueeze(-1), momenta, squares, momenta * root, root, one * scale]
    return torch.cat([*own, rows, columns, (rows + 1e-8).rsqrt(), (columns + 1e-8).rsqrt(), momenta * scale], -1)


def normalised(features: Tensor) -> Tensor:
    """Return features (*shape, F), each divided by the root of its mean square over the tensor (PT)."""
    mean = features.reshape(-1, features.shape[-1]).square().mean(0)
    return features * (mean + 1e-5).rsqrt()


def time_features(step: Tensor, times: tuple[float, ...] = TIMES) -> Tensor:
    """Return (..., times) tanh(t / tau - 1) of step numbers (...) (PT)."""
    return torch.tanh(step.unsqueeze(-1) / step.new_tensor(times) - 1)


def fraction_features(step: Tensor, steps: Tensor) -> Tensor:
    """Return (..., 9) tanh(10 (step / steps - tau)) of the share of training that is done (VeLO).

    Where steps (...) is 0, for an unknown number, features are 0.
    """
    done = (step / steps.clamp_min(1)).unsqueeze(-1)
    return torch.where(steps.unsqueeze(-1) > 0, torch.tanh(10 * (done - done.new_tensor(FRACTIONS))), 0.0)


SPANS, LONGEST = 10, 1000
"""Averages of the loss, over spans from 10 steps to all of training, or to so many where its length is unknown."""


def losses_start(like: Tensor) -> Kept:
    """Return the record of losses before the first: averages (10,) and their smallest values (10,)."""
    return {"losses": like.new_zeros(SPANS), "minima": like.new_zeros(SPANS)}


def losses_update(kept: Kept, loss: Tensor, step: Tensor, steps: Tensor) -> tuple[Kept, Tensor]:
    """Return the averages with a loss taken in, and features (..., 9) in [-1, 1] of how training goes (VeLO).

    For each span, where its average lies between the least that it was and the next longer span's average: -1 while
    the loss falls or stands, towards 0 and above where it rises.

    Args:
        kept: `losses` and `minima` (..., 10).
        loss: (...).
        step: (...) number of losses taken in before.
        steps: (...) number of losses in all; 0 where it is unknown.
    """
    step, loss = step.unsqueeze(-1), loss.unsqueeze(-1)
    ratio = torch.where(steps > 0, steps, LONGEST).unsqueeze(-1).clamp_min(10) / 10
    decays = torch.exp(-0.1 * ratio ** -torch.linspace(0, 1, SPANS, dtype=step.dtype, device=step.device))
    first = step == 0
    known = kept["losses"] / torch.where(first, 1.0, 1 - decays**step)
    # A loss that explodes must not blind the averages for long.
    loss = torch.where(first, loss, torch.minimum(loss, 2 * known.amax(-1, keepdim=True).abs()))
    means = decays * kept["losses"] + (1 - decays) * loss
    corrected = means / (1 - decays ** (step + 1))
    minima = torch.where(first, corrected, torch.minimum(kept["minima"], corrected))
    room = (corrected[..., 1:] - minima[..., :-1]).clamp_min(1e-8)
    found = ((corrected[..., :-1] - minima[..., :-1]) / room - 1).clamp(-1, 1)
    # The averages of two losses or fewer hardly differ.
    return {"losses": means, "minima": minima}, torch.where(step < 2, 0.0, found)


def _inverse_root(x: Tensor) -> Tensor:
    return x.clamp_min(1e-9).rsqrt()
