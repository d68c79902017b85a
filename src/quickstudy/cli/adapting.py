"""`quickstudy adapt`: learn one's own classes from a few images each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from quickstudy.cli.options import Checkpoint, Count, File, RunFolder


@dataclass
class Adapt:
    """Learn your own classes from a few images each, and classify other images."""

    run: RunFolder
    """Run folder."""
    support: Annotated[Path, arg(metavar="FOLDER", help_behavior_hint="(required)")]
    """A folder for each class, with its images."""
    query: Annotated[Path, arg(metavar="FOLDER", help_behavior_hint="(required)")]
    """Images to classify, nested or not. Images in folders named like the classes also give an accuracy."""
    format: Literal["auto", "table", "json", "csv"] = "auto"
    """Format of the predictions; 'auto' follows the ending of --output, and is a table otherwise."""
    output: File = None
    """Write the predictions here; to standard output by default."""
    invert: Literal["auto", "yes", "no"] = "auto"
    """Swap black and white; 'auto' does so for dark ink on light paper if the run learned from white ink on black."""
    fit: Literal["stretch", "crop"] = "stretch"
    """Stretch or crop images that are not square."""
    size: Count = None
    """Height and width in pixels, for nets that read several sizes."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', ..."""

    def __call__(self) -> int:
        """Adapt, predict, write."""
        from quickstudy.cli import adapt_folder
        from quickstudy.cli.console import say, show, write
        from quickstudy.storage.checkpoint import write_atomically

        found = adapt_folder.adapt_folder(
            self.run, self.support, self.query, self.invert, self.fit, self.size, self.checkpoint, self.device
        )
        for remark in found.remarks:
            say(remark)
        form = self.format
        if form == "auto":
            ending = self.output.suffix if self.output is not None else ""
            form = "json" if ending == ".json" else "csv" if ending == ".csv" else "table"
        if self.output is not None:
            write_atomically(self.output, adapt_folder.text(found, form).encode())
            show(f"Saved to {self.output}")
        elif form == "table":
            show(*adapt_folder.tables(found))
        else:
            write(adapt_folder.text(found, form))
        return 0
