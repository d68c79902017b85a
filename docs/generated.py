"""What is generated of README and the docs: each block between two marks of a page, and a page for each method.

A block stands between `<!-- MARK -->` and `<!-- /MARK -->`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quickstudy.registry import Entry, table

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "docs" / "results"
"""Contents of results.json and row.json that the pages are made of."""
FAMILIES = ("metric", "model", "optimisation", "baseline")


def methods() -> str:
    """Return the table of methods, by family."""
    rows = ["| method | family | learned across tasks | for | paper |", "|---|---|---|---|---|"]
    for family in FAMILIES:
        for name, entry in table("learner").items():
            facts = entry.facts
            if facts["family"] == family:
                kinds = "classification, regression" if facts["tasks"] == "both" else facts["tasks"]
                rows.append(f"| [{name}]({name}.md) | {family} | {facts['learns']} | {kinds} | {facts['paper']} |")
    return "\n".join(rows)


def kept(name: str) -> Any:
    """Return what is kept of a study."""
    return json.loads((KEPT / f"{name}.json").read_text())


def rows() -> list[dict[str, Any]]:
    """Return what is kept of the rows of the results."""
    return [json.loads(path.read_text()) for path in sorted((KEPT / "rows").glob("*.json"))]


def results() -> str:
    """Return the small tables of the results."""
    from quickstudy_studies.results.results_page import page

    return page(rows())


def ledger() -> str:
    """Return every row of the results."""
    from quickstudy_studies.results.results_page import ledger

    return ledger(rows())


def learned_optimizer() -> str:
    """Return what `quickstudy reproduce learned-optimizer` found."""
    from quickstudy_studies.learned_optimizer.page import markdown

    return markdown(kept("learned-optimizer")) + "\n\n![curves](../images/learned-optimizer.png)"


def pretrained() -> str:
    """Return what `quickstudy reproduce pretrained` found."""
    from quickstudy_studies.pretrained import markdown

    return markdown(kept("pretrained"))


def nets() -> str:
    """Return what `python -m tests.nets.sweep` found."""
    rows = ["| net | million parameters | outputs | ProtoNet | MAML |", "|---|---|---|---|---|"]
    for name, row in sorted(kept("nets").items()):
        gaps = [row[part] for part in ("forward", "proto_net", "maml")]
        cells = [f"{gap:.0e}" if isinstance(gap, float) else gap for gap in gaps]
        rows.append(f"| {name} | {row['parameters'] / 1e6:.1f} | {' | '.join(cells)} |")
    return "\n".join(rows)


def heads() -> str:
    """Return what `quickstudy reproduce heads` found."""
    from quickstudy_studies.heads import markdown

    return markdown(kept("heads")["runs"])


def benchmarks() -> str:
    """Return what was measured beside other libraries."""
    from benchmarks.page import KEPT, measured

    return measured(sorted(KEPT.glob("*.json")))


def scaling() -> str:
    """Return what was measured of several processes."""
    from benchmarks.scaling import KEPT
    from benchmarks.scaling_tables import markdown

    return markdown(json.loads(KEPT.read_text()))


GENERATED: dict[tuple[str, str], Callable[[], str]] = {
    ("docs/methods/README.md", "methods"): methods,
    ("docs/results.md", "rows"): results,
    ("docs/results/ledger.md", "rows"): ledger,
    ("docs/studies/learned-optimizers.md", "results"): learned_optimizer,
    ("docs/guide/pretrained.md", "results"): pretrained,
    ("docs/guide/nets.md", "nets"): nets,
    ("docs/studies/heads.md", "results"): heads,
    ("docs/benchmarks.md", "results"): benchmarks,
    ("docs/guide/scaling.md", "results"): scaling,
}
"""Every generated block, by its page and mark."""


def pages() -> dict[Path, str]:
    """Return what each page with a generated part should hold, and each page that is generated whole."""
    # The benchmarks are a package of the checkout.
    sys.path.insert(0, str(ROOT))
    found = {ROOT / "docs" / "methods" / f"{name}.md": method(entry) for name, entry in table("learner").items()}
    for (page, mark), block in GENERATED.items():
        path = ROOT / page
        found[path] = filled(found.get(path) or path.read_text(), mark, block())
    return found


def filled(text: str, mark: str, block: str) -> str:
    """Return a page with a block between its marks.

    Raises:
        ValueError: the page does not have each of the marks once.
    """
    parts = re.split(rf"(?<=<!-- {mark} -->\n).*?(?=\n<!-- /{mark} -->)", text, flags=re.S)
    if len(parts) != 2:
        raise ValueError(f"not one place for '{mark}', but {len(parts) - 1}")
    return block.join(parts)


def method(entry: Entry) -> str:
    """Return a method's page: its file's head, its class's docstring, and how to run it."""
    module = inspect.getmodule(entry.build)
    head = inspect.getdoc(module) or ""
    recipes = [name for name, recipe in table("recipe").items() if recipe.facts["learner"] == entry.name]
    runs = "\n".join(f"quickstudy train {name}" for name in recipes)
    parts = [
        f"# {entry.name}",
        f"*{entry.facts['family']} · learns {entry.facts['learns']} · {entry.facts['paper']}*",
        fenced(head),
        "## Use",
        f"```text\nquickstudy.learners.{entry.name}{signature(entry)}\n```",
        fenced(inspect.getdoc(entry.build) or ""),
    ]
    if runs:
        parts += ["## Recipes", f"```sh\n{runs}\n```"]
    return "\n\n".join(parts) + "\n"


def signature(entry: Entry) -> str:
    """Return a constructor's arguments as one would write them."""
    text = str(inspect.signature(entry.build).replace(return_annotation=inspect.Signature.empty))
    return re.sub(r": '([^']*)'", r": \1", text)


def fenced(text: str) -> str:
    """Return text with indented equations as code blocks and `Args:` lists as bullets."""
    lines, out, in_args = text.splitlines(), [], False
    for line in lines:
        if re.fullmatch(r"(Args|Raises|Returns|Attributes):", line.strip()):
            in_args = True
            out += [f"**{line.strip()[:-1]}**", ""]
        elif in_args and (match := re.match(r" {4}(\w+): (.*)", line)):
            out.append(f"- `{match[1]}`: {match[2]}")
        elif in_args and line.startswith("        "):
            out.append(f"  {line.strip()}")
        else:
            out.append(line)
    return "\n".join(out)
