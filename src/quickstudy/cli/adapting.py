"""`quickstudy adapt` and `predict`: learn one's own classes from a few examples each, and classify others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from quickstudy.cli.options import Checkpoint, Count, File
from quickstudy.errors import UsageError

if TYPE_CHECKING:
    from quickstudy.cli.adapt_folder import Adapted, Fitted

Format = Literal["auto", "table", "json", "csv"]
Needed = Annotated[Path, arg(metavar="PATH", help_behavior_hint="(required)")]
Share = Annotated[float | None, arg(metavar="P", help_behavior_hint="")]


@dataclass
class Adapt:
    """Learn your own classes from a few examples each, and classify other images or rows."""

    run: Annotated[Positional[str], arg(metavar="RUN", help_behavior_hint="")]
    """Run folder, or the name of a learner that needs no training: see `quickstudy list pretrained`."""
    support: Needed
    """A folder for each class, with its images; or a CSV with a column of classes."""
    query: File = None
    """Images to classify, nested or not. Images in folders named like the classes also give an accuracy. Or a CSV."""
    save: File = None
    """Keep what was learned in this .safetensors file, for `quickstudy predict`."""
    threshold: Share = None
    """Answer 'none of these' where the likeliest class is less probable than this, 0 to 1."""
    format: Format = "auto"
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
        from quickstudy.cli.adapt_folder import fitted
        from quickstudy.cli.console import say

        if self.query is None and self.save is None:
            raise UsageError("missing: --query PATH, what to classify, or --save FILE, or both", "adapt")
        if self.save is not None and self.save.suffix != ".safetensors":
            raise UsageError(f"--save {self.save}: the name must end in .safetensors", "adapt")
        found = fitted(self.run, self.support, self.invert, self.fit, self.size, self.checkpoint, self.device)
        if self.query is None:
            for remark in found.remarks:
                say(remark)
        else:
            _answer(found, self.query, self.threshold, self.format, self.output)
        if self.save is not None:
            found.save(self.save)
            say(f"saved what was learned; to use it again: quickstudy predict {self.save} --query PATH")
        return 0


@dataclass
class Predict:
    """Classify other images or rows with what `adapt --save` has kept."""

    classifier: Annotated[Positional[Path], arg(metavar="FILE", help_behavior_hint="")]
    """File of `adapt --save`, or of `FewShotClassifier.save` in Python."""
    query: Needed
    """Images to classify, nested or not, or a CSV with the columns that were learned from."""
    threshold: Share = None
    """Answer 'none of these' where the likeliest class is less probable than this, 0 to 1."""
    format: Format = "auto"
    """Format of the predictions; 'auto' follows the ending of --output, and is a table otherwise."""
    output: File = None
    """Write the predictions here; to standard output by default."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', ..."""

    def __call__(self) -> int:
        """Read, predict, write."""
        from quickstudy.cli.adapt_folder import fitted_from

        _answer(fitted_from(self.classifier, self.device), self.query, self.threshold, self.format, self.output)
        return 0


def _answer(found: Fitted, query: Path, threshold: float | None, format: Format, output: Path | None) -> None:
    """Classify, and show or write the answers."""
    from quickstudy.cli.adapt_folder import summary, tables, text
    from quickstudy.cli.console import say, show, write
    from quickstudy.storage.checkpoint import write_atomically

    answers: Adapted = found.answers(query, threshold)
    for remark in answers.remarks:
        say(remark)
    if format == "auto":
        ending = output.suffix if output is not None else ""
        format = "json" if ending == ".json" else "csv" if ending == ".csv" else "table"
    if output is not None:
        write_atomically(output, text(answers, format).encode())
        show(*summary(answers), f"Saved to {output}")
    elif format == "table":
        show(*tables(answers))
    else:
        write(text(answers, format))
