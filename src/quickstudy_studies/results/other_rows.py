"""Rows other than few-shot Omniglot: sequences, the challenge, tests on data of another kind, and regression."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quickstudy.recipes.challenge import CHOSEN_ON, FOLDS
from quickstudy_studies.results.omniglot_rows import CHOSEN, FEWER, MUON, ROWS, WARPED
from quickstudy_studies.results.regression_rows import REGRESSION
from quickstudy_studies.results.row import Row, enter

OF_OMNIGLOT = {row.name: row for row in ROWS}


def _sequences() -> list[Row]:
    """Accuracy at the second and the fifth presentation of a class: learners that read, and two that re-adapt."""
    published = {"mann": {2: 0.828, 5: 0.949}}
    what = "{} on sequences of Omniglot, at presentation {} of a class."
    reading = [
        Row(
            f"omniglot-{name}-presentation-{number}",
            f"omniglot-{name}",
            what.format(label, number),
            small={"steps": steps},
            published=published.get(name, {}).get(number),
            source="Santoro et al. 2016, table 1" if name in published else "",
            departures=f"{FEWER}; drawings are embedded by a Conv4 net; Adam",
            chosen_on=CHOSEN,
            presentation=number,
            seeds=1,
        )
        for name, label, steps in (
            ("mann", "MANN", 600),
            ("lstm", "LSTM", 1500),
            ("dnc", "DNC", 500),
            ("stream-snail", "SNAIL", 500),
        )
        for number in (2, 5)
    ]
    adapting = [
        replace(
            OF_OMNIGLOT[f"omniglot-{name}-5w1s"],
            name=f"omniglot-{name}-presentation-{number}",
            what=what.format(f"{label}, adapted anew to all that came before,", number),
            tested_on="omniglot-mann",
            test={},
            published=None,
            source="",
            departures=f"{FEWER}; meta-trained on {ways}-way 1-shot tasks, not on sequences; fewer test sequences{how}",
            presentation=number,
            tasks=tasks,  # a sequence is 50 adaptations
            seeds=1,
        )
        for name, label, ways, tasks, how in (
            ("protonet", "Prototypical network", 60, 100, f"; on {WARPED}; {MUON}"),
            ("maml", "MAML", 5, 50, ""),
        )
        for number in (2, 5)
    ]
    return reading + adapting


def _challenge() -> list[Row]:
    """The Omniglot challenge, with all training alphabets and with five."""
    common: dict[str, Any] = {
        "departures": "tested on alphabets of the background set, not of the evaluation set",
        "chosen_on": "alphabets of fold 1, outside of what is reported, for settings; weights are the last step's",
        "comparable": False,
        "source": "Lake et al. 2019, table 1 (Prototypical network)",
        "recipe": "omniglot-challenge",
    }
    rows = [
        Row(
            name="omniglot-challenge",
            what="The Omniglot challenge: 20-way one-shot within an alphabet, by another hand; four folds.",
            small={"steps": 1500},
            published=1 - 0.137,
            varies="fold",
            numbers=tuple(fold for fold in range(FOLDS) if fold != CHOSEN_ON),
            seeds=FOLDS - 1,
            **common,
        )
    ]
    for name in ("small1", "small2"):
        rows.append(
            Row(
                name=f"omniglot-challenge-{name}",
                what=f"The Omniglot challenge trained on the five alphabets of {name}.",
                options={"train_on": name},
                small={"steps": 1500},
                published=1 - 0.301,
                **common,
            )
        )
    return rows


def _elsewhere() -> list[Row]:
    """Trained on one kind of drawings, tested on another, 5-way 1-shot; runs are those of rows on the former."""
    methods = {"protonet": "Prototypical network", "maml": "MAML", "logistic": "Logistic regression on features"}
    own = {"protonet": f"; trained on {WARPED}; {MUON}", "maml": "", "logistic": f"; {MUON}"}
    rows = []
    for name, label in methods.items():
        rows.append(
            Row(
                f"glyphs-to-omniglot-{name}",
                f"glyphs-{name}",
                f"{label} trained on glyphs, tested on Omniglot, 5-way 1-shot.",
                tested_on=f"omniglot-{name}",
                chosen_on="validation scripts of glyphs",
            )
        )
        rows.append(
            replace(
                OF_OMNIGLOT[f"omniglot-{name}-5w1s"],
                name=f"omniglot-to-glyphs-{name}",
                what=f"{label} trained on Omniglot, tested on glyphs, 5-way 1-shot.",
                tested_on=f"glyphs-{name}",
                published=None,
                source="",
                departures=f"{FEWER}{own[name]}",
            )
        )
    return rows


def _pairs_of_digits() -> list[Row]:
    """Double MNIST from MNIST's test file, 5-way 1-shot."""
    methods = {"protonet": "Prototypical network", "maml": "MAML", "logistic": "Logistic regression on features"}
    return [
        Row(
            f"double-mnist-{name}",
            f"double-mnist-{name}",
            f"{label} on Double MNIST, 5-way 1-shot: classes are pairs of digits.",
            departures=(
                "64 training, 16 validation and 20 test pairs from MNIST's 10,000 test digits, 64x64 averaged to 28x28;"
                " parts share neither pairs nor handwriting, while each of the ten digits is in pairs of all parts"
            ),
            chosen_on="16 validation pairs, for the weights; the other settings are those on glyphs",
        )
        for name, label in methods.items()
    ]


GROUPS = (_sequences, _challenge, _elsewhere, _pairs_of_digits)
OTHERS = REGRESSION + [enter(row) for group in GROUPS for row in group()]
