"""Rows other than few-shot Omniglot: regression, sequences, the challenge, and tests on data of another kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quickstudy.reproductions.mean_row import enter_mean
from quickstudy.reproductions.omniglot_rows import CHOSEN, FEWER, ROWS
from quickstudy.reproductions.row import Row, enter

OF_OMNIGLOT = {row.name: row for row in ROWS}
MODES = "Vuorio et al. 2019, table 2"
SINE = "Finn et al. 2017, figure 2 and its text"
SETTINGS = "settings of the paper and of earlier runs; weights on 100 other tasks"


def _sinusoids() -> list[Row]:
    """MAML after 1, 5 and 10 steps; Meta-SGD; CAVIA beside MAML at 10 shots."""
    common: dict[str, Any] = {"chosen_on": SETTINGS, "departures": "fewer outer steps than 70,000"}
    rows = [
        Row(
            f"sinusoid-maml-{steps}-steps",
            "sinusoid-maml",
            f"MAML on sinusoids, 5 shots, {steps} inner step{'s' if steps > 1 else ''} in the test.",
            small={"steps": 10_000},
            tested={"inner_steps": steps},
            published=figure,
            source=SINE,
            **common,
        )
        for steps, figure in ((1, 0.67), (5, 0.38), (10, 0.35))
    ]
    for name, label, figure in (("maml", "MAML", 0.33), ("cavia", "CAVIA", 0.19)):
        rows.append(
            Row(
                f"sinusoid-{name}-10-shots",
                f"sinusoid-{name}",
                f"{label} on sinusoids, 10 shots, one inner step.",
                options={"shots": 10},
                small={"steps": 10_000},
                published=figure,
                source="Zintgraf et al. 2019, table 1",
                **common,
            )
        )
    rows.append(
        Row(
            "sinusoid-metasgd",
            "sinusoid-metasgd",
            "Meta-SGD on sinusoids, 5 shots, one inner step.",
            small={"steps": 10_000},
            published=0.90,
            source="Li et al. 2017, table 1",
            **common,
        )
    )
    return rows


def _two_modes() -> list[Row]:
    """MAML and MMAML on sinusoids and lines, and a MAML on each of them alone."""
    common: dict[str, Any] = {
        "departures": "fewer tasks than 3.5 million, and as the recipes say",
        "chosen_on": "settings of the authors' code and of earlier runs; weights on 100 other tasks",
        "tasks": 4000,
        "seeds": 1,
    }
    rows = [
        Row(
            f"two-modes-{name}",
            f"two-modes-{name}",
            f"{label} on sinusoids and lines, 5 noisy points, 5 inner steps.",
            small={"steps": 4000},
            published=figure,
            source=MODES,
            **common,
        )
        for name, label, figure in (("maml", "MAML", 1.09), ("mmaml", "MMAML", 0.34))
    ]
    for mode, label in (("sine", "sinusoids"), ("linear", "lines")):
        rows.append(
            Row(
                f"two-modes-maml-{mode}",
                "two-modes-maml",
                f"MAML on {label} alone: half of a MAML for each mode.",
                options={"modes": (mode,), "steps": 4000},
                small={"steps": 1000},
                **common,
            )
        )
    return rows


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
            departures=f"{FEWER}; meta-trained on 5-way 1-shot tasks, not on sequences; fewer test sequences",
            presentation=number,
            tasks=tasks,  # a sequence is 50 adaptations
            seeds=1,
        )
        for name, label, tasks in (("protonet", "Prototypical network", 100), ("maml", "MAML", 50))
        for number in (2, 5)
    ]
    return reading + adapting


def _challenge() -> list[Row]:
    """The Omniglot challenge, with all training alphabets and with five."""
    common: dict[str, Any] = {
        "departures": "alphabets held out of the background set, not the evaluation set",
        "chosen_on": "nothing: the last weights; settings on alphabets held out of the training alphabets of fold 0",
        "source": "Lake et al. 2019, table 1 (Prototypical network)",
        "recipe": "omniglot-challenge",
    }
    rows = [
        Row(
            name="omniglot-challenge",
            what="The Omniglot challenge: 20-way one-shot within an alphabet, by another hand; five folds.",
            small={"steps": 1500},
            published=1 - 0.137,
            varies="fold",
            seeds=5,
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


GROUPS = (_sinusoids, _two_modes, _sequences, _challenge, _elsewhere, _pairs_of_digits)
OTHERS = [enter(row) for group in GROUPS for row in group()]
enter_mean(
    "two-modes-multimaml",
    "A MAML for each of sinusoids and lines, the mode told (Multi-MAML).",
    [row for row in OTHERS if row.name in ("two-modes-maml-sine", "two-modes-maml-linear")],
    published=0.43,
    source=f"{MODES} (Multi-MAML)",
)
