"""Rows of Omniglot: N-way K-shot accuracy of every method, and accuracy along sequences.

Trained on Vinyals' training classes as far as the background set has them (792 of 1,028, less a tenth on which weights
are chosen), tested on his validation classes ('Vinyals-val', 172); rotations by 90 degrees are classes, as in the
papers, which test on his test classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quickstudy.reproductions.row import Row, enter

SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1), "20w5s": (20, 5)}
FEWER = "792 of the papers' 1,028 training classes"
CHOSEN = "a tenth of the training classes, on which the weights of the best validation were chosen"


@dataclass(frozen=True)
class Method:
    """A method's rows.

    Attributes:
        recipe: 'omniglot-...'.
        label: as tables show it.
        source: of the published figures.
        published: per cent by setting.
        fixed: whether the net has an output for each class, so that each number of ways is trained for itself.
        shots_too: whether each number of shots is trained for itself.
        options: of all rows.
        many: of the 20-way rows where ways are fixed.
        tested: as in `Row`.
        departures: as in `Row`, after those that all share.
    """

    recipe: str
    label: str
    source: str = ""
    published: Mapping[str, float] = field(default_factory=dict)
    fixed: bool = False
    shots_too: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    many: Mapping[str, Any] = field(default_factory=dict)
    tested: Mapping[str, Any] = field(default_factory=dict)
    departures: str = ""
    suffix: str = ""


def _four(*figures: float) -> dict[str, float]:
    return dict(zip(SETTINGS, figures, strict=False))


METHODS = (
    Method("omniglot-siamese", "Siamese (triplets)"),
    Method("omniglot-matching", "Matching", "Vinyals et al. 2016, table 1", _four(98.1, 98.9, 93.8, 98.5)),
    Method("omniglot-protonet", "Prototypical", "Snell et al. 2017, table 1", _four(98.8, 99.7, 96.0, 98.9)),
    Method("omniglot-relation", "Relation", "Sung et al. 2018, table 1", _four(99.6, 99.8, 97.6, 99.1)),
    Method("omniglot-maml", "MAML", "Finn et al. 2017, table 1", _four(98.7, 99.9, 95.8, 98.9), True, True),
    Method("omniglot-fomaml", "FOMAML", "Nichol et al. 2018, table 2", _four(98.3, 99.2, 89.4, 97.9), True, True),
    Method("omniglot-reptile", "Reptile", "Nichol et al. 2018, table 2", _four(95.39, 98.90, 88.14, 96.65), True),
    Method(
        "omniglot-reptile",
        "Reptile, transductive",
        "Nichol et al. 2018, table 2",
        _four(97.68, 99.48, 89.43, 97.12),
        True,
        tested={"batch_norm": "transductive"},
        suffix="-transductive",
    ),
    Method("omniglot-metasgd", "Meta-SGD", "Li et al. 2017, table 2", _four(99.53, 99.93, 95.93, 98.97), True, True),
    Method("omniglot-cavia", "CAVIA", fixed=True, shots_too=True),
    Method("omniglot-anil", "ANIL", fixed=True, shots_too=True),
    Method("omniglot-imaml", "iMAML", "Rajeswaran et al. 2019, table 2", _four(99.16, 99.67, 94.46, 98.69), True, True),
    Method("omniglot-snail", "SNAIL", "Mishra et al. 2018, table 1", _four(99.07, 99.78, 97.64, 99.36), True, True),
    Method("omniglot-metanet", "MetaNet", "Munkhdalai & Yu 2017, table 1", {"5w1s": 98.95, "20w1s": 97.0}, True, True),
    Method("omniglot-logistic", "Logistic regression on features (no meta-learning)"),
    Method("omniglot-finetune", "Fine-tuning of the head (no meta-learning)"),
    Method("omniglot-baselineplusplus", "Baseline++ (no meta-learning)"),
)


def _rows(method: Method) -> list[Row]:
    found = []
    for setting, (ways, shots) in SETTINGS.items():
        options = dict(method.options)
        if method.fixed:
            options |= {"ways": ways, "train_ways": ways, **(method.many if ways == 20 else {})}
        if method.shots_too and shots > 1:
            options |= {"shots": shots, "train_shots": shots}
        published = method.published.get(setting)
        found.append(
            Row(
                name=f"{method.recipe}{method.suffix}-{setting}",
                recipe=method.recipe,
                what=f"{method.label} on Omniglot, {ways}-way {shots}-shot.",
                options=options,
                test={"ways": ways, "shots": shots},
                tested=method.tested,
                published=None if published is None else published / 100,
                source=method.source,
                departures="; ".join(filter(None, (FEWER, method.departures))),
                chosen_on=CHOSEN,
            )
        )
    return found


ROWS = [enter(row) for method in METHODS for row in _rows(method)]
