"""The folder of a run: its description, its log and its checkpoints, and which runs may continue in it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine.ranks import Ranks
from quickstudy.errors import CheckpointError, InputError, RanksError
from quickstudy.storage import checkpoint as ckpt

CLASSES, LOG = "classes.json", "metrics.csv"
NEEDED = {"learner", "optimizer", "step", "best", "best_step", "since_best", "history"}
"""What a checkpoint of meta-training holds at least."""


class RunFolder:
    """A folder that all processes of a run read, and the first one writes.

    Args:
        path: the folder, existing or not.
        ranks: the processes.

    Raises:
        CheckpointError: the path is a file.
    """

    def __init__(self, path: Path, ranks: Ranks) -> None:
        if path.exists() and not path.is_dir():
            raise CheckpointError(f"run_dir {path} is a file; choose a folder")
        self.path, self.ranks = path, ranks
        self._events: Any = None
        if ranks.first:
            ckpt.remove_unfinished(path)

    def holds_run(self) -> bool:
        """Return whether there is a run to continue; all processes get the same answer, or an error.

        Raises:
            RanksError: not all processes see the same folder.
        """
        last = self.path / ckpt.LAST
        seen = self.ranks.gather(torch.tensor([last.exists()])).tolist()
        if any(seen) and not all(seen):
            raise RanksError(
                f"{last} exists for process {seen.index(True)} but not for process {seen.index(False)}; run_dir must "
                "be a folder that all machines share"
            )
        return bool(seen[0])

    def begin(self, run: dict[str, Any], device: torch.device, classes: dict[str, Any]) -> None:
        """Describe a new run, in place of whatever was there."""
        if not self.ranks.first:
            return
        for name in (ckpt.LAST, ckpt.BEST):
            with contextlib.suppress(FileNotFoundError):
                (self.path / name).unlink()
        environment = {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "platform": platform.platform(),
            "device": str(device),
            "threads": torch.get_num_threads(),
        }
        facts = {"format": ckpt.VERSION, "version": _version(), "ranks": self.ranks.size, **run}
        ckpt.write_json(self.path / ckpt.RUN, {**facts, "environment": environment})
        ckpt.write_json(self.path / CLASSES, classes)
        self.write_log([])

    def note_changes(self, steps: int, settings: dict[str, Any]) -> None:
        """Note what may differ when a run continues, such as a larger number of steps."""
        if not self.ranks.first:
            return
        old = ckpt.read_json(self.path / ckpt.RUN)
        new = {**old, "steps": steps, "settings": _as_json(settings) or old.get("settings")}
        if new != old:
            ckpt.write_json(self.path / ckpt.RUN, new)

    def share_of(self, meta_batch: int, facts: dict[str, Any]) -> int:
        """Return the number of tasks per step that this process takes to continue the run of this folder.

        That is `meta_batch`, but where there is another number of processes now, each takes an equal part of the run's.

        Raises:
            CheckpointError: the folder holds another run than the facts describe, or one whose tasks cannot be shared.
        """
        old = ckpt.read_json(self.path / ckpt.RUN)
        share = self._share(meta_batch, old)
        changed = [key for key, value in facts.items() if old.get(key) != _as_json(value)]
        if "meta_batch" in changed and share * self.ranks.size == _total(old):
            changed.remove("meta_batch")
        if changed:
            raise CheckpointError(
                f"{self.path} holds a run with another {', '.join(changed)}; choose another run_dir, or pass "
                "resume=False to start anew there"
            )
        return share

    def _share(self, meta_batch: int, old: dict[str, Any]) -> int:
        if meta_batch != old.get("meta_batch") or self.ranks.size == old.get("ranks", 1):
            return meta_batch
        share, left = divmod(_total(old), self.ranks.size)
        if left:
            fitting = [n for n in range(1, _total(old) + 1) if _total(old) % n == 0]
            raise CheckpointError(
                f"{self.path} holds a run of {_total(old)} tasks per step, which {self.ranks.size} processes cannot "
                f"share evenly; go on with {', '.join(map(str, fitting))} processes"
            )
        return share

    def load(self) -> dict[str, Any]:
        """Return the last checkpoint.

        Raises:
            CheckpointError: it cannot be read, or lacks something.
        """
        last = self.path / ckpt.LAST
        content = ckpt.load_checkpoint(last)
        lacking = NEEDED - set(content)
        if lacking:
            raise CheckpointError(f"{last} lacks {sorted(lacking)}: not a checkpoint of meta-training")
        self.write_log(content["history"])
        return content

    def load_best(self, step: int) -> dict[str, Tensor] | None:
        """Return the best weights, found at that step; None if there are none, or newer ones.

        A kill between two files can leave a newer best than the last checkpoint knows of; training will come to the
        same one again.
        """
        best = self.path / ckpt.BEST
        if not step or not best.exists():
            return None
        saved = ckpt.load_checkpoint(best)
        return saved["learner"] if saved["step"] == step else None

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Write a checkpoint of that name."""
        if self.ranks.first:
            ckpt.save_checkpoint(self.path / name, content)

    def open_events(self, step: int) -> None:
        """Write TensorBoard events too, those after a step anew."""
        if self.ranks.first:
            self._events = _summary_writer(self.path, step)

    def log(self, row: dict[str, float]) -> None:
        """Add a row to the log."""
        if not self.ranks.first:
            return
        try:
            with (self.path / LOG).open("a", newline="") as file:
                csv.writer(file).writerows(_cells([row]))
        except OSError as error:
            raise ckpt.write_error(self.path / LOG, error) from error
        if self._events is not None:
            for name, value in row.items():
                if name != "step":
                    self._events.add_scalar(name, value, int(row["step"]))

    def write_log(self, history: list[dict[str, float]]) -> None:
        """Write the whole log: rows after the last checkpoint will be made again."""
        if not self.ranks.first:
            return
        text = io.StringIO()
        csv.writer(text).writerows([["step", "name", "value"], *_cells(history)])
        ckpt.write_atomically(self.path / LOG, text.getvalue().encode())

    def close(self) -> None:
        """End the events."""
        if self._events is not None:
            self._events.close()


def _cells(rows: list[dict[str, float]]) -> list[list[Any]]:
    return [[row["step"], name, value] for row in rows for name, value in row.items() if name != "step"]


def _total(run: dict[str, Any]) -> int:
    """Return the number of tasks per step of a run that run.json describes."""
    return int(run.get("meta_batch", 0)) * int(run.get("ranks", 1))


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _version() -> str:
    from quickstudy import __version__

    return __version__


def _summary_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("tensorboard=True needs the extra: pip install 'quickstudy[tensorboard]'") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
