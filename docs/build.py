"""Write the generated parts of the docs from the code: a page for each method, and the tables of README.

python docs/build.py            write them
python docs/build.py --check    fail if they are not current
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path

import quickstudy.learners
import quickstudy.recipes  # noqa: F401  (both fill the tables)
from quickstudy.registry import Entry, table

ROOT = Path(__file__).parent.parent
FAMILIES = ("metric", "model", "optimisation", "baseline")


def page(entry: Entry) -> str:
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


def methods() -> str:
    """Return the table of methods, by family."""
    rows = ["| method | family | learned across tasks | for | paper |", "|---|---|---|---|---|"]
    for family in FAMILIES:
        for name, entry in table("learner").items():
            facts = entry.facts
            if facts["family"] == family:
                kinds = "classification, regression" if facts["tasks"] == "both" else facts["tasks"]
                rows.append(
                    f"| [{name}](docs/methods/{name}.md) | {family} | {facts['learns']} | {kinds} | {facts['paper']} |"
                )
    return "\n".join(rows)


def outputs() -> dict[Path, str]:
    """Return what each generated file should hold."""
    found = {ROOT / "docs" / "methods" / f"{name}.md": page(entry) for name, entry in table("learner").items()}
    readme = (ROOT / "README.md").read_text()
    found[ROOT / "README.md"] = re.sub(
        r"(<!-- methods -->\n).*?(\n<!-- /methods -->)", lambda m: m[1] + methods() + m[2], readme, flags=re.S
    )
    kept = ROOT / "docs" / "results" / "learned-optimizer.json"
    if kept.exists():
        # results.json of `quickstudy reproduce learned-optimizer`, kept with its curves.png as an image of the docs.
        from quickstudy_studies.learned_optimizer.page import markdown

        path = ROOT / "docs" / "studies" / "learned-optimizers.md"
        measured = markdown(json.loads(kept.read_text())) + "\n\n![curves](../images/learned-optimizer.png)"
        text = path.read_text()
        found[path] = re.sub(
            r"(<!-- results -->\n).*?(\n<!-- /results -->)", lambda m: m[1] + measured + m[2], text, flags=re.S
        )
    rows = [json.loads(path.read_text()) for path in sorted((ROOT / "docs" / "results" / "rows").glob("*.json"))]
    path = ROOT / "docs" / "results.md"
    from quickstudy_studies.results import results_page

    found[path] = re.sub(
        r"(<!-- rows -->\n).*?(\n<!-- /rows -->)",
        lambda m: m[1] + results_page.page(rows) + m[2],
        path.read_text(),
        flags=re.S,
    )
    return found


def main() -> int:
    """Write or check."""
    stale = []
    for path, text in outputs().items():
        if not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"not current: {', '.join(stale)}; run `python docs/build.py`", file=sys.stderr)
        return 1
    print(f"docs: {len(stale)} files {'would change' if '--check' in sys.argv else 'written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
