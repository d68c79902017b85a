"""The subcommand `list`: everything that has a name, and the map of what can be combined."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from rich.table import Table

    from quickstudy.cli.axes import Combination

KINDS = ("recipes", "learners", "datasets", "nets", "rules", "outer", "objectives", "metrics", "tasks", "reproductions")
Kind = Literal[
    "all",
    "recipes",
    "learners",
    "datasets",
    "nets",
    "rules",
    "outer",
    "objectives",
    "metrics",
    "tasks",
    "reproductions",
]
TABLES = {
    "recipes": "recipe",
    "learners": "learner",
    "nets": "net",
    "rules": "rule",
    "objectives": "objective",
    "metrics": "metric",
    "reproductions": "reproduction",
}


@dataclass
class List:
    """List all that has a name: recipes, learners, data sets, nets, metrics, and so on."""

    kind: Annotated[Positional[Kind], arg(metavar="KIND")] = "all"
    """Kind: all, recipes, learners, datasets, nets, rules, outer, objectives, metrics, tasks or reproductions."""
    axes: bool = False
    """Show which outer optimisers train which learners for which objectives, and why the others do not."""
    json: bool = False
    """With --axes, print every combination as one JSON object per line."""

    def __call__(self) -> int:
        """Show the tables."""
        from quickstudy.cli.console import show, table
        from quickstudy.cli.reproduce import overview
        from quickstudy.registry import table as entries

        if self.axes:
            from quickstudy.cli.axes import combinations

            if self.json:
                for each in combinations():
                    print(json.dumps(asdict(each)))
            else:
                show(*map_of(list(combinations())))
            return 0
        for kind in KINDS:
            if self.kind in ("all", kind) and kind == "reproductions":
                show(f"{kind}:", *overview(entries("reproduction")))
            elif self.kind in ("all", kind):
                columns, rows = listed(kind)
                show(f"{kind}:", table(columns, rows))
        return 0


def map_of(found: list[Combination]) -> list[Table | str]:
    """Return the map of combinations: HOW by WHY, HOW by WHAT, and each reason for a refusal with its frequency."""
    from quickstudy.cli.console import table

    outers, goals, names = (
        list(dict.fromkeys(getattr(each, axis) for each in found)) for axis in ("outer", "objective", "learner")
    )
    fine = [each for each in found if each.reason is None]
    by_goal = Counter((each.outer, each.objective) for each in fine)
    by_learner = Counter((each.learner, each.outer) for each in fine)

    def cells(count: Counter[tuple[str, str]], row: str, columns: list[str]) -> list[str]:
        return [str(count[row, column] or "-") for column in columns]

    reasons: Counter[str] = Counter()
    for each in found:
        if each.reason is not None:
            # Words that are names only by chance stay: Reptile's outer rule, a pretraining head.
            general = re.sub(rf"\b{each.learner}\b(?!'s outer rule)", "LEARNER", each.reason)
            reasons[re.sub(rf"\b{each.objective}\b(?! head|')", "OBJECTIVE", general)] += 1
    return [
        f"{len(fine):,} of {len(found):,} combinations of an outer optimiser, an objective and a learner make sense.",
        "",
        f"HOW by WHY: with how many of {len(names)} learners",
        table(["outer optimiser", *goals], [[row, *cells(by_goal, row, goals)] for row in outers], goals),
        f"WHAT by HOW: for how many of {len(goals)} objectives",
        table(["learner", *outers], [[row, *cells(by_learner, row, outers)] for row in names], outers),
        "Why not:",
        table(["times", "reason"], [[str(count), reason] for reason, count in reasons.most_common()], ["times"]),
        "FROM WHERE: any tasks that the learner can learn; see: quickstudy list tasks",
    ]


def listed(kind: str) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a table of names."""
    import inspect

    from quickstudy import datasets
    from quickstudy.registry import table

    if kind == "datasets":
        functions = {name: getattr(datasets, name) for name in dir(datasets)}
        rows = [
            [name, (inspect.getdoc(each) or "").partition("\n")[0]]
            for name, each in sorted(functions.items())
            if inspect.isfunction(each) and not name.endswith("_split") and name != "with_rotations"
        ]
        return ["name", "what"], rows
    entries = table(TABLES.get(kind, kind))
    facts = list(dict.fromkeys(fact for entry in entries.values() for fact in entry.facts))
    rows = [[name, entry.summary, "; ".join(entry.facts.values())] for name, entry in entries.items()]
    return (["name", "what", ", ".join(facts)], rows) if facts else (["name", "what"], [row[:2] for row in rows])
