"""Rows other than few-shot Omniglot: the challenge, sequences, regression, and tests on data of another kind."""

from __future__ import annotations

from typing import Any

from quickstudy.reproductions.omniglot_rows import CHOSEN, FEWER
from quickstudy.reproductions.row import Row, enter

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


def _sequences() -> list[Row]:
    """Accuracy at the second and the fifth presentation of a class."""
    published = {"mann": {2: 0.828, 5: 0.949}}
    return [
        Row(
            f"omniglot-{name}-presentation-{number}",
            f"omniglot-{name}",
            f"{label} on sequences of Omniglot, at presentation {number} of a class.",
            small={"steps": 1000},
            published=published.get(name, {}).get(number),
            source="Santoro et al. 2016, table 1" if name in published else "",
            departures=f"{FEWER}; drawings are embedded by a Conv4 net; Adam",
            chosen_on=CHOSEN,
            presentation=number,
            seeds=1,
        )
        for name, label in (("mann", "MANN"), ("lstm", "LSTM"), ("dnc", "DNC"), ("stream-snail", "SNAIL"))
        for number in (2, 5)
    ]


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
    """Trained on one kind of drawings, tested on another, 5-way 1-shot."""
    methods = {"protonet": "Prototypical network", "maml": "MAML", "logistic": "Logistic regression on features"}
    pairs = (("glyphs", "omniglot"), ("omniglot", "glyphs"))
    return [
        Row(
            f"{source}-to-{target}-{name}",
            f"{source}-{name}",
            f"{label} trained on {source}, tested on {target}, 5-way 1-shot.",
            options={"test_data": target},
            chosen_on=f"validation classes of {source}",
        )
        for name, label in methods.items()
        for source, target in pairs
    ]


OTHERS = [enter(row) for row in (*_sinusoids(), *_sequences(), *_challenge(), *_elsewhere())]
