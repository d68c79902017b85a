"""Which names are there, and what is behind each? Answered without importing what they name, where that was done once.

Importing all methods takes seconds, and help should not. So the names are kept in the user's cache folder. A change to
any file of the package or to what is installed makes them be looked up again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import inspect
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

KINDS = ("recipe", "method", "learner", "dataset", "net", "rule", "outer", "objective", "metric", "tasks")
"""Kinds of names; `method` is what `quickstudy train` makes of data of one's own."""


class Name(NamedTuple):
    """A registered name.

    Attributes:
        summary: what it is, in a line.
        facts: columns of its table, such as family and paper.
    """

    summary: str
    facts: dict[str, str]


Catalogue = dict[str, dict[str, Name]]


def catalogue() -> Catalogue:
    """Return all names by kind, from the cache where it is current."""
    if "quickstudy.registry" in sys.modules and sys.modules["quickstudy.registry"].TABLES:
        return _looked_up()  # what was imported may have registered more
    path = _cache() / f"names-{_state()}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return {kind: {name: Name(*entry) for name, entry in content[kind].items()} for kind in KINDS}
    found = _looked_up()
    _keep(path, found)
    return found


def _looked_up() -> Catalogue:
    from quickstudy import datasets
    from quickstudy.recipes.own_methods import methods
    from quickstudy.registry import table

    found: Catalogue = {}
    for kind in KINDS:
        entries = methods() if kind == "method" else table(kind)
        found[kind] = {name: Name(entry.summary, dict(entry.facts)) for name, entry in entries.items()}
    for name in dir(datasets):
        each = getattr(datasets, name)
        if inspect.isfunction(each) and not name.endswith("_split") and name != "with_rotations":
            found["dataset"][name] = Name((inspect.getdoc(each) or "").partition("\n")[0], {})
    found["dataset"] = dict(sorted(found["dataset"].items()))
    return found


def _cache() -> Path:
    # As `datasets.reading.files.cache_folder`, which imports more than there is time for.
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "quickstudy"


def _state() -> str:
    """Return what changes whenever a file of the package does, or an installed package that announces names."""
    home = Path(__file__).parents[1]
    facts = [f"{sys.version_info} {home}"]
    for folder, _, files in os.walk(home):
        for file in files:
            if file.endswith(".py"):
                found = os.stat(os.path.join(folder, file))
                facts.append(f"{folder}/{file} {found.st_mtime_ns} {found.st_size}")
    for group in ("quickstudy.plugins", "quickstudy.studies"):
        for point in importlib.metadata.entry_points(group=group):
            version = point.dist.version if point.dist else ""
            facts.append(f"{point.group} {point.name} {point.value} {version}")
    return hashlib.sha256("\n".join(sorted(facts)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _keep(path: Path, found: Catalogue) -> None:
    """Write the names, and remove those of other states. Nobody needs them, so no failure is told."""
    if importlib.metadata.entry_points(group="quickstudy.plugins"):
        return  # a plug-in may change without its version
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob("names-*.json"):
            old.unlink(missing_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(found), encoding="utf-8")
        temporary.replace(path)
