"""Write the measured part of docs/benchmarks.md.

python -m benchmarks.page runs/bench/results.json    take these results over, and write the page
python -m benchmarks.page                            write the page from the results that are kept
python -m benchmarks.page --check                    fail if the page is not that of the results that are kept

Results are kept in benchmarks/results, one file a machine (named by --name).
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from benchmarks.command import read
from benchmarks.plot import draw
from benchmarks.table import LEGEND, absences, heading, markdown

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"


def section(path: Path, images: Path = IMAGES) -> str:
    """Return the part of the page about one machine."""
    content = read(path)
    environment = content["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    notes = [
        f"Measured {environment['date'][:10]} at revision {environment['revision']}"
        f"{' with uncommitted changes' if environment['changed'] else ''}, Python {environment['python']}, {versions}. "
        f"The run took {content['minutes']:.0f} minutes; the machine's load at its start was {environment['load']}.",
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


def page(text: str, kept: list[Path]) -> str:
    """Return the page with its measured part replaced."""
    measured = "\n\n".join(section(path) for path in kept) if kept else "None are kept yet."
    return re.sub(
        r"(<!-- results -->\n).*?(\n<!-- /results -->)", lambda found: found[1] + measured + found[2], text, flags=re.S
    )


def take_over(path: Path, name: str) -> None:
    """Keep the results of a run, and its plots."""
    content = read(path)
    KEPT.mkdir(exist_ok=True)
    shutil.copyfile(path, KEPT / f"{name}.json")
    for picture in draw(content, IMAGES):
        picture.replace(IMAGES / f"{name}-{picture.name}")


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", nargs="?", type=Path, help="results.json of a run to take over")
    parser.add_argument("--name", default="cpu", help="what to keep them as, such as cpu or gpu")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    arguments = parser.parse_args()
    if arguments.results is not None:
        take_over(arguments.results, arguments.name)
    old = PAGE.read_text()
    new = page(old, sorted(KEPT.glob("*.json")))
    if arguments.check:
        return int(new != old)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
