"""Rows of Omniglot: N-way K-shot accuracy of every method, and accuracy along sequences.

Trained on Vinyals' training classes as far as the background set has them (792 of 1,028, less a tenth on which weights
are chosen), tested on his validation classes ('Vinyals-val', 172); rotations by 90 degrees are classes, as in the
papers, which test on his test classes, or on 423 of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quickstudy.registry import lookup
from quickstudy_studies.results.row import Row, enter

SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1), "20w5s": (20, 5)}
FEWER = "713 training classes (a tenth of the 792 here chose weights), of 1,028 or 1,200 in papers"
CHOSEN = "a tenth of the training classes, on which the weights of the best validation were chosen"
TRANSDUCTIVE = "published with transductive batch norm (Nichol et al. 2018, table 2)"

MUON = "Muon in place of Adam"
WARPED = "drawings that are warped (`--warp`), as no other few-shot row's are"
SHOWN = ("steps", "meta_batch", "validation_tasks")
"""Options of the small setting that are no departures: tables show how long a row trains."""
TWENTY = "trained at 20 ways and one shot for all settings"


@dataclass(frozen=True)
class Method:
    """A method's rows.

    Attributes:
        recipe: 'omniglot-...'.
        label: as tables show it.
        source: of the published figures.
        published: per cent by setting.
        comparable: as in `Row`.
        fixed: whether each number of ways is trained for itself: where the net has an output for each class, or its
            batch statistics are of so many.
        shots_too: whether each number of shots is trained for itself.
        options: of all rows, as long as in the paper.
        many: of the 20-way rows where ways are fixed.
        minutes: outer steps of the small setting, by setting or of all; what is long in the options is then as in the
            recipe, which is made for minutes on a CPU.
        brief: of the small setting, by setting, where the recipe's own options will not do.
        tested: as in `Row`.
        departures: as in `Row`, after those that all share.
    """

    recipe: str
    label: str
    source: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    comparable: bool = True
    fixed: bool = False
    shots_too: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    many: Mapping[str, Any] = field(default_factory=dict)
    minutes: int | tuple[int, int, int, int] = 1000
    brief: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tested: Mapping[str, Any] = field(default_factory=dict)
    departures: str = ""
    suffix: str = ""


def _four(*figures: float) -> dict[str, float]:
    return dict(zip(SETTINGS, figures, strict=False))


def _five(**options: Any) -> dict[str, dict[str, Any]]:
    return dict.fromkeys(("5w1s", "5w5s"), options)


def _twenty(**options: Any) -> dict[str, dict[str, Any]]:
    return dict.fromkeys(("20w1s", "20w5s"), options)


# Of Finn et al. 2017, appendix A.1; five queries a class here.
GRADIENT: dict[str, Any] = {"steps": 60_000, "meta_batch": 32, "lr": 1e-3}
GRADIENT_20: dict[str, Any] = {"meta_batch": 16, "inner_lr": 0.1, "inner_steps": 5, "test_steps": 5}
# Of Nichol et al. 2018, appendix A.
REPTILE: dict[str, Any] = {"steps": 100_000}
REPTILE_20: dict[str, Any] = {"steps": 200_000, "inner_lr": 5e-4, "inner_steps": 10, "batch": 20}
# Few outer steps want large inner ones. Queries do not train, and validations take 50 steps a task.
_MINUTES = {"inner_lr": 3e-3, "train_queries": 1, "validation_tasks": 20}
REPTILE_BRIEF = {**_five(**_MINUTES), **_twenty(**_MINUTES, inner_steps=10, batch=20)}
FIVE_STEPS = {"inner_steps": 5, "test_steps": 5}

METHODS = (
    Method(
        "omniglot-siamese",
        "Siamese (triplets)",
        "Finn et al. 2017, table 1",
        _four(97.3, 98.4, 88.2, 97.0),
        comparable=False,
        minutes=1000,
        departures=f"{TWENTY}; {MUON}; published of convolutional Siamese nets with another loss",
    ),
    Method(
        "omniglot-matching",
        "Matching",
        "Vinyals et al. 2016, table 1",
        _four(98.1, 98.9, 93.8, 98.5),
        minutes=1000,
        departures=f"{TWENTY}; {MUON}",
    ),
    Method(
        "omniglot-protonet",
        "Prototypical",
        "Snell et al. 2017, table 1",
        _four(98.8, 99.7, 96.0, 98.9),
        minutes=1500,
        departures=f"trained at 60 ways and one shot for all settings, on {WARPED}; {MUON}",
    ),
    Method(
        "omniglot-relation",
        "Relation",
        "Sung et al. 2018, table 1",
        _four(99.6, 99.8, 97.6, 99.1),
        fixed=True,
        shots_too=True,
        options={"steps": 100_000},
        minutes=(2000, 2000, 600, 600),
        departures=MUON,
    ),
    Method(
        "omniglot-maml",
        "MAML",
        "Finn et al. 2017, table 1",
        _four(98.7, 99.9, 95.8, 98.9),
        fixed=True,
        shots_too=True,
        options=GRADIENT,
        many=GRADIENT_20,
        minutes=(3600, 2800, 1600, 700),
        departures=TRANSDUCTIVE,
    ),
    Method(
        "omniglot-fomaml",
        "FOMAML",
        "Nichol et al. 2018, table 2",
        _four(98.3, 99.2, 89.4, 97.9),
        fixed=True,
        shots_too=True,
        options=GRADIENT,
        many=GRADIENT_20,
        minutes=(4600, 3000, 2000, 700),
        brief=_twenty(**FIVE_STEPS),
        departures=TRANSDUCTIVE,
    ),
    *(
        Method(
            "omniglot-reptile",
            "Reptile" + ", transductive" * transductive,
            "Nichol et al. 2018, table 2",
            _four(*figures),
            fixed=True,
            options=REPTILE,
            many=REPTILE_20,
            minutes=(1200, 1200, 600, 600),
            brief=REPTILE_BRIEF,
            tested={"batch_norm": "transductive"} if transductive else {},
            suffix="-transductive" * transductive,
        )
        for transductive, figures in (
            (False, (95.39, 98.90, 88.14, 96.65)),
            (True, (97.68, 99.48, 89.43, 97.12)),
        )
    ),
    Method(
        "omniglot-metasgd",
        "Meta-SGD",
        "Li et al. 2017, table 2",
        _four(99.53, 99.93, 95.93, 98.97),
        fixed=True,
        shots_too=True,
        options=GRADIENT,
        many={"meta_batch": 16},
        minutes=(3000, 2400, 1400, 600),
    ),
    Method(
        "omniglot-cavia",
        "CAVIA",
        fixed=True,
        shots_too=True,
        options=GRADIENT,
        many={"meta_batch": 16},
        minutes=(4600, 3000, 2300, 900),
    ),
    Method(
        "omniglot-anil",
        "ANIL",
        "Raghu et al. 2020, table 1",
        {"20w1s": 96.2, "20w5s": 98.0},
        fixed=True,
        shots_too=True,
        options=GRADIENT,
        many=GRADIENT_20,
        minutes=(5000, 3000, 1100, 500),
        brief={"20w5s": FIVE_STEPS},
    ),
    Method(
        "omniglot-imaml",
        "iMAML",
        "Rajeswaran et al. 2019, table 2",
        _four(99.16, 99.67, 94.46, 98.69),
        fixed=True,
        shots_too=True,
        options={"steps": 20_000, "meta_batch": 32, "lr": 1e-3, "inner_steps": 16, "test_steps": 16},
        many={"meta_batch": 16, "inner_steps": 25, "test_steps": 25},
        minutes=(600, 500, 300, 150),
        departures="smaller inner steps, pulled to their start less",
    ),
    Method(
        "omniglot-snail",
        "SNAIL",
        "Mishra et al. 2018, table 1",
        _four(99.07, 99.78, 97.64, 99.36),
        fixed=True,
        shots_too=True,
        options={"steps": 60_000, "meta_batch": 32, "filters": 128},
        minutes=(2600, 1200, 2000, 600),
        brief=_twenty(train_queries=1),
        departures=MUON,
    ),
    Method(
        "omniglot-metanet",
        "MetaNet",
        "Munkhdalai & Yu 2017, table 1",
        {"5w1s": 98.95, "20w1s": 97.0},
        fixed=True,
        shots_too=True,
        options={"steps": 60_000},
        minutes=(1500, 600, 400, 150),
        departures=MUON,
    ),
    Method(
        "omniglot-logistic",
        "Logistic regression on features (no meta-learning)",
        options={"steps": 3000},
        minutes=1000,
        departures=f"{MUON}, with which it trains for fewer steps than the other baselines",
    ),
    Method("omniglot-finetune", "Fine-tuning of the head (no meta-learning)", options={"steps": 5000}, minutes=3000),
    Method("omniglot-baselineplusplus", "Baseline++ (no meta-learning)", options={"steps": 5000}, minutes=2000),
)


def _rows(method: Method) -> list[Row]:
    found = []
    minutes = method.minutes if isinstance(method.minutes, tuple) else (method.minutes,) * len(SETTINGS)
    usual = lookup("recipe", method.recipe).build()
    for (setting, (ways, shots)), steps in zip(SETTINGS.items(), minutes, strict=True):
        options = {**method.options, **(method.many if method.fixed and ways == 20 else {})}
        small = {name: getattr(usual, name) for name in options} | {"steps": steps}
        small |= method.brief.get(setting, {})
        departs = ", ".join(
            f"{name} {value}"
            for name, value in small.items()
            if name not in SHOWN and value != options.get(name, getattr(usual, name))
        )
        if method.fixed:
            options |= {"ways": ways, "train_ways": ways}
        if method.shots_too and shots > 1:
            options |= {"shots": shots, "train_shots": shots}
        published = method.published.get(setting)
        found.append(
            Row(
                name=f"{method.recipe}{method.suffix}-{setting}",
                recipe=method.recipe,
                what=f"{method.label} on Omniglot, {ways}-way {shots}-shot.",
                options=options,
                small=small,
                test={"ways": ways, "shots": shots},
                tested=method.tested,
                published=None if published is None else published / 100,
                source=method.source,
                comparable=method.comparable,
                departures="; ".join(filter(None, (FEWER, method.departures, departs and f"with --quick {departs}"))),
                chosen_on=CHOSEN,
            )
        )
    return found


ROWS = [enter(row) for method in METHODS for row in _rows(method)]
