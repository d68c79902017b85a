"""`quickstudy train`: meta-train a recipe into a run folder."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from quickstudy.cli.options import Count, Folder
from quickstudy.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from quickstudy.training import Run


@dataclass
class Train:
    """Meta-train a recipe into a run folder. The same command resumes an interrupted run."""

    recipe: Annotated[Any, arg(name="")]
    """Options of the recipe; the commands below `train` put the recipe's own dataclass here."""
    run_dir: Folder = None
    """Run folder; runs/RECIPE by default, or runs/METHOD-DATA for data of your own."""
    resume: bool = True
    """Continue an interrupted run in the folder; --no-resume starts anew."""
    seeds: Count = None
    """Number of runs, with the seeds --seed, --seed + 1 and so on, in folders that end in -sSEED."""

    def __call__(self) -> int:
        """Train, and say what to do next."""
        from quickstudy.cli.console import say, show

        if self.seeds is not None and self.seeds < 1:
            raise UsageError(f"--seeds must be positive, not {self.seeds}", "train")
        folder = self.run_dir if self.run_dir is not None else Path("runs") / _usual_name(self.recipe)
        for remark in self.recipe.remarks() if hasattr(self.recipe, "remarks") else ():
            say(remark)
        if self.seeds is None:
            self._train(self.recipe, folder)
            self._next(folder)
            return 0
        first = self.recipe.seed
        folders = [folder.with_name(f"{folder.name}-s{seed}") for seed in range(first, first + self.seeds)]
        for seed, each in enumerate(folders, first):
            self._train(dataclasses.replace(self.recipe, seed=seed), each)
        show("Next:")
        pattern = str(folder.with_name(f"{folder.name}-s*"))
        show(f"  quickstudy compare {shlex.quote(pattern)} --baselines{_imports()}")
        show(f"  quickstudy evaluate {shlex.quote(str(folders[0]))}{_imports()}")
        show(f"  quickstudy report {shlex.quote(pattern)}{_imports()}")
        return 0

    def _train(self, recipe: Any, folder: Path) -> Run:
        from quickstudy.cli.console import say, show

        if self.resume and (folder / "last.safetensors").exists():
            say(f"going on with the run in {folder}")
        try:
            run: Run = recipe.train(folder, resume=self.resume)
        except CheckpointError as error:
            if "resume=False" not in str(error):
                raise
            raise CheckpointError(f"{error} (in this command: --run-dir, --no-resume)") from error
        best = f", best validation {run.best:.4f} at step {run.best_step}" if run.best_step else ""
        early = ", stopped early" if run.stopped_early else ""
        show(f"Meta-trained {recipe.name}: {_work(run, recipe.meta_batch)}{early}{best}.")
        show(f"Run folder: {folder}")
        return run

    def _next(self, folder: Path) -> None:
        from quickstudy.cli.console import show

        name = shlex.quote(str(folder))
        show("Next:", f"  quickstudy evaluate {name}{_imports()}", f"  quickstudy report {name}{_imports()}")
        if hasattr(self.recipe, "ways"):
            what = "TABLE" if getattr(self.recipe, "of_table", False) else "FOLDER"
            show(f"  quickstudy adapt {name} --support {what} --query {what}{_imports()}")


def _usual_name(recipe: Any) -> str:
    data = getattr(recipe, "data", "")
    own = hasattr(recipe, "remarks") and Path(data).expanduser().exists()
    return f"{recipe.name}-{Path(data).resolve().name.partition('.')[0]}" if own else str(recipe.name)


def _work(run: Run, meta_batch: int) -> str:
    """Return how much a run has done, in words."""
    tasks, each = divmod(run.evaluations, max(1, run.steps))[0], run.evaluations
    if tasks % meta_batch == 0 and tasks * run.steps == each and run.evaluations:
        processes = "" if tasks == meta_batch else f" x {tasks // meta_batch}"
        return f"{run.steps:,} outer steps x {meta_batch} tasks{processes} = {each:,} tasks"
    return f"{run.steps:,} outer steps, {each:,} evaluations"


def _imports() -> str:
    """Return the options that import again what was imported."""
    from quickstudy.plugins import IMPORTED

    return "".join(f" --import {shlex.quote(_short(path))}" for path in IMPORTED)


def _short(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
