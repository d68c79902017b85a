"""The subcommand `completion`. It knows all others, since it completes them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import tyro
from tyro.conf import Positional

from quickstudy.cli.commands import COMMANDS as OTHERS
from quickstudy.cli.training import Train
from quickstudy.errors import QuickstudyError


@dataclass
class Completion:
    """Print a completion script for a shell."""

    shell: Positional[Literal["bash", "zsh", "fish", "tcsh"]]
    """Name of the shell. Bash reads the script from ~/.local/share/bash-completion/completions/quickstudy."""

    def __call__(self) -> int:
        """Print the script."""
        from importlib.util import find_spec

        if self.shell == "tcsh" and find_spec("shtab") is None:
            raise QuickstudyError("completion for tcsh needs shtab: pip install shtab")
        print_completion(self.shell)
        return 0


COMMANDS: dict[str, Any] = {**OTHERS, "completion": Completion}


def print_completion(shell: str) -> None:
    """Print the completion script of a shell."""
    whole: Any = _whole_command()
    config = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
    # tyro prints the script and exits.
    tyro.cli(whole, prog="quickstudy", args=["--tyro-print-completion", shell], config=config)


def _whole_command() -> Any:
    """Return a type whose subcommands are all commands, and all recipes below train."""
    from quickstudy.registry import table

    recipes: Any = tyro.extras.subcommand_type_from_defaults(
        {name: entry.build() for name, entry in table("recipe").items()}
    )
    train = dataclasses.make_dataclass("Train", [("recipe", recipes)], bases=(Train,))
    kinds = {**COMMANDS, "train": train}
    return Union[tuple(Annotated[each, tyro.conf.subcommand(name)] for name, each in kinds.items())]  # noqa: UP007
