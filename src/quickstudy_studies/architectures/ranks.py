"""Where searches arrive in a space whose every architecture was trained: random search and evolution read its table."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy_studies.architectures.space import ORDERS, Search, Training, cost, name, net

REPEATS = 2000
"""Random searches, and evolutions."""
POPULATION, SAMPLE = 5, 2
"""Of evolution: architectures that are alive, and of these how many compete for being a parent."""
TOP = 0.1

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Accuracies of A architectures from B beginnings each, (A, B), and their (A, E) operations."""

    architectures: NDArray[np.int64]
    validation: Numbers
    test: Numbers

    @property
    def ranks(self) -> Numbers:
        """(A,) the true ones: by the mean test accuracy."""
        return ranked(self.test.mean(1))


def ranked(values: Numbers) -> Numbers:
    """Return the rank of each of the values (A,), 1 for the largest; equal ones share the mean of theirs."""
    larger = (values > values[:, None]).sum(1)
    ranks: Numbers = 1 + larger + ((values == values[:, None]).sum(1) - 1) / 2
    return ranks


def random_search(table: Table, runs: int, draw: np.random.Generator) -> int:
    """Return which architecture has the best validation accuracy of so many different ones, each trained once."""
    seen = draw.choice(len(table.test), min(runs, len(table.test)), replace=False)
    return int(seen[_trained(table, seen, draw).argmax()])


def evolution(table: Table, runs: int, draw: np.random.Generator) -> int:
    """Return which architecture is the best that regularised evolution trains in so many runs.

    Real, Aggarwal, Huang & Le 2019, "Regularized Evolution for Image Classifier Architecture Search", algorithm 1: the
    best of a sample of the living is the parent, its child has another operation on one edge, and the oldest dies.
    """
    numbers = {tuple(each): number for number, each in enumerate(table.architectures.tolist())}
    _, edges = table.architectures.shape
    operations = int(table.architectures.max()) + 1
    alive: deque[tuple[float, int]] = deque(maxlen=POPULATION)
    best = (-1.0, -1)
    for run in range(runs):
        if run < POPULATION:
            child = int(draw.integers(len(table.test)))
        else:
            _, parent = max((alive[place] for place in draw.choice(POPULATION, SAMPLE, replace=False)), key=_accuracy)
            genes = table.architectures[parent].tolist()
            edge = int(draw.integers(edges))
            genes[edge] = (genes[edge] + 1 + int(draw.integers(operations - 1))) % operations
            child = numbers[tuple(genes)]
        entry = (float(_trained(table, np.array([child]), draw)[0]), child)
        alive.append(entry)
        best = max(best, entry, key=_accuracy)
    return best[1]


def _trained(table: Table, which: NDArray[np.int64], draw: np.random.Generator) -> Numbers:
    """Return the validation accuracies of architectures trained once, each from one of its beginnings."""
    values: Numbers = table.validation[which, draw.integers(table.validation.shape[1], size=len(which))]
    return values


def table_of(space: dict[str, Any]) -> Table:
    """Return the table of what `cell_space.train` returned, by name."""
    genes = np.array([[int(number) for number in each.split("-")] for each in space])
    validation, test = (np.array([each[part] for each in space.values()]) for part in ("validation", "test"))
    return Table(genes, validation, test)


def judged(space: dict[str, Any], searches: dict[str, Any], training: Training, how: Search) -> dict[str, Any]:
    """Return where all searches arrive, as JSON."""
    table, names = table_of(space), list(space)
    means, ranks = table.test.mean(1), table.ranks
    single = [ranked(column) for column in table.test.T]
    pairs = list(itertools.combinations(single, 2))
    found = []
    for label, each in searches.items():
        place = names.index(name(each["architecture"]))
        found.append(
            {
                "order": label.split()[0],
                "architecture": names[place],
                "rank": float(ranks[place]),
                "test": float(means[place]),
                "mixtures": each["mixtures"],
            }
        )
    return {
        "settings": {"training": asdict(training), "search": asdict(how)},
        "operations": list(net(training).names),
        "top": TOP * len(names),
        "space": [
            {
                "architecture": names[place],
                "test": float(means[place]),
                "deviation": float(table.test[place].std(ddof=1)),
                "validation": float(table.validation[place].mean()),
                "rank": float(ranks[place]),
                "alone": [float(pick(column[place] for column in single)) for pick in (min, max)],
            }
            for place in np.argsort(ranks, kind="stable")
        ],
        "agreement": float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])),
        "searches": found,
        "rivals": {order: _rivals(table, max(1, round(cost(order, training, how)))) for order in ORDERS},
    }


def _rivals(table: Table, runs: int) -> dict[str, Any]:
    ranks, means = table.ranks, table.test.mean(1)
    chosen = {}
    for label, function in (("random search", random_search), ("evolution", evolution)):
        draw = np.random.default_rng(runs)
        places = [function(table, runs, draw) for _ in range(REPEATS)]
        chosen[label] = {
            "rank": np.quantile(ranks[places], [0.5, 0.05, 0.95]).tolist(),
            "within": float((ranks[places] <= TOP * len(ranks)).mean()),
            "test": float(means[places].mean()),
        }
    return {"runs": runs, **chosen}


def _accuracy(entry: tuple[float, int]) -> float:
    """Return what entries are compared by: of equals the earlier one, not that of the greater number."""
    return entry[0]
