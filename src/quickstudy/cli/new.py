"""`quickstudy new`: a file to begin a method, a recipe, a data set or an objective of one's own with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from quickstudy.cli.options import File
from quickstudy.errors import UsageError

NAMES = {"method": "MedianNet", "objective": "GoodStart", "data": "clouds", "recipe": "noisy-lines"}
"""What is called what in the templates."""


@dataclass
class New:
    """Write a file to begin a method, a recipe, a data set or an objective of your own with."""

    kind: Annotated[Positional[Literal["method", "recipe", "data", "objective"]], arg(metavar="KIND")]
    """Kind of what to begin."""
    name: Annotated[Positional[str], arg(metavar="NAME", help_behavior_hint="")]
    """Its name, such as MyNet for a method or an objective, my_data for data, my-recipe for a recipe."""
    output: File = None
    """The file; NAME.py in this folder by default."""

    def __call__(self) -> int:
        """Write the file, and say what to do next."""
        from quickstudy.cli.console import show
        from quickstudy.storage.checkpoint import write_atomically

        self._check_name()
        path = self.output or Path(f"{_file_name(self.name)}.py")
        if path.exists():
            raise UsageError(f"{path} exists; choose another name or --output", "new")
        write_atomically(path, filled(self.kind, self.name, path.name).encode())
        lines = (resources.files("quickstudy.cli.templates") / f"{self.kind}.py").read_text().splitlines()
        commands = [line.strip() for line in lines[2:6] if line.strip().startswith(("python ", "quickstudy "))]
        runs = [re.split(" {3,}", _renamed(each, self.kind, self.name, str(path)))[0] for each in commands]
        show(f"Wrote {path}", "Next:", *(f"  {each}" for each in runs))
        return 0

    def _check_name(self) -> None:
        pattern = r"[a-z0-9]+(-[a-z0-9]+)*" if self.kind == "recipe" else r"[A-Za-z_]\w*"
        if not re.fullmatch(pattern, self.name, flags=re.ASCII):
            what = (
                "small letters, digits and hyphens"
                if self.kind == "recipe"
                else "a name of Python's: letters and digits"
            )
            raise UsageError(f"'{self.name}' cannot name a {self.kind}; take {what}", "new")
        from quickstudy.registry import table

        kind = {"method": "learner", "data": "dataset"}.get(self.kind, self.kind)
        if self.name in table(kind):
            raise UsageError(f"there is a {kind} '{self.name}' already; take another name", "new")


def filled(kind: str, name: str, file: str) -> str:
    """Return the text of a new file.

    Args:
        kind: 'method', 'recipe', 'data' or 'objective'.
        name: of what it holds.
        file: its name, for the commands in its head.
    """
    text = (resources.files("quickstudy.cli.templates") / f"{kind}.py").read_text()
    return _renamed(text, kind, name, file)


def _renamed(text: str, kind: str, name: str, file: str) -> str:
    old = NAMES[kind]
    # The file's name first, as it may hold the other.
    text = re.sub(rf"\b{_file_name(old)}\.py\b", lambda found: file, text)
    text = re.sub(rf"\b{re.escape(old)}\b(?!\.py)", lambda found: name, text)
    if kind == "recipe":
        text = text.replace("NoisyLines", "".join(part.capitalize() for part in name.split("-")).lstrip("0123456789"))
    return text


def _file_name(name: str) -> str:
    """Return a name as that of a module: `my_net` for MyNet."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return words.replace("-", "_").lower()
