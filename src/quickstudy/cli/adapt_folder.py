"""Classify a folder of images with a meta-trained learner, given a folder of a few examples of each class."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from quickstudy.cli.console import plain, table
from quickstudy.core import Examples, Learner
from quickstudy.datasets import images
from quickstudy.datasets.images import unlabelled
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.checks import as_device
from quickstudy.functional.names import composed, for_csv, for_json, readable
from quickstudy.storage.checkpoint import RUN, load, read_json

WHITE_ON_BLACK = ("glyphs", "omniglot")
"""Data of drawings with white ink on black."""
CHUNK = 256


@dataclass(frozen=True)
class Adapted:
    """Predictions for a folder.

    Attributes:
        run: run folder.
        classes: names of the classes, in order of the columns of `probabilities`.
        files: the query files, relative to the query folder.
        probabilities: (Q, N).
        truths: the class of each file, None where its folder is not named like a class.
        support: support images of each class.
        remarks: what was done to the images that a user should know.
    """

    run: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    probabilities: np.ndarray[Any, Any]
    truths: tuple[str | None, ...]
    support: tuple[int, ...]
    remarks: tuple[str, ...]

    @property
    def predictions(self) -> list[str]:
        """The likeliest class of each file."""
        return [self.classes[i] for i in self.probabilities.argmax(1)]

    @property
    def accuracy(self) -> float | None:
        """Fraction of right predictions among the files whose class is known; None if there are none."""
        pairs = [(p, t) for p, t in zip(self.predictions, self.truths, strict=True) if t is not None]
        return sum(p == t for p, t in pairs) / len(pairs) if pairs else None


def adapt_folder(
    run_dir: str | os.PathLike[str],
    support: str | os.PathLike[str],
    query: str | os.PathLike[str],
    invert: Literal["auto", "yes", "no"] = "auto",
    fit: Literal["stretch", "crop"] = "stretch",
    size: int | None = None,
    checkpoint: str = "best",
    device: str = "auto",
) -> Adapted:
    """Learn the classes of a folder once, then classify the images of another.

    Args:
        run_dir: run folder of a classifier of images.
        support: a folder (or archive) with a folder of images for each class.
        query: images to classify, at any depth.
        invert: swap black and white; 'auto' does so for images that are light on the whole, if the run learned from
            white ink on black.
        fit: how images that are not square are fitted.
        size: height and width; None takes the net's own.
        checkpoint: 'best' or 'last'.
        device: where to compute.

    Raises:
        DataError: a folder has no image, or one is corrupt.
        InputError: the net does not take images, or has too few outputs for the classes.
    """
    learner = load(run_dir, checkpoint=checkpoint)
    where = as_device(device)
    learner.to(where)
    tasks = read_json(Path(run_dir) / RUN).get("tasks", {})
    channels, edge = image_shape(learner, size)
    # Images are read in full before anything is learned, so that a bad file costs no time.
    data = images(support, edge, channels, fit)
    if len(data.classes) < 2:
        raise InputError(f"{support} has one class; give a folder for each of two or more classes")
    files, pixels = read_queries(Path(query), channels, edge, fit)
    remarks: list[str] = []
    auto = channels == 1 and tasks.get("name") in WHITE_ON_BLACK
    rows = [
        prepared(values, invert == "yes" or (invert == "auto" and auto), invert == "yes", label, remarks)
        for values, label in ((data.inputs, "support"), (torch.from_numpy(pixels), "query"))
    ]
    dtype = next((p.dtype for p in learner.parameters() if p.dtype.is_floating_point), torch.get_default_dtype())
    inputs, queries = (each.to(where, dtype) for each in rows)
    examples = Examples(inputs, data.labels.to(where), ways=len(data.classes))
    spelled = {composed(name): name for name in data.classes}
    return Adapted(
        run=str(run_dir),
        classes=data.classes,
        files=files,
        probabilities=probabilities(learner, examples, queries),
        truths=tuple(spelled.get(composed(Path(each).parent.as_posix())) for each in files),
        support=tuple(data.counts.tolist()),
        remarks=tuple(remarks),
    )


def probabilities(learner: Learner, support: Examples, queries: Tensor) -> np.ndarray[Any, Any]:
    """Return (Q, N) probabilities after one adaptation."""
    with torch.no_grad():
        state = learner.learn(support, random.key(0, queries.device))
        # Where queries see each other, all must be predicted together.
        parts = torch.split(queries, CHUNK) if learner.independent_queries else (queries,)
        logits = torch.cat([learner.predict(state, part) for part in parts])
    result: np.ndarray[Any, Any] = torch.softmax(logits.double(), -1).cpu().numpy()
    return result


def image_shape(learner: Learner, size: int | None) -> tuple[int, int]:
    """Return the channels and the edge of the images that a learner's net reads."""
    for module in learner.modules():
        channels, edge = getattr(module, "channels", None), getattr(module, "size", None)
        if isinstance(channels, int) and isinstance(edge, int):
            if size not in (None, edge):
                raise InputError(f"the run's net reads images of {edge} pixels; leave --size out")
            return channels, edge
    for module in learner.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels, size or 84
    raise InputError(f"{type(learner).__name__} of this run does not read images, so there is nothing to adapt it to")


def read_queries(
    folder: Path, channels: int, size: int, fit: Literal["stretch", "crop"]
) -> tuple[tuple[str, ...], np.ndarray[Any, Any]]:
    """Return the image files below a folder, in order of their names, and (Q, channels, size, size) uint8."""
    return unlabelled(folder, size, channels, fit)


def prepared(pixels: Tensor, may_invert: bool, always: bool, label: str, remarks: list[str]) -> Tensor:
    """Return images (M, C, H, W) in [0, 1], paper-like ones inverted, and add to `remarks` what was seen."""
    values = pixels.float() / 255
    light = values.flatten(1).mean(1) > 0.5
    swapped = torch.ones_like(light) if always else light & may_invert
    values = torch.where(swapped.reshape(-1, 1, 1, 1), 1 - values, values)
    if bool(swapped.any()):
        why = "" if always else ", which look like dark ink on light paper (--invert no leaves them)"
        remarks.append(f"inverted {int(swapped.sum())} of {len(values)} {label} images{why}")
    flat = values.flatten(1)
    faint = int((flat.amax(1) - flat.amin(1) < 0.2).sum())
    if faint:
        remarks.append(
            f"{faint} of {len(values)} {label} images are almost blank at {values.shape[-1]} x {values.shape[-2]} "
            "pixels; crop them to the drawing, or draw with thicker strokes"
        )
    return values


def tables(found: Adapted) -> list[Any]:
    """Return what the terminal shows."""
    known = any(truth is not None for truth in found.truths)
    columns = ["file", "prediction", "probability", *(["truth", ""] if known else []), "next best"]
    rows = []
    for file, row, truth in zip(found.files, found.probabilities, found.truths, strict=True):
        order = row.argsort()[::-1]
        guess, second = found.classes[order[0]], found.classes[order[1]]
        mark = "" if truth is None else "right" if truth == guess else "wrong"
        right = [truth or "", mark] if known else []
        rows.append([file, guess, f"{row[order[0]]:.3f}", *right, f"{second} {row[order[1]]:.3f}"])
    learned = ", ".join(f"{name} ({count})" for name, count in zip(found.classes, found.support, strict=True))
    parts: list[Any] = [f"Learned {len(found.classes)} classes: {learned}", table(columns, rows, ["probability"])]
    if found.accuracy is not None:
        labelled = sum(truth is not None for truth in found.truths)
        parts.append(f"Accuracy {found.accuracy:.3f} on {labelled} images whose class is known")
    return parts


def text(found: Adapted, format: Literal["table", "json", "csv"]) -> str:
    """Return the predictions as text."""
    if format == "json":
        return for_json(json.dumps(_as_json(found), indent=2, ensure_ascii=False)) + "\n"
    if format == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = [f"p({for_csv(name)})" for name in found.classes]
        writer.writerow(["file", "prediction", "probability", "truth", *names])
        for file, guess, row, truth in _rows(found):
            texts = [for_csv(file), for_csv(guess), f"{row.max():.6f}", for_csv(truth or "")]
            writer.writerow([*texts, *(f"{value:.6f}" for value in row)])
        return out.getvalue()
    return plain(*tables(found))


def _rows(found: Adapted) -> Sequence[tuple[str, str, np.ndarray[Any, Any], str | None]]:
    return list(zip(found.files, found.predictions, found.probabilities, found.truths, strict=True))


def _as_json(found: Adapted) -> dict[str, Any]:
    return {
        "run": readable(found.run),
        "classes": list(found.classes),
        "support": dict(zip(found.classes, found.support, strict=True)),
        "remarks": list(found.remarks),
        "accuracy": found.accuracy,
        "predictions": [
            {
                "file": readable(file),
                "prediction": guess,
                "probability": float(row.max()),
                "truth": truth,
                "probabilities": {name: float(value) for name, value in zip(found.classes, row, strict=True)},
            }
            for file, guess, row, truth in _rows(found)
        ],
    }
