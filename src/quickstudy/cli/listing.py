"""The subcommand `list`: everything that has a name, and the map of what can be combined."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from quickstudy.cli.catalogue import catalogue

if TYPE_CHECKING:
    from rich.table import Table

    from quickstudy.cli.axes import Combination

Kind = Literal[
    "overview",
    "all",
    "pretrained",
    "recipes",
    "methods",
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
WIDTH = 100
"""Most columns of a page."""
TABLES = {
    "recipes": "recipe",
    "methods": "method",
    "learners": "learner",
    "datasets": "dataset",
    "nets": "net",
    "rules": "rule",
    "outer": "outer",
    "objectives": "objective",
    "metrics": "metric",
    "tasks": "tasks",
}
KINDS = ("pretrained", *TABLES, "reproductions")
WHAT = {
    "pretrained": ("trained already, for `quickstudy adapt`", ()),
    "recipes": ("published results and examples, for `quickstudy train`", ("glyphs-maml", "omniglot-protonet")),
    "methods": ("for classes of your own: `quickstudy train METHOD --data PATH`", ("protonet", "maml")),
    "learners": ("methods as Python classes: WHAT is learned across tasks", ("ProtoNet", "MAML")),
    "outer": ("outer optimisers: HOW it is learned", ("Gradient", "Reptile")),
    "objectives": ("what learning well means: WHY", ("query_loss", "WorstCase")),
    "tasks": ("distributions of tasks: FROM WHERE", ("FewShot", "Sinusoid")),
    "datasets": ("data to make tasks from", ("glyphs", "omniglot")),
    "nets": ("neural networks", ("conv4", "mlp")),
    "rules": ("update rules of inner loops", ("SGD", "Adam")),
    "metrics": ("what is measured in evaluation", ("accuracy", "mse")),
    "reproductions": ("figures of the documentation, for `quickstudy reproduce`", ()),
}


@dataclass
class List:
    """List what has a name: learners, recipes, data sets, nets, metrics, and so on."""

    kind: Annotated[Positional[Kind], arg(metavar="KIND")] = "overview"
    """Kind of names, such as recipes, or all; without it, how many there are of each kind."""
    axes: bool = False
    """Show which outer optimisers train which learners for which objectives, and why the others do not."""
    json: bool = False
    """With --axes, print every combination as one JSON object per line."""

    def __call__(self) -> int:
        """Show the tables."""
        from quickstudy.cli.console import show

        if self.axes:
            from quickstudy.cli.axes import combinations

            if self.json:
                for each in combinations():
                    print(json.dumps(asdict(each)))
            else:
                show(*map_of(list(combinations())), width=WIDTH)
        elif self.kind == "overview":
            show(*overview(), width=WIDTH)
        else:
            for kind in KINDS if self.kind == "all" else (self.kind,):
                show(*page(kind), width=WIDTH)
        return 0


def overview() -> list[Table | str]:
    """Return how many names there are of each kind, with a few of them."""
    from quickstudy import shipped
    from quickstudy.cli.console import table

    names = catalogue()
    rows = []
    for kind, (what, examples) in WHAT.items():
        if kind == "pretrained":
            known = shipped.names("learner")
            rows.append([kind, str(len(known)), ", ".join(known[:2]), what])
        elif kind == "reproductions":
            rows.append([kind, "", "", what])
        else:
            known = [*names[TABLES[kind]]]
            rows.append([kind, str(len(known)), ", ".join(each for each in examples if each in known), what])
    return [
        table(["kind", "number", "such as", "what"], rows, ["number"]),
        "More: `quickstudy list KIND`, `quickstudy list all`; what goes with what: `quickstudy list --axes`",
    ]


def page(kind: str) -> list[Table | str]:
    """Return all names of a kind, in groups where there are many."""
    from quickstudy.cli.console import table

    if kind == "reproductions":
        from quickstudy.cli.reproduce import overview as studies
        from quickstudy.registry import table as entries

        return [f"{kind}:", *studies(entries("reproduction"))]
    if kind == "pretrained":
        from quickstudy.cli.listing_pretrained import columns_and_rows

        return [f"{kind}:", table(*columns_and_rows())]
    columns, rows = listed(kind)
    narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDTH
    parts: list[Table | str] = [f"{kind}: {len(rows)}"]
    for title, members in groups(kind, rows).items():
        drawn = table(columns, members, narrow=narrow)
        parts += [title, drawn] if title else [drawn]
    return parts


def listed(kind: str) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a table of names."""
    names = catalogue()[TABLES[kind]]
    shown = ("learns", "paper") if kind == "learners" else ("paper",) if kind == "recipes" else ()
    facts = [fact for fact in shown if any(fact in each.facts for each in names.values())]
    rows = [[name, each.summary, *(each.facts.get(fact, "") for fact in facts)] for name, each in names.items()]
    return ["name", "what", *facts], rows


def groups(kind: str, rows: list[list[str]]) -> dict[str, list[list[str]]]:
    """Return the rows of a table by group: recipes by their data, learners by their family."""
    names = catalogue()[TABLES[kind]]
    found: dict[str, list[list[str]]] = {}
    for row in rows:
        found.setdefault(_group(kind, row[0], names[row[0]].facts), []).append(row)
    if kind == "recipes":  # groups of one or two are one group
        small = [title for title, members in found.items() if len(members) < 3]
        found["others"] = [row for title in small for row in found.pop(title)]
    return found


def _group(kind: str, name: str, facts: dict[str, str]) -> str:
    if kind == "recipes":
        words = name.split("-")
        return "-".join(words[:2]) if words[0] == "double" else words[0]
    return facts.get("family", "") if kind == "learners" else ""


def map_of(found: list[Combination]) -> list[Table | str]:
    """Return the map of combinations: HOW by WHY, HOW by WHAT, and each reason for a refusal with its frequency."""
    from quickstudy.cli.console import table

    outers, goals, names = (
        list(dict.fromkeys(getattr(each, axis) for each in found)) for axis in ("outer", "objective", "learner")
    )
    fine = [each for each in found if each.reason is None]
    by_goal = Counter((each.objective, each.outer) for each in fine)
    by_learner = Counter((each.learner, each.outer) for each in fine)
    numbers = [str(i + 1) for i in range(len(outers))]

    def rows(count: Counter[tuple[str, str]], labels: list[str]) -> list[list[str]]:
        return [[label, *(str(count[label, outer] or "-") for outer in outers)] for label in labels]

    reasons: Counter[str] = Counter()
    for each in found:
        if each.reason is not None:
            # Words that are names only by chance stay: Reptile's outer rule, a pretraining head.
            general = re.sub(rf"\b{each.learner}\b(?!'s outer rule)", "LEARNER", each.reason)
            reasons[re.sub(rf"\b{each.objective}\b(?! head|')", "OBJECTIVE", general)] += 1
    what = catalogue()["outer"]
    summaries = [
        [n, outer, what[outer].summary if outer in what else ""] for n, outer in zip(numbers, outers, strict=True)
    ]
    return [
        "A method joins a learner (WHAT is learned across tasks), an outer optimiser (HOW), and an objective (WHY).",
        f"{len(fine):,} of {len(found):,} combinations make sense. The tables count them; - means that none does.",
        "",
        "HOW: outer optimisers, whose numbers head the tables below",
        table(["number", "outer optimiser", "what"], summaries, ["number"]),
        f"WHY: with how many of the {len(names)} learners each objective goes, by outer optimiser",
        table(["objective", *numbers], rows(by_goal, goals), numbers),
        f"WHAT: with how many of the {len(goals)} objectives each learner goes, by outer optimiser",
        table(["learner", *numbers], rows(by_learner, names), numbers),
        "Why others do not go together, and how often that is the reason:",
        table(["times", "reason"], [[str(count), reason] for reason, count in reasons.most_common()], ["times"]),
        "FROM WHERE: any tasks that the learner can learn; see `quickstudy list tasks`",
        "One combination after the other, with its reason: `quickstudy list --axes --json`",
    ]
