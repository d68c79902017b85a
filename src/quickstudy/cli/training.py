"""`quickstudy train`: meta-train a recipe into a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from quickstudy.cli.options import Folder
from quickstudy.errors import CheckpointError


@dataclass
class Train:
    """Meta-train a recipe into a run folder. The same command resumes an interrupted run."""

    recipe: Annotated[Any, arg(name="")]
    """Options of the recipe; the commands below `train` put the recipe's own dataclass here."""
    run_dir: Folder = None
    """Run folder; runs/RECIPE by default."""
    resume: bool = True
    """Continue an interrupted run in the folder; --no-resume starts anew."""

    logger: Literal["csv", "tensorboard", "wandb", "mlflow"] | None = None
    """Also log to a table, TensorBoard, Weights & Biases or MLflow."""

    def __call__(self) -> int:
        """Train, and say what to do next."""
        from quickstudy.cli.console import show

        folder = self.run_dir if self.run_dir is not None else Path("runs") / self.recipe.name
        try:
            run = self.recipe.train(folder, resume=self.resume, loggers=() if self.logger is None else self.logger)
        except CheckpointError as error:
            if "resume=False" not in str(error):
                raise
            raise CheckpointError(f"{error} (in this command: --run-dir, --no-resume)") from error
        best = f", best validation {run.best:.4f} at step {run.best_step}" if run.best_step else ""
        early = ", stopped early" if run.stopped_early else ""
        show(f"Meta-trained {self.recipe.name}: {run.steps} steps, {run.evaluations:,} evaluations{early}{best}.")
        show(f"Run folder: {folder}", "Next:")
        show(f"  quickstudy evaluate {folder}", f"  quickstudy report {folder}")
        if hasattr(self.recipe, "ways"):
            show(f"  quickstudy adapt {folder} --support FOLDER --query FOLDER")
        return 0
