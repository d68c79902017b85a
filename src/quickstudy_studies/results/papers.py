"""How long papers trained for the figures that rows are put beside, where they or their authors' code say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAML = "Finn et al. 2017, table 1"
REPTILE = "Nichol et al. 2018, table 2"
LENGTHS: dict[tuple[str, str, int], tuple[int, int]] = {
    (MAML, "omniglot-maml", 5): (60_000, 32),
    (MAML, "omniglot-maml", 20): (60_000, 16),
    (REPTILE, "omniglot-reptile", 5): (100_000, 5),
    (REPTILE, "omniglot-reptile", 20): (200_000, 5),
    ("Sung et al. 2018, table 1", "omniglot-relation", 5): (1_000_000, 1),
    ("Sung et al. 2018, table 1", "omniglot-relation", 20): (1_000_000, 1),
    ("Rajeswaran et al. 2019, table 2", "omniglot-imaml", 5): (20_000, 32),
    ("Santoro et al. 2016, table 1", "omniglot-mann", 5): (6_250, 16),
    ("Finn et al. 2017, appendix C.1, table 2", "sinusoid-maml", 0): (70_000, 25),
    ("Zintgraf et al. 2019, table 1", "sinusoid-maml", 0): (50_000, 25),
    ("Zintgraf et al. 2019, table 1", "sinusoid-cavia", 0): (50_000, 25),
    ("Vuorio et al. 2019, table 2", "two-modes-maml", 0): (70_000, 50),
    ("Vuorio et al. 2019, table 2", "two-modes-mmaml", 0): (70_000, 50),
}
"""Outer steps and tasks of each, by source, recipe and ways (0: none)."""


def length(row: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return outer steps and tasks a step of the training that gave a row's published figure, or None: not known.

    Args:
        row: content of row.json.
    """
    ways = row["test"].get("ways", 0)
    return LENGTHS.get((row["source"], row["recipe"], ways[0] if isinstance(ways, list) else ways))
