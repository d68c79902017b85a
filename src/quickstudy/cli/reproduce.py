"""The subcommand that runs a comparison again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from rich.table import Table

    from quickstudy.registry import Entry


@dataclass
class Reproduce:
    """Run a comparison from the documentation again, and write tables and plots into a folder."""

    name: Annotated[Positional[str], arg(metavar="NAME")] = ""
    """Name of the comparison; without a name, list them."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for the results; runs/NAME by default."""
    quick: bool = False
    """Run a small part of it, to see that everything works."""
    seeds: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Number of repetitions; the comparison's own number by default."""

    def __call__(self) -> int:
        """Run it, and say what came out."""
        from quickstudy.cli.console import counting, show
        from quickstudy.errors import UsageError
        from quickstudy.registry import table as entries

        if not self.name:
            show(*overview(entries("reproduction")))
            return 0
        study = self._known()
        if self.seeds is not None and self.seeds < 1:
            raise UsageError(f"--seeds must be positive, not {self.seeds}", "reproduce")
        folder = self.output or Path("runs") / self.name
        options: dict[str, Any] = {} if self.seeds is None else {"seeds": self.seeds}
        with counting(self.name, "parts") as tick:
            lines = study.build(folder, tick, quick=self.quick, **options)
        if self.quick and "recipe" not in study.facts:
            lines = [*lines, "This was a small part (--quick), to see that everything works: its figures say nothing."]
        show(*lines, f"Saved to {folder}")
        return 0

    def _known(self) -> Entry:
        """Return the study or row of this name, of which nothing but itself is imported.

        Raises:
            UsageError: there is none, or the name lacks a setting.
        """
        from quickstudy.errors import InputError, UsageError
        from quickstudy.registry import lookup
        from quickstudy.registry import table as entries

        try:
            return lookup("reproduction", self.name)
        except InputError as error:
            settings = [each for each in entries("reproduction") if parts(each)[0] == self.name]
            if settings:
                told = f"'{self.name}' is a row with settings; say which: {', '.join(settings)}"
                raise UsageError(told, "reproduce") from error
            raise UsageError(str(error), "reproduce") from error


def overview(known: Mapping[str, Entry]) -> list[Table | str]:
    """Return tables of the comparisons, and of the rows of the results: one line for rows that differ in settings."""
    from quickstudy.cli.console import table

    comparisons = [[name, each.summary] for name, each in known.items() if "recipe" not in each.facts]
    groups: dict[tuple[str, bool], dict[str, str]] = {}
    for name, each in known.items():
        if "recipe" in each.facts:
            stem, setting = parts(name)
            groups.setdefault((stem, bool(setting)), {})[setting] = each.summary
    rows = []
    for (stem, _), settings in groups.items():
        if len(settings) == 1:
            ((setting, what),) = settings.items()
            rows.append([f"{stem}-{setting}" if setting else stem, "", what])
        else:  # the words that all begin with
            words = zip(*(what.split() for what in settings.values()), strict=False)
            shared = [word for word, *_ in itertools.takewhile(lambda each: len(set(each)) == 1, words)]
            rows.append([stem, ", ".join(sorted(settings, key=_words_then_numbers)), " ".join([*shared, "..."])])
    return [
        "comparisons, with tables and plots:",
        table(["name", "what"], comparisons),
        "rows of the results, one figure each; a name goes with one of its settings, as in omniglot-maml-5w1s:",
        table(["name", "settings", "what"], rows),
    ]


def parts(row: str) -> tuple[str, str]:
    """Return a row's name up to the first part that has a digit, and the rest, its setting."""
    found = re.fullmatch(r"(.+?)-([^-]*\d.*)", row)
    return (found[1], found[2]) if found else (row, "")


def _words_then_numbers(setting: str) -> tuple[str, list[int]]:
    return re.sub(r"\d+", "", setting), [int(number) for number in re.findall(r"\d+", setting)]
