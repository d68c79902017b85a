"""Whatever is passed as rows, labels and numbers, it is taken as it is or refused by one of the library's errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import quickstudy as qs
from quickstudy.errors import QuickstudyError
from quickstudy.functional.numbers import whole
from tests.helpers import odd_inputs as odd

Case = Callable[[np.random.Generator], tuple[Callable[[], Any], bool | None, str]]
"""Returns what to do, whether it is to be accepted (None: either), and a name."""


def together(*found: odd.Odd) -> bool | None:
    """Return whether a call with all of these is to be accepted."""
    if {"one row less", "one less"} <= {each.kind for each in found}:
        return None
    if any(each.good is False for each in found):
        return False
    return None if any(each.good is None for each in found) else True


def numbers(g: np.random.Generator) -> tuple[Callable[[], Any], bool | None, str]:
    least = [None, 0, 1][g.integers(3)]
    found = odd.numbers(g, least)
    return lambda: whole("n", found.value, least), found.good, f"whole {found.kind}"


def examples(g: np.random.Generator) -> tuple[Callable[[], Any], bool | None, str]:
    count, ways = int(g.integers(3, 9)), int(g.integers(2, 4))
    inputs, labels = odd.rows(g, count), odd.labels(g, count, ways)
    asked = odd.Odd(None, True, "none") if g.random() < 0.6 else odd.numbers(g, ways)
    good = together(inputs, labels, asked)
    if asked.value is not None and labels.kind in SYMBOLS and inputs.good is not False:
        good = None  # rows of symbols, or fewer classes than ways
    name = f"examples: {inputs.kind}, {labels.kind}, ways {asked.kind}"
    return lambda: qs.Examples(inputs.value, labels.value, None, asked.value), good, name


SYMBOLS = {"two labels a row", "one-hot", "one-hot tensor", "Booleans", "negative"}


def arrays(g: np.random.Generator) -> tuple[Callable[[], Any], bool | None, str]:
    count, ways = int(g.integers(3, 9)), int(g.integers(2, 4))
    inputs, labels = odd.rows(g, count), odd.labels(g, count, ways)
    # Floats beyond 32 bits become infinite, and are refused as such. Labels beyond 64 bits name classes in a list.
    good = None if labels.kind == "beyond 64 bits" and together(inputs) is not False else together(inputs, labels)
    return (
        lambda: qs.datasets.arrays(inputs.value, labels.value),
        good,
        f"arrays: {inputs.kind}, {labels.kind}",
    )


def classifier(g: np.random.Generator) -> tuple[Callable[[], Any], bool | None, str]:
    count, ways = int(g.integers(3, 9)), int(g.integers(2, 4))
    inputs, labels = odd.rows(g, count), odd.labels(g, count, ways)
    size = odd.Odd(7, True, "7") if g.random() < 0.7 else odd.numbers(g, 1)
    asked = inputs if g.random() < 0.5 else odd.rows(g, count)
    kept = {"X": inputs, "y": labels, "size": size, "asked": asked}
    # Any number of rows may be asked, and scikit-learn takes columns of labels, sums of 64 bits, and dates as labels.
    either = [name for name, each in kept.items() if each.kind in EITHER[name]]
    good = together(*[each for name, each in kept.items() if name not in either])
    good = None if good and either else good

    def run() -> Any:
        found = qs.FewShotClassifier(batch_size=size.value).fit(inputs.value, labels.value).predict_proba(asked.value)
        assert np.isfinite(found).all()

    return run, good, f"classifier: {inputs.kind}, {labels.kind}, size {size.kind}, asked {asked.kind}"


EITHER: dict[str, set[str]] = {
    "X": {"beyond 32 bits", "beyond 64 bits", "matrix"},
    "y": {"column", "column of a tensor", "lengths of time"},
    "size": set(),
    "asked": {"beyond 32 bits", "beyond 64 bits", "matrix", "one row less", "one row more"},
}

LEARNERS = [
    qs.learners.ProtoNet(qs.nets.mlp(3, (4,), 3)),
    qs.learners.MAML(qs.nets.mlp(3, (4,), outputs=3)),
    qs.learners.NearestNeighbour(),
    qs.learners.MatchingNet(qs.nets.mlp(3, (4,), 3)),
]


def adapting(g: np.random.Generator) -> tuple[Callable[[], Any], bool | None, str]:
    count, ways = int(g.integers(3, 9)), int(g.integers(2, 4))
    inputs, labels = odd.rows(g, count), odd.labels(g, count, ways)
    learner = LEARNERS[g.integers(len(LEARNERS))]

    def run() -> Any:
        support = qs.Examples(inputs.value, labels.value)
        found = learner.predict(learner.adapt(support), support.inputs)
        assert found.shape[0] == len(support)

    return run, together(inputs, labels), f"{type(learner).__name__}: {inputs.kind}, {labels.kind}"


DATA = qs.datasets.arrays(np.random.default_rng(0).normal(size=(60, 3)).astype("f4"), np.arange(60) % 6)


def distribution(g: np.random.Generator) -> tuple[Callable[[], Any], bool | None, str]:
    found = {name: odd.numbers(g) for name in ("ways", "shots", "queries") if g.random() < 0.4}
    if g.random() < 0.3:
        found["seed"] = odd.numbers(g, None)
    values = {name: each.value for name, each in found.items()}
    kinds = {name: each.kind for name, each in found.items()}
    good = together(*found.values())
    if good and any(int(values.get(name, 1)) > 5 for name in ("ways", "shots")):
        good = None  # as many as the data have, or more
    if "seed" not in found and any(isinstance(value, list) for value in values.values()):
        good = False if good is False else None

    def run() -> Any:
        tasks = qs.tasks.FewShot(DATA, **{"ways": 2, "queries": 2, **values})
        assert tasks.batch(0, 2).support.ways == tasks.ways[1]

    return run, good, f"FewShot {kinds}"


TASKS = qs.tasks.FewShot(DATA, 2, 1, 2)


def evaluating(g: np.random.Generator) -> tuple[Callable[[], Any], bool | None, str]:
    found = {name: odd.numbers(g) for name in ("tasks", "chunk") if g.random() < 0.5}
    found |= {"seed": odd.numbers(g, None)} if g.random() < 0.3 else {}
    values = {"tasks": 2, **{name: each.value for name, each in found.items()}}
    kinds = {name: each.kind for name, each in found.items()}
    return lambda: qs.evaluate(LEARNERS[2], TASKS, **values), together(*found.values()), f"evaluate {kinds}"


def failures(case: Case, count: int, seed: int = 0) -> tuple[Counter[str], Counter[str]]:
    """Return what became of so many cases, and the names of those of which something else should have become."""
    g = np.random.default_rng(seed)
    became: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for _ in range(count):
        run, good, name = case(g)
        try:
            run()
            found = "accepted"
        except QuickstudyError as error:
            found = "refused"
            if "\n" in str(error) or not str(error):
                wrong[f"not one line: {name}"] += 1
        except Exception as error:
            found = "raw"
            name = f"{name}: {type(error).__name__}: {str(error)[:100]}"
        became[found] += 1
        if found == "raw" or (good is not None and good != (found == "accepted")):
            wrong[f"{found}: {name}"] += 1
    return became, wrong


CASES: dict[str, tuple[Case, int, int]] = {
    "numbers": (numbers, 1500, 1_000_000),
    "examples": (examples, 1000, 200_000),
    "arrays": (arrays, 500, 100_000),
    "classifier": (classifier, 150, 20_000),
    "adapting": (adapting, 250, 40_000),
    "distribution": (distribution, 120, 20_000),
    "evaluating": (evaluating, 30, 2_000),
}
"""What is passed to, how often in the suite, and how often in the slow test: the dearer the fewer."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_odd_inputs_are_taken_or_refused(name: str) -> None:
    case, few, _ = CASES[name]
    became, wrong = failures(case, few)
    assert not wrong, wrong.most_common(20)
    assert became["accepted"] > 0
    assert became["refused"] > 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_many_odd_inputs_are_taken_or_refused(name: str) -> None:
    case, _, many = CASES[name]
    became, wrong = failures(case, many, seed=1)
    print(name, dict(became))
    assert not wrong, wrong.most_common(20)
