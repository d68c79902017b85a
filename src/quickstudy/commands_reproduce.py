"""The subcommand that runs a comparison again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg


@dataclass
class Reproduce:
    """Run a comparison of this library's documentation again; writes tables and plots into a folder."""

    name: Annotated[Positional[str], arg(metavar="NAME")] = ""
    """Which; without a name, list them."""
    output: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for the results; runs/NAME if not given."""
    quick: bool = False
    """A small part of it, to see that everything works."""
    seeds: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Repetitions; the comparison's own number if not given."""

    def __call__(self) -> int:
        """Run it, and say what came out."""
        from quickstudy.commands import UsageError
        from quickstudy.console import counting, show, table
        from quickstudy.errors import unknown_name
        from quickstudy.registry import table as entries

        known = entries("reproduction")
        if not self.name:
            show("reproductions:", table(["name", "what"], [[name, each.summary] for name, each in known.items()]))
            return 0
        if self.name not in known:
            raise UsageError(str(unknown_name("reproduction", self.name, known)), "reproduce")
        if self.seeds is not None and self.seeds < 1:
            raise UsageError(f"--seeds must be positive, not {self.seeds}", "reproduce")
        folder = self.output or Path("runs") / self.name
        options: dict[str, Any] = {} if self.seeds is None else {"seeds": self.seeds}
        with counting(self.name, "problems") as tick:
            lines = known[self.name].build(folder, tick, quick=self.quick, **options)
        show(*lines, f"Saved to {folder}")
        return 0
