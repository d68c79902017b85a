"""What did a classifier answer, how much of it is right, and how is it shown and written?"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from quickstudy.cli.console import plain, table
from quickstudy.functional.names import for_csv, for_json, readable

NONE_OF_THESE = "none of these"
MATRIX = 12
"""Classes up to which confusions are a matrix; those of more are a list."""
FIRST = 10
"""Wrong answers that a summary shows."""


@dataclass(frozen=True)
class Adapted:
    """Predictions for a folder, or for the rows of a table.

    Attributes:
        run: run folder, or name of the learner.
        classes: names of the classes, in order of the columns of `probabilities`.
        files: the query files, relative to the query folder.
        probabilities: (Q, N).
        truths: the class of each file, None where its folder is not named like a class.
        support: support images of each class.
        remarks: what was done to the images that a user should know.
        nearest: for each query, the support example whose embedding is nearest; empty where a learner embeds nothing.
        threshold: least probability of an answer; below it a query is none of these. None answers always.
        what: what a query is, 'file' or 'row'.
    """

    run: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    probabilities: np.ndarray[Any, Any]
    truths: tuple[str | None, ...]
    support: tuple[int, ...]
    remarks: tuple[str, ...]
    nearest: tuple[str, ...] = ()
    threshold: float | None = None
    what: Literal["file", "row"] = "file"

    @property
    def predictions(self) -> list[str]:
        """The likeliest class of each file, or `NONE_OF_THESE` where even that is unlikely."""
        least = -1.0 if self.threshold is None else self.threshold
        return [self.classes[row.argmax()] if row.max() >= least else NONE_OF_THESE for row in self.probabilities]

    @property
    def accuracy(self) -> float | None:
        """Fraction of right predictions among the files whose class is known; None if there are none."""
        pairs = [(p, t) for p, t in zip(self.predictions, self.truths, strict=True) if t is not None]
        return sum(p == t for p, t in pairs) / len(pairs) if pairs else None

    @property
    def wrong(self) -> list[int]:
        """Indices of the queries whose answer is known to be wrong, the surest first."""
        pairs = zip(self.predictions, self.truths, strict=True)
        found = [i for i, (guess, truth) in enumerate(pairs) if truth is not None and guess != truth]
        return sorted(found, key=lambda i: -float(self.probabilities[i].max()))


def tables(found: Adapted) -> list[Any]:
    """Return what the terminal shows: how much is right, and each answer, wrong ones first."""
    wrong = found.wrong
    others = [i for i in range(len(found.files)) if i not in set(wrong)]
    return [*_summary(found), _answers(found, [*wrong, *others])]


def summary(found: Adapted) -> list[Any]:
    """Return what the terminal shows of answers that went to a file: how much is right, and what is not."""
    wrong = found.wrong
    parts = _summary(found)
    if wrong:
        more = f", the surest {FIRST}" if len(wrong) > FIRST else ""
        parts += [f"Wrong answers: {len(wrong)}{more}", _answers(found, wrong[:FIRST])]
    return parts


def text(found: Adapted, format: Literal["table", "json", "csv"]) -> str:
    """Return the predictions as text."""
    if format == "json":
        return for_json(json.dumps(_as_json(found), indent=2, ensure_ascii=False)) + "\n"
    if format == "csv":
        return _as_csv(found)
    return plain(*tables(found))


def _summary(found: Adapted) -> list[Any]:
    learned = ", ".join(f"{name} ({count})" for name, count in zip(found.classes, found.support, strict=True))
    parts: list[Any] = [f"Learned {len(found.classes)} classes: {learned}"]
    if found.threshold is not None:
        refused = found.predictions.count(NONE_OF_THESE)
        parts.append(
            f"{refused} of {len(found.files)} are {NONE_OF_THESE}: their likeliest class is below {found.threshold:g}"
        )
    if found.accuracy is not None:
        labelled = sum(truth is not None for truth in found.truths)
        kind = "images" if found.what == "file" else "rows"
        parts.append(f"Accuracy {found.accuracy:.3f} on {labelled} {kind} whose class is known")
        if found.wrong:
            parts.append(_confusions(found))
    return parts


def _confusions(found: Adapted) -> Any:
    """Return how often which class was taken for which."""
    pairs = [(t, p) for p, t in zip(found.predictions, found.truths, strict=True) if t is not None]
    names = [*found.classes, *([NONE_OF_THESE] if any(p == NONE_OF_THESE for _, p in pairs) else [])]
    if len(names) <= MATRIX:
        rows = [[name, *(str(pairs.count((name, guess)) or "") for guess in names)] for name in found.classes]
        return table(["truth, by answer", *names], rows, names)
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    often = sorted(set(wrong), key=lambda pair: (-wrong.count(pair), pair))[:MATRIX]
    rows = [[truth, guess, str(wrong.count((truth, guess)))] for truth, guess in often]
    return table(["truth", "taken for", "times"], rows, ["times"])


def _answers(found: Adapted, order: list[int]) -> Any:
    known = any(truth is not None for truth in found.truths)
    columns = [found.what, "prediction", "probability", *(["truth", ""] if known else []), "next best"]
    columns += ["nearest example"] if found.nearest else []
    predictions, rows = found.predictions, []
    for i in order:
        row, truth, guess = found.probabilities[i], found.truths[i], predictions[i]
        ranked = row.argsort()[::-1]
        # What stands second, where the likeliest is refused, is the likeliest.
        second = ranked[1] if guess != NONE_OF_THESE else ranked[0]
        mark = "" if truth is None else "right" if truth == guess else "wrong"
        cells = [found.files[i], guess, f"{row[ranked[0]]:.3f}", *([truth or "", mark] if known else [])]
        cells.append(f"{found.classes[second]} {row[second]:.3f}")
        rows.append([*cells, *([found.nearest[i]] if found.nearest else [])])
    return table(columns, rows, ["probability"])


def _as_csv(found: Adapted) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f"p({for_csv(name)})" for name in found.classes]
    near = ["nearest"] if found.nearest else []
    writer.writerow([found.what, "prediction", "probability", "truth", *names, *near])
    for i, guess in enumerate(found.predictions):
        row = found.probabilities[i]
        cells = [for_csv(found.files[i]), for_csv(guess), f"{row.max():.6f}", for_csv(found.truths[i] or "")]
        writer.writerow(
            [*cells, *(f"{value:.6f}" for value in row), *(for_csv(each) for each in found.nearest[i : i + 1])]
        )
    return out.getvalue()


def _as_json(found: Adapted) -> dict[str, Any]:
    predictions = []
    for i, guess in enumerate(found.predictions):
        row = found.probabilities[i]
        each: dict[str, Any] = {
            found.what: readable(found.files[i]),
            "prediction": guess,
            "probability": float(row.max()),
            "truth": found.truths[i],
            "probabilities": {readable(name): float(value) for name, value in zip(found.classes, row, strict=True)},
        }
        if found.nearest:
            each["nearest"] = readable(found.nearest[i])
        predictions.append(each)
    return {
        "run": readable(found.run),
        "classes": [readable(name) for name in found.classes],
        "support": {readable(name): count for name, count in zip(found.classes, found.support, strict=True)},
        "remarks": [readable(each) for each in found.remarks],
        "accuracy": found.accuracy,
        "predictions": predictions,
    }
