"""Write the measured part of docs/benchmarks.md.

python -m benchmarks.page runs/bench/results.json    take these results over, and write the page
python -m benchmarks.page ONE.json TWO.json          take over those of several runs of some cases each
python -m benchmarks.page                            write the page from the results that are kept
python -m benchmarks.page --check                    fail if the page is not that of the results that are kept

Results are kept in benchmarks/results, one file a machine (named by --name).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.command import read
from benchmarks.plot import draw
from benchmarks.table import LEGEND, absences, heading, markdown

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
Content = dict[str, Any]


def section(path: Path, images: Path = IMAGES) -> str:
    """Return the part of the page about one machine."""
    content = read(path)
    environment = content["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    notes = [
        f"Measured {environment['date'][:10]} at revision {environment['revision']}"
        f"{' with uncommitted changes' if environment['changed'] else ''}, Python {environment['python']}, {versions}. "
        f"The runs took {content['minutes']:.0f} minutes; others kept {environment['load']} cores busy at the start.",
        f"Columns: {LEGEND}.",
        markdown(content),
        *[f"![{name}](images/{path.stem}-{name}.png)" for name in ("times", "growth") if _image(images, path, name)],
    ]
    missing = absences(content)
    if missing:
        notes.append("No part took:\n\n" + "\n".join(f"- {line}" for line in missing))
    return f"## {heading(environment, content['rates'])}\n\n" + "\n\n".join(notes)


def _image(images: Path, path: Path, name: str) -> bool:
    return (images / f"{path.stem}-{name}.png").exists()


def measured(kept: list[Path]) -> str:
    """Return the measured part of the page."""
    return "\n\n".join(section(path) for path in kept) if kept else "None are kept yet."


def page(text: str, kept: list[Path]) -> str:
    """Return the page with its measured part replaced."""
    part = measured(kept)
    return re.sub(
        r"(<!-- results -->\n).*?(\n<!-- /results -->)", lambda found: found[1] + part + found[2], text, flags=re.S
    )


def joined(parts: list[Content]) -> Content:
    """Return the results of runs of different cases as those of one run, with the facts of the first."""
    first = parts[0]
    cases = [row["case"] for part in parts for row in {row["case"]: row for row in part["rows"]}.values()]
    if len(set(cases)) < len(cases):
        sys.exit(f"several of these results are of the same case: {', '.join(cases)}")
    for fact in ("cpu", "threads", "device", "versions"):
        if any(part["environment"][fact] != first["environment"][fact] for part in parts):
            sys.exit(f"these results are not of one machine: they differ in {fact}")
    environment = {**first["environment"], "load": max(part["environment"]["load"] for part in parts)}
    environment["revision"] = ", ".join(dict.fromkeys(part["environment"]["revision"] for part in parts))
    environment["changed"] = any(part["environment"]["changed"] for part in parts)
    rows = sorted((row for part in parts for row in part["rows"]), key=lambda row: row["case"])
    return {
        **first,
        "environment": environment,
        "arguments": {**first["arguments"], "cases": sorted(cases)},
        "rows": rows,
        "errors": [error for part in parts for error in part["errors"]],
        "minutes": sum(part["minutes"] for part in parts),
    }


def take_over(paths: list[Path], name: str) -> None:
    """Keep the results of a run, or of several, and their plots."""
    content = joined([read(path) for path in paths])
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    for picture in draw(content, IMAGES):
        picture.replace(IMAGES / f"{name}-{picture.name}")


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path, help="results.json of runs to take over")
    parser.add_argument("--name", default="cpu", help="what to keep them as, such as cpu or gpu")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    arguments = parser.parse_args()
    if arguments.results:
        take_over(arguments.results, arguments.name)
    old = PAGE.read_text()
    new = page(old, sorted(KEPT.glob("*.json")))
    if arguments.check:
        return int(new != old)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
