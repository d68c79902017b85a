"""Single tasks, with what a learner made of their queries: predictions, confusions, features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quickstudy import batching
from quickstudy.core import Learner, Output, Resumable, Task
from quickstudy.datasets.base import ClassData
from quickstudy.evaluation import predictions
from quickstudy.evaluation.bank_loop import batches
from quickstudy.evaluation.metrics.rows import row_mask
from quickstudy.inner.adapted import PrototypeHead, last_layer
from quickstudy.learners import GradientLearner
from quickstudy.operators import trees
from quickstudy.tasks import FewShot
from quickstudy.tasks.base import Bank


@dataclass(frozen=True)
class Episodes:
    """Tasks with predictions.

    Attributes:
        tasks: T tasks, batched, on the CPU.
        outputs: (T, Q, ...) predictions.
        classes: (T, N) class in the data of each label, -1 where a task has fewer ways; None for other tasks.
    """

    tasks: Task
    outputs: Tensor
    classes: Tensor | None

    def __len__(self) -> int:
        return len(self.outputs)


def play(learner: Learner, bank: Bank, count: int) -> Episodes:
    """Return the first tasks of a bank with a learner's predictions, the same as `evaluate` makes."""
    parts, tasks = [], []
    with closing(predictions(learner, bank, count)) as found:
        for each in found:
            parts.append(each.outputs.cpu())
            tasks.append(trees.map_leaves(lambda leaf: leaf.cpu(), each.tasks))
    classes = None
    if isinstance(bank.source, FewShot):
        rows = bank.plan(torch.arange(min(count, len(bank))))["support"].amax(1).cpu()
        classes = torch.where(rows >= 0, bank.source.data.labels.cpu()[rows.clamp_min(0)], -1)
    return Episodes(trees.map_leaves(lambda *leaves: torch.cat(leaves), *tasks), torch.cat(parts), classes)


def one_by_one(learner: Learner, bank: Bank, count: int) -> Generator[tuple[Task, Tensor], None, None]:
    """Yield the first tasks of a bank, each with its key, on the learner's device and in its dtype.

    Meanwhile the learner is in evaluation mode.
    """
    with closing(batches(learner, bank, min(count, len(bank)), chunk=1)) as found:
        for each in found:
            yield batching.select(each.tasks, 0), each.keys[0]


@dataclass(frozen=True)
class Confusions:
    """Counts of the classes that were taken for one another.

    Attributes:
        counts: (true class, predicted class) -> queries, right ones included.
        chances: (true class, other class) -> queries of the former in tasks that had the latter too.
    """

    counts: Mapping[tuple[int, int], int]
    chances: Mapping[tuple[int, int], int]

    def worst(self, most: int) -> list[tuple[int, int, int, int]]:
        """Return (true, predicted, queries so mistaken, chances) of the pairs most often confused."""
        pairs = [(a, b, n, self.chances[a, b]) for (a, b), n in self.counts.items() if a != b and n > 1]
        return sorted(pairs, key=lambda pair: (-pair[2] / pair[3], -pair[2], pair[0], pair[1]))[:most]

    def by(self, values: Sequence[str]) -> tuple[list[str], np.ndarray[Any, Any]]:
        """Return the groups of classes and (G, G + 1) shares of each group's queries.

        Columns are the group of the predicted class, then the share whose very class is right.
        """
        names = sorted({values[a] for a, _ in self.counts})
        index = {name: i for i, name in enumerate(names)}
        table = np.zeros((len(names), len(names) + 1))
        totals = np.zeros(len(names))
        for (a, b), n in self.counts.items():
            row = index[values[a]]
            totals[row] += n
            if values[b] in index:
                table[row, index[values[b]]] += n
            table[row, -1] += n if a == b else 0
        return names, table / totals[:, None]


def confusions(episodes: Episodes) -> Confusions:
    """Count which class each query was taken for."""
    assert episodes.classes is not None
    counts: Counter[tuple[int, int]] = Counter()
    chances: Counter[tuple[int, int]] = Counter()
    query = episodes.tasks.query
    predicted, masks = episodes.outputs.argmax(2), row_mask(query)
    for t, names in enumerate(episodes.classes.tolist()):
        for label, guess, counted in zip(
            query.labels[t].tolist(), predicted[t].tolist(), masks[t].tolist(), strict=True
        ):
            if counted:
                counts[names[label], names[guess]] += 1
                chances.update((names[label], other) for other in names if other not in (-1, names[label]))
    return Confusions(counts, chances)


def grouping(data: ClassData) -> str | None:
    """Return the attribute that groups the classes of data in a telling way, or None."""
    fit = [name for name, values in data.attributes.items() if 2 <= len(set(values)) <= 12]
    return next((name for name in ("script", "alphabet") if name in fit), fit[0] if fit else None)


def features(learner: Learner, task: Task, key: Tensor) -> tuple[Tensor, Tensor, str]:
    """Return what a learner makes of the rows of ONE task just before it decides: support, query, and what it is.

    For learners with an embedding that is the embedding; for gradient-based ones what the adapted head reads; for any
    other the logits.
    """
    with torch.no_grad():
        state = learner.learn(task.support, key)
        embed = getattr(learner, "embed", None)
        if callable(embed) and hasattr(state, "statistics"):
            rows = [embed(part.inputs, state.statistics) for part in (task.support, task.query)]
            return rows[0].flatten(1), rows[1].flatten(1), "the embedding"
        if isinstance(learner, GradientLearner):
            layer = _head(learner)
            if layer is not None:
                rows = [_watched(learner, layer, state, part.inputs) for part in (task.support, task.query)]
                return rows[0].flatten(1), rows[1].flatten(1), "features below the adapted head"
        rows = [learner.predict(state, part.inputs) for part in (task.support, task.query)]
        return rows[0].flatten(1), rows[1].flatten(1), "the logits"


def _head(learner: GradientLearner) -> nn.Module | None:
    if isinstance(learner.adapted, PrototypeHead):
        return None
    layer = learner.adapted.net.get_submodule(last_layer(learner.adapted.net))
    return layer if isinstance(layer, nn.Linear) else None


def _watched(learner: Learner, layer: nn.Module, state: Any, inputs: Any) -> Tensor:
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        learner.predict(state, inputs)
    finally:
        handle.remove()
    return seen[-1]


def by_steps(learner: Learner, task: Task, steps: Sequence[int], key: Tensor) -> dict[str, Output]:
    """Return the predictions for the query of ONE task after so many inner steps, or after adapting."""
    with torch.no_grad():
        if not isinstance(learner, Resumable):
            return {"adapted": learner.predict(learner.learn(task.support, key), task.query.inputs)}
        found = {}
        state = learner.start(task.support, key)
        for step in range(max(steps) + 1):
            if step:
                state = learner.step(state, task.support)
            if step in steps:
                label = "before" if step == 0 else f"after {step} step{'s' * (step > 1)}"
                found[label] = learner.predict(learner.finish(state, task.support), task.query.inputs)
        return found
