"""The head that `FewShotClassifier` puts on features when there is no learner: classical methods, weighed by their fit.

Which method suits a few rows is not known beforehand, so several are tried on each row when it is left out:

- Gaussians with one covariance, shrunk towards a multiple of the identity, of 0.01 to 0.999 of the way (Friedman 1989,
  "Regularized Discriminant Analysis"). The last is the nearest class mean.
- ridge regression of class indicators with a Gaussian kernel (Rifkin & Klautau 2004): two widths, three penalties.

Both have closed forms for a row left out (Sherman & Morrison 1950; Allen 1974, PRESS), so nothing is fitted twice.
The logits of each method are divided by a temperature that the left-out rows choose (Guo et al. 2017). The prediction
is the mean of the methods' probabilities. Each is weighed by a prior times the root of its likelihood of the rows that
were left out.
A table's features are standardised. Features of one kind, as those of a net or pixels, are also tried as they are, and
scaled to length 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.core import Examples, Learner
from quickstudy.functional.distances import squared_euclidean

SHRINKAGES = {0.01: 0.03, 0.1: 0.07, 0.3: 0.1, 0.6: 0.2, 0.9: 0.3, 0.999: 0.3}
"""By how much covariances are shrunk, and the prior weight of each."""
WIDTHS, PENALTIES, KERNEL_WEIGHT = (0.1, 0.3), (0.01, 0.1, 1.0), 0.3
"""Of kernels in mean squared distances, of ridge regression, and the prior weight of all of it."""
FEATURES, EVEN = 50, 0.15
"""Features are of one kind if there are that many, and their effective number is at least that share of them."""
VIRTUAL = 0.4
"""Number of rows of no class in particular that calm temperatures."""
ONE_SHOT = {False: 1.0, True: 5.0}
"""Inverse temperatures where no class has two rows, for tables and for features of one kind: those that suit HWU64's
sentences, printed glyphs and half of the KEEL tables."""


class View(NamedTuple):
    """The support in one scaling of its features, and what its methods need to predict."""

    kind: Tensor
    """(3,) which scaling: standardised, as they are, of length 1."""
    rows: Tensor
    """(S, D) scaled rows."""
    means: Tensor
    """(N, D) class means."""
    metrics: Tensor
    """(methods, N, D) class means times the inverse covariance."""
    offsets: Tensor
    """(methods, N) minus half of the means' lengths in that metric."""
    duals: Tensor
    """(kernel methods, S, N) coefficients."""
    span: Tensor
    """() mean squared distance of rows."""


class Fitted(NamedTuple):
    """The state of one task."""

    shift: Tensor
    """(D,) means of the features."""
    scale: Tensor
    """(D,) standard deviations of the features."""
    size: Tensor
    """() largest feature."""
    views: tuple[View, ...]
    temperatures: Tensor
    """(methods,) inverse temperatures of the methods of all views."""
    weights: Tensor
    """(methods,) logarithms of the methods' weights."""
    temperature: Tensor
    """() inverse temperature of their mean."""


class SupportHead(Learner):
    """Classical methods on rows of features, weighed by how well they predict each row from the others.

    Nothing is learned across tasks. All classes are taken to be equally likely. Which methods are tried depends on the
    values of the support, so it is for one task at a time.
    """

    @property
    def exact_meta_gradient(self) -> bool:
        """Nothing is learned across tasks."""
        return False

    def embed_support(self, support: Examples) -> tuple[Tensor, Any]:
        """Return features (S, D) in the scaling that suits distances, and what scales queries alike."""
        x = support.inputs.flatten(1)
        shift, scale, size = _scales(x)
        choice = F.one_hot(torch.tensor(2 if _of_one_kind(x / size) else 0, device=x.device), 3).to(x.dtype)
        statistics = (choice, shift, scale, size)
        return _scaled(x, *statistics), statistics

    def embed(self, inputs: Any, statistics: Any) -> Tensor:
        """Return features (Q, D)."""
        return _scaled(inputs.flatten(1), *statistics)

    def adapt(self, support: Examples) -> Fitted:
        """Fit every method to rows (S, ...), and weigh them."""
        x, y, ways = support.inputs.flatten(1), support.labels, int(support.ways or 0)
        shift, scale, size = _scales(x)
        uniform = _of_one_kind(x / size)
        counts = torch.bincount(y, minlength=ways)
        shown = counts[y] > 1  # rows that leave one of their class behind
        one_shot = not bool(shown.any())
        kinds = ([1, 2] if one_shot else [0, 1, 2]) if uniform else [0]
        views, left_out, priors = [], [], []
        for kind in kinds:
            choice = F.one_hot(torch.tensor(kind, device=x.device), 3).to(x.dtype)
            rows = _scaled(x, choice, shift, scale, size)
            view, logits, prior = _fit_view(choice, rows, y, ways, one_shot)
            views.append(view)
            left_out.append(logits)
            priors.append(prior)
        prior = torch.cat(priors).log()
        if one_shot:
            temperatures = torch.full_like(prior, ONE_SHOT[uniform])
            return Fitted(shift, scale, size, tuple(views), temperatures, prior.log_softmax(0), x.new_ones(()))
        logits = torch.cat(left_out)[:, shown]
        temperatures = _temperatures(logits, y[shown])
        logs = torch.log_softmax(temperatures[:, None, None] * logits, -1)
        likelihoods = logs.gather(-1, y[shown].expand(len(logs), -1).unsqueeze(-1)).sum((1, 2))
        weights = torch.log_softmax(prior + 0.5 * likelihoods, 0)
        mixed = torch.logsumexp(weights[:, None, None] + logs, 0)
        temperature = _temperatures(mixed[None], y[shown])[0].clamp(0.5, 2.0)
        return Fitted(shift, scale, size, tuple(views), temperatures, weights, temperature)

    def predict(self, state: Fitted, inputs: Any) -> Tensor:
        """Return (Q, N) log-probabilities of inputs (Q, ...)."""
        x = inputs.flatten(1)
        logits = torch.cat([_of_view(v, _scaled(x, v.kind, state.shift, state.scale, state.size)) for v in state.views])
        logs = torch.log_softmax(state.temperatures[:, None, None] * logits, -1)
        return torch.log_softmax(state.temperature * torch.logsumexp(state.weights[:, None, None] + logs, 0), -1)


def _scales(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return means (D,), standard deviations (D,), infinite for constant features, and the largest magnitude ()."""
    most = x.abs().amax(0)
    unit = torch.where(most > 0, most, 1.0)  # squares of huge features overflow
    part = x / unit
    shift, deviation = part.mean(0), part.std(0, correction=0)
    constant = deviation <= 1e-12 * (len(x) ** 0.5)
    largest = most.max()
    size = torch.where(largest > 0, largest, 1.0)
    return shift * unit, torch.where(constant, torch.inf, deviation) * unit, size


def _of_one_kind(x: Tensor) -> bool:
    """Return whether features (S, D) vary alike, as a net's or pixels do, and a table's columns need not."""
    variances = x.var(0, correction=0)
    total = variances.square().sum()
    return x.shape[1] >= FEATURES and bool(variances.sum().square() >= EVEN * x.shape[1] * total) and bool(total > 0)


def _scaled(x: Tensor, choice: Tensor, shift: Tensor, scale: Tensor, size: Tensor) -> Tensor:
    """Return features (S, D) in the scaling that a one-hot choice (3,) names."""
    kind = int(choice.argmax())
    if kind == 0:
        return (x - shift) / scale
    return (x - shift) / size if kind == 1 else F.normalize(x / size, dim=1, eps=1e-30)


def _fit_view(choice: Tensor, x: Tensor, y: Tensor, ways: int, one_shot: bool) -> tuple[View, Tensor, Tensor]:
    """Return what is known of scaled rows (S, D), logits (methods, S, N) of rows left out, and priors (methods,)."""
    means = x.new_zeros(ways, x.shape[1]).index_add_(0, y, x) / torch.bincount(y, minlength=ways)[:, None]
    metrics, offsets, logits = _gaussians(x, y, means, one_shot)
    prior = x.new_tensor(list(SHRINKAGES.values())[-1:] if one_shot else list(SHRINKAGES.values()))
    squares = squared_euclidean(x, x).clamp_min(0)
    span = squares.sum() / max(len(x) * (len(x) - 1), 1)
    span = torch.where(span > 0, span, 1.0)
    duals = x.new_zeros(0, len(x), ways)
    if not one_shot:
        duals, more = _kernels(squares / span, y, ways)
        logits = torch.cat([logits, more])
        prior = torch.cat([prior, prior.new_full((len(more),), KERNEL_WEIGHT / len(more))])
    return View(choice, x, means, metrics, offsets, duals, span), logits, prior


def _of_view(view: View, x: Tensor) -> Tensor:
    """Return logits (methods, Q, N) of scaled rows (Q, D)."""
    logits = x @ view.metrics.mT + view.offsets[:, None]
    if not len(view.duals):
        return logits
    squares = squared_euclidean(x, view.rows).clamp_min(0) / view.span
    kernels = torch.stack([torch.exp(-squares / (2 * width)) for width in WIDTHS])
    more = kernels.repeat_interleave(len(PENALTIES), 0) @ view.duals
    return torch.cat([logits, more])


def _gaussians(x: Tensor, y: Tensor, means: Tensor, one_shot: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return metrics, offsets and logits of rows left out, of Gaussians that share a shrunk covariance."""
    rows, variances = len(x), x.var(0, correction=0)
    features = (variances > 1e-20 * variances.max()).sum().clamp_min(1)
    counts = torch.bincount(y, minlength=len(means)).to(x.dtype)[y]
    centre = x.mean(0)
    # All that matters lies in the span of the rows: with many features that is a small space.
    _, _, basis = torch.linalg.svd(x - centre, full_matrices=False)
    freedom = max(rows - len(means), 1)
    inside = (x - centre) @ basis.mT
    residuals = ((x - means[y]) @ basis.mT) / freedom**0.5
    values, vectors = torch.linalg.eigh(residuals.mT @ residuals)
    turn = vectors.mT @ basis
    values = values.clamp_min(0)
    spread = values.sum() if not one_shot else inside.square().sum() / rows
    level = torch.where(spread > 0, spread / features, 1.0)
    a, m = (x - centre) @ turn.mT, (means - centre) @ turn.mT
    r = a - m[y]
    own = counts / (counts - 1).clamp_min(1)
    metrics, offsets, logits = [], [], []
    at = torch.arange(rows, device=x.device)
    for shrinkage in list(SHRINKAGES)[-1 if one_shot else 0 :]:
        # Without a covariance, distances are in units of the rows' own mean squared distance from their mean.
        inverse = 1 / ((1 - shrinkage) * values + shrinkage * level)
        if one_shot:
            inverse = torch.ones_like(values) * 2 / (level * features)
        lengths = (m.square() * inverse).sum(1)
        metric = (m * inverse) @ turn
        metrics.append(metric)
        offsets.append(-0.5 * lengths - metric @ centre)
        # Left out: its class mean moves, and the covariance loses a matrix of rank one (Sherman & Morrison).
        rr, ra = (r.square() * inverse).sum(1), (r * a * inverse).sum(1)
        distances = (a.square() * inverse).sum(1)[:, None] - 2 * (a * inverse) @ m.mT + lengths
        across = ra[:, None] - (r * inverse) @ m.mT
        distances[at, y], across[at, y] = own.square() * rr, own * rr
        lost = (1 - shrinkage) / freedom * own
        left = (1 - lost * rr).clamp_min(1e-6)
        logits.append(-0.5 * (distances + (lost / left)[:, None] * across.square()))
    return torch.stack(metrics), torch.stack(offsets), torch.stack(logits)


def _kernels(squares: Tensor, y: Tensor, ways: int) -> tuple[Tensor, Tensor]:
    """Return coefficients and logits of rows left out, of ridge regression with Gaussian kernels."""
    targets = F.one_hot(y, ways).to(squares.dtype)
    targets = targets - targets.mean(0)
    duals, logits = [], []
    for width in WIDTHS:
        values, vectors = torch.linalg.eigh(torch.exp(-squares / (2 * width)))
        turned = vectors.mT @ targets
        for penalty in PENALTIES:
            inverse = 1 / (values.clamp_min(0) + penalty)
            dual = (vectors * inverse) @ turned
            duals.append(dual)
            logits.append(targets - dual / (vectors.square() @ inverse)[:, None])
    return torch.stack(duals), torch.stack(logits)


def _temperatures(logits: Tensor, y: Tensor) -> Tensor:
    """Return the inverse temperature (methods,) of logits (methods, S, N) that makes labels (S,) likeliest."""
    wanted = F.one_hot(y, logits.shape[-1]).to(logits.dtype) + VIRTUAL / logits[0].numel()
    total = wanted.sum(-1)

    def slope(log: Tensor) -> Tensor:
        expected = torch.softmax(log.exp()[:, None, None] * logits, -1)
        return ((expected * total[:, None] - wanted) * logits).sum((1, 2))

    return _root(slope, logits.new_full((len(logits),), -9.0), logits.new_full((len(logits),), 9.0)).exp()


def _root(rising: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Return where functions that rise are zero, by bisection; the nearest end where they are not."""
    for _ in range(16):
        middle = (low + high) / 2
        above = rising(middle) > 0
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2
