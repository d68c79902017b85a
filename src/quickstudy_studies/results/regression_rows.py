"""Rows of regression: sinusoids, and sinusoids and lines together."""

from __future__ import annotations

from typing import Any

from quickstudy_studies.results.mean_row import enter_mean
from quickstudy_studies.results.row import Row, enter

MODES = "Vuorio et al. 2019, table 2"
SINE = "Finn et al. 2017, appendix C.1, table 2"
FEWER = "fewer outer steps"
OUTER = "of Adam at 0.002 with a cosine schedule, in place of 0.001"
SETTINGS = "settings of the paper and of earlier runs on draws of the same family; weights on 100 other tasks"


def _sinusoids() -> list[Row]:
    """MAML after 1, 5 and 10 steps; Meta-SGD; CAVIA beside MAML at 10 shots."""
    common: dict[str, Any] = {"chosen_on": SETTINGS}
    rows = [
        Row(
            f"sinusoid-maml-{steps}-steps",
            "sinusoid-maml",
            f"MAML on sinusoids, 5 shots, {steps} inner step{'s' if steps > 1 else ''} in the test.",
            small={"steps": 10_000},
            tested={"inner_steps": steps},
            published=figure,
            source=SINE,
            departures=f"meta-trained on 5 points, where the paper's model was on 10; {FEWER} than 70,000, {OUTER}",
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
                departures=f"{FEWER} than 50,000, {OUTER}",
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
            comparable=False,
            departures=f"drawn and counted as for Finn et al. 2017; outer steps {OUTER}",
            **common,
        )
    )
    return rows


def _two_modes() -> list[Row]:
    """MAML and MMAML on sinusoids and lines, and a MAML on each of them alone."""
    common: dict[str, Any] = {
        "departures": "fewer tasks than 3.5 million; 20 queries in meta-training; no learned inputs for MAML",
        "chosen_on": "settings of the authors' code and of earlier runs on draws of the same families; weights on 100 "
        "other tasks",
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


REGRESSION = [enter(row) for row in (*_sinusoids(), *_two_modes())]
enter_mean(
    "two-modes-multimaml",
    "A MAML for each of sinusoids and lines, the mode told (Multi-MAML).",
    [row for row in REGRESSION if row.name in ("two-modes-maml-sine", "two-modes-maml-linear")],
    published=0.43,
    source=f"{MODES} (Multi-MAML)",
)
