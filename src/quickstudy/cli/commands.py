"""The subcommands of `quickstudy`: each is a dataclass whose fields are its options, and calling it does the work.

Nothing heavy is imported before a command runs, so that help answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from quickstudy.cli.adapting import Adapt, Predict
from quickstudy.cli.judging import Compare, Evaluate, Report
from quickstudy.cli.listing import List
from quickstudy.cli.new import New
from quickstudy.cli.reproduce import Reproduce
from quickstudy.cli.training import Train


@dataclass
class Demo:
    """Meta-train on embedded data, evaluate on writing systems never seen, and write one page about it."""

    output: Annotated[Path, arg(metavar="DIR")] = Path("runs/demo")
    """Folder for the runs and the page."""
    quick: bool = False
    """Take fewer steps: a minute in place of several, and lower figures."""

    def __call__(self) -> int:
        """Run the demonstration."""
        from quickstudy.cli import demo  # type: ignore[attr-defined,unused-ignore]

        return int(demo.main(self.output, self.quick))


COMMANDS: dict[str, Any] = {
    "train": Train,
    "evaluate": Evaluate,
    "compare": Compare,
    "adapt": Adapt,
    "predict": Predict,
    "report": Report,
    "list": List,
    "new": New,
    "demo": Demo,
    "reproduce": Reproduce,
}
"""All subcommands except `completion`, which knows the others."""
