"""The errors that Quickstudy raises.

Every message says what was wrong, where (the argument), and what to do. Each class is also the standard exception
that callers would expect, so `except ValueError` keeps working.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class QuickstudyError(Exception):
    """Base of all errors raised on purpose by this library."""


class InputError(QuickstudyError, ValueError):
    """An argument has the wrong shape, type, range or content."""


class KindError(InputError, TypeError):
    """An argument holds things of a kind that cannot be rows or labels, such as dicts in an array."""


class DataError(QuickstudyError, ValueError):
    """A file or an archive is missing, corrupt or hostile."""


class DataNotFoundError(DataError, FileNotFoundError):
    """No copy of a data set was found and none could be downloaded; the message says which file to put where."""


class CheckpointError(QuickstudyError, RuntimeError):
    """A run folder or a checkpoint cannot be read: truncated, of another version, or of another learner."""


class Difference(NamedTuple):
    """One thing here and another in a run folder: its name, and both values, as in JSON."""

    name: str
    here: Any
    there: Any

    def __str__(self) -> str:
        return f"{self.name} {self.here!r:.60} here, {self.there!r:.60} in the run"


class AnotherRunError(CheckpointError):
    """A folder holds another run than the one that was to go on there.

    Attributes:
        differences: what tells the two apart.
    """

    def __init__(self, message: str, differences: Iterable[Difference] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences)


class NonFiniteError(QuickstudyError, ArithmeticError):
    """A loss, a meta-gradient or a prediction is NaN or infinite; the message says in which tasks, or in which file."""


class RanksError(QuickstudyError, RuntimeError):
    """The processes of a run cannot work together: one is gone, or they do not see the same folder."""


class LaunchError(InputError):
    """The environment says that several processes were started, but not in a way that can be true."""


class UnsupportedLayerError(QuickstudyError, RuntimeError):
    """A layer of the user's net cannot be batched over tasks or differentiated twice; the message names the layer."""


class UsageError(QuickstudyError):
    """A mistake in the command line.

    Attributes:
        hint: where there is help.
    """

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.hint = f"For help: {' '.join(filter(None, ('quickstudy', command)))} --help"


MANY_NAMES = 30
"""Number of names up to which an error message lists all of them."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return an error for an unknown name, with the nearest known one."""
    names = sorted(known)
    near = nearest(name, {each: each for each in names})
    hint = f"; did you mean '{near}'?" if near else "."
    if near and len(names) > MANY_NAMES:
        return InputError(f"unknown {kind} '{name}'{hint} `quickstudy list` shows all {len(names)}")
    return InputError(f"unknown {kind} '{name}'{hint} Known: {', '.join(names) or 'none'}")


def nearest(name: str, known: Mapping[str, str]) -> str:
    """Return the value of the known name that is most like a name; empty if none is."""
    near = max(known, key=lambda each: _nearness(name, each), default="")
    return known[near] if near and _nearness(name, near) >= 0.4 else ""


def _nearness(name: str, known: str) -> float:
    """Return how similar two names are, 0 to 1. A long name that contains or begins like the typed one is near too."""
    if not name:
        return 0.0
    if len(name) > 2 and name in known:
        return 0.99
    begins = difflib.SequenceMatcher(None, name, known[: len(name)]).ratio()
    return max(difflib.SequenceMatcher(None, name, known).ratio(), 0.98 * begins)


def how_to_install(library: str) -> str:
    """Return the command that installs a library: an extra of this package, where one has it."""
    import importlib.metadata

    try:
        needs = importlib.metadata.requires("quickstudy") or []
    except importlib.metadata.PackageNotFoundError:
        needs = []
    for line in needs:
        found = re.match(r"""([\w.-]+).*extra == ["'](\w+)""", line)
        if found and found[2] != "dev" and found[1].replace("-", "_").lower() == library.lower():
            return f"pip install 'quickstudy[{found[2]}]'"
    return f"pip install {library}"
