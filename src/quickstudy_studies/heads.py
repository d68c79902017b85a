"""The head of a classifier without a learner, beside logistic regression, on tables and digits of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from quickstudy.evaluation import interval95
from quickstudy.sklearn import FewShotClassifier
from quickstudy_studies.driver import Found, Part, Plan, Study, of_runs, of_this_code

DATA = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}
SHOTS = (1, 2, 5, 10, 20)
QUERIES = 300
"""Rows that are predicted in a draw, at most."""
Array = NDArray[Any]


def rival() -> ClassifierMixin:
    """Return logistic regression on standardised features, with scikit-learn's own settings."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def run(name: str, shots: int, draws: int) -> dict[str, Any]:
    """Return accuracies and calibration errors over draws of a support, as JSON."""
    X, y = DATA[name](return_X_y=True)
    right: dict[str, list[Array]] = {"head": [], "logistic": []}
    sure: dict[str, list[Array]] = {"head": [], "logistic": []}
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(y))
        support = np.concatenate([order[y[order] == label][:shots] for label in np.unique(y)])
        query = order[~np.isin(order, support)][:QUERIES]
        for each, model in (("head", FewShotClassifier(device="cpu")), ("logistic", rival())):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                found = model.fit(X[support], y[support]).predict_proba(X[query])
            right[each].append(found.argmax(1) == y[query])
            sure[each].append(found.max(1))
    gap = np.array([a.mean() - b.mean() for a, b in zip(right["head"], right["logistic"], strict=True)])
    return {
        "data": name,
        "shots": shots,
        "accuracy": {each: float(np.mean([row.mean() for row in rows])) for each, rows in right.items()},
        "gain": [float(gap.mean()), interval95(gap)],
        "calibration": {each: calibration(np.concatenate(sure[each]), np.concatenate(right[each])) for each in right},
    }


def calibration(sure: Array, right: Array, bins: int = 10) -> float:
    """Return the expected calibration error of confidences (M,), of bins of equal width over all draws at once."""
    places = np.minimum((sure * bins).astype(int), bins - 1)
    return float(sum(abs((sure - right)[places == place].sum()) for place in range(bins)) / len(sure))


def summary(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return what came out in a line."""
    below = sum(each["gain"][0] < -each["gain"][1] - 1e-12 for each in found)
    above = sum(each["gain"][0] > each["gain"][1] for each in found)
    return [f"of {len(found)} settings, above logistic regression in {above}, below in {below}"]


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Return the table of accuracies in per cent, and of calibration errors."""
    lines = ["| data | examples a class | logistic regression | `FewShotClassifier()` minus that | calibration error |"]
    lines.append("|---" * 5 + "|")
    for each in found:
        mean, half = each["gain"]
        errors = each["calibration"]
        lines.append(
            f"| {each['data']} | {each['shots']} | {100 * each['accuracy']['logistic']:.1f} | {100 * mean:+.1f} ± "
            f"{100 * half:.1f} | {errors['head']:.3f} ({errors['logistic']:.3f}) |"
        )
    return "\n".join(lines)


def plan(folder: Path, quick: bool, seeds: int) -> Plan:
    """The head of a classifier without a learner beside logistic regression, on scikit-learn's tables and digits.

    Args:
        folder: gets results.json and table.md.
        quick: two draws of each support.
        seeds: tens of draws of each support.
    """
    draws = 2 if quick else 10 * seeds
    pieces = {f"{name} {shots}": partial(run, name, shots, draws) for name in DATA for shots in SHOTS}
    part = Part(pieces, of_this_code(draws=draws))
    return Plan((part,), lambda found: {"draws": draws, "runs": _runs(found)})


def _runs(found: Found) -> list[Any]:
    return list(found.values())


heads = Study("heads", plan, of_runs(markdown), of_runs(summary), seeds=5)
