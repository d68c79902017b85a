"""What options do several subcommands share?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

Count = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Folder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
Checkpoint = Literal["best", "last"]
RunFolder = Annotated[Positional[Path], arg(metavar="RUN", help_behavior_hint="")]
RunFolders = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="")]
Data = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
Column = Annotated[str | None, arg(metavar="COLUMN", help_behavior_hint="")]
Columns = Annotated[str | None, arg(metavar="COLUMN,COLUMN,...", help_behavior_hint="")]
