"""Classify a folder of images, or the rows of a table, with a learner that is given a few examples of each class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quickstudy.cli.answers import Adapted as Adapted
from quickstudy.cli.answers import summary as summary
from quickstudy.cli.answers import tables as tables
from quickstudy.cli.answers import text as text
from quickstudy.cli.own_images import Fit, Invert, OwnImages, images_for
from quickstudy.cli.own_tables import OwnTables
from quickstudy.datasets.opening import kind_of
from quickstudy.errors import CheckpointError, InputError
from quickstudy.functional.checks import as_device
from quickstudy.shipped import trained
from quickstudy.sklearn import FewShotClassifier
from quickstudy.storage.checkpoint import load_checkpoint, save_checkpoint

DEFAULT = "default"
"""Name of the classifier that needs no meta-training."""
READING, SHOWN = "reading", "shown"
"""Entries of a classifier's file: how what it classifies is read, and the names and embeddings of its examples."""


@dataclass(frozen=True)
class Fitted:
    """A learner that has learned a user's classes.

    Attributes:
        name: of the run folder, of the learner or of the file.
        classifier: the estimator.
        reading: how images or tables become its rows.
        support: number of examples of each class.
        names: of the S examples.
        embedded: (S, D) embeddings of the examples; None where the learner has none.
        remarks: what was done to the examples that a user should know.
    """

    name: str
    classifier: FewShotClassifier
    reading: OwnImages | OwnTables
    support: tuple[int, ...]
    names: tuple[str, ...]
    embedded: Tensor | None
    remarks: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(str(name) for name in self.classifier.classes_)

    def answers(self, query: str | os.PathLike[str], threshold: float | None = None) -> Adapted:
        """Classify the images at or below a path, or the rows of a table.

        Raises:
            DataError: there is nothing to classify, or something is corrupt.
            InputError: the rows are unlike those that were learned from.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold must be a probability, 0 to 1, not {threshold}")
        remarks = list(self.remarks)
        rows = self.reading.queries(Path(query).expanduser(), self.classes, remarks)
        return Adapted(
            run=self.name,
            classes=self.classes,
            files=rows.names,
            probabilities=np.asarray(self.classifier.predict_proba(rows.inputs.numpy())),
            truths=rows.labels,
            support=self.support,
            remarks=tuple(remarks),
            nearest=self._nearest(rows.inputs),
            threshold=threshold,
            what=self.reading.what,
        )

    def save(self, path: Path) -> None:
        """Write all of it as one file, from which `fitted_from` reads it again. Nothing in it is ever executed."""
        self.classifier.save(path)
        shown = {"names": list(self.names), "support": list(self.support), "embedded": self.embedded}
        extra = {READING: {"kind": self.reading.what, **self.reading.to_json()}, SHOWN: shown}
        save_checkpoint(path, {**load_checkpoint(path), **extra})

    def _nearest(self, queries: Tensor) -> tuple[str, ...]:
        embedded = None if self.embedded is None else _embedded(self.classifier, queries)
        if embedded is None or self.embedded is None:
            return ()
        return tuple(self.names[i] for i in torch.cdist(embedded, self.embedded).argmin(1).tolist())


def adapt_folder(
    run_dir: str | os.PathLike[str],
    support: str | os.PathLike[str],
    query: str | os.PathLike[str],
    invert: Invert = "auto",
    fit: Fit = "stretch",
    size: int | None = None,
    checkpoint: str = "best",
    device: str = "auto",
) -> Adapted:
    """Learn the classes of a folder or a table once, then classify the images or rows of another.

    Args:
        run_dir: as of `fitted`.
        support: as of `fitted`.
        query: images to classify, at any depth, or a table.
        invert: as of `fitted`.
        fit: as of `fitted`.
        size: as of `fitted`.
        checkpoint: as of `fitted`.
        device: as of `fitted`.

    Raises:
        DataError: a folder has no image, or one is corrupt.
        InputError: the net does not take images, or has too few outputs for the classes.
    """
    return fitted(run_dir, support, invert, fit, size, checkpoint, device).answers(query)


def fitted(
    run: str | os.PathLike[str],
    support: str | os.PathLike[str],
    invert: Invert = "auto",
    fit: Fit = "stretch",
    size: int | None = None,
    checkpoint: str = "best",
    device: str = "auto",
) -> Fitted:
    """Learn classes from a few examples of each.

    Args:
        run: run folder of a classifier, name of a learner that comes with the library, or 'default' for the classifier
            that needs no meta-training.
        support: a folder (or archive) with a folder of images for each class, or a table with a column of classes.
        invert: swap black and white of images; 'auto' does so for images that are light on the whole, if the run
            learned from white ink on black.
        fit: how images that are not square are fitted.
        size: height and width; None takes the net's own.
        checkpoint: 'best' or 'last'.
        device: where to compute.

    Raises:
        CheckpointError: there is no such run, learner, or it is damaged.
        DataError: the support has no example, or one is corrupt.
        InputError: the learner does not take such examples, or so many classes.
    """
    if str(run) == DEFAULT and not Path(run).exists():
        learner, name, data = None, DEFAULT, ""
    else:
        found = trained(run, checkpoint)
        learner, name, data = found.learner, str(run), str(found.tasks.get("name"))
    where, path, remarks = as_device(device), Path(support).expanduser(), list[str]()
    reading: OwnImages | OwnTables
    if path.exists() and kind_of(path) == "table":
        reading, rows = OwnTables().support(path, remarks)
    else:
        reading = images_for(learner, size, fit, invert, data)
        rows = reading.support(path, remarks)
    classifier = FewShotClassifier(learner, device=str(where), random_state=0)
    classifier.fit(rows.inputs.numpy(), np.array(rows.labels, dtype=object).astype(str))
    counts = tuple(rows.labels.count(str(name)) for name in classifier.classes_)
    return Fitted(name, classifier, reading, counts, rows.names, _embedded(classifier, rows.inputs), tuple(remarks))


def fitted_from(path: str | os.PathLike[str], device: str = "auto") -> Fitted:
    """Return what `Fitted.save` or `FewShotClassifier.save` wrote.

    Raises:
        CheckpointError: there is no such file, or it is damaged or holds something else.
    """
    path = Path(path).expanduser()
    classifier = FewShotClassifier.load(path)
    classifier.device = str(as_device(device))
    content = load_checkpoint(path)
    try:
        reading = dict(content.get(READING) or _reading_of(classifier))
        kind = reading.pop("kind")
        own: OwnImages | OwnTables = (
            OwnImages(**reading)
            if kind == OwnImages.what
            else OwnTables(reading["label"], tuple((name, word) for name, word in reading["inputs"]))
        )
        shown = content.get(SHOWN) or {"names": [], "support": [0] * len(classifier.classes_), "embedded": None}
        names, support = tuple(map(str, shown["names"])), tuple(map(int, shown["support"]))
        embedded = shown["embedded"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); save the classifier again") from error
    return Fitted(str(path), classifier, own, support, names, embedded)


def _reading_of(classifier: Any) -> dict[str, Any]:
    """Return how what a classifier was fitted to in Python is read, as far as the shape of its rows tells."""
    shape = tuple(classifier.input_shape_)
    if len(shape) == 3:
        return {"kind": OwnImages.what, "channels": shape[0], "height": shape[1], "width": shape[2]}
    names = getattr(classifier, "feature_names_in_", None)
    if names is None:
        raise ValueError("it was fitted to arrays without names of columns, so no file fits it")
    return {"kind": OwnTables.what, "label": "", "inputs": [[str(name), None] for name in names]}


def _embedded(classifier: Any, rows: Tensor) -> Tensor | None:
    """Return the embeddings (M, D) of rows, as the fitted learner sees them; None if it embeds nothing."""
    learner, state = classifier.learner_, classifier.state_
    embed = getattr(learner, "embed", None)
    if embed is None or not hasattr(state, "statistics") or getattr(classifier, "scaler_", None) is not None:
        return None
    where = next((each.device for each in learner.parameters()), torch.device("cpu"))
    dtype = next((each.dtype for each in learner.parameters()), rows.dtype)
    with torch.no_grad():
        parts = (
            torch.split(rows.to(where, dtype), classifier.batch_size)
            if learner.independent_queries
            else (rows.to(where, dtype),)
        )
        return torch.cat([embed(part, state.statistics).flatten(1).cpu() for part in parts])
