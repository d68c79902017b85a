"""The folder of a run: its description, its log and its checkpoints, and which runs may continue in it."""

from __future__ import annotations

import contextlib
import json
import logging
import platform
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine.ranks import Ranks
from quickstudy.errors import AnotherRunError, CheckpointError, RanksError
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage import locking
from quickstudy.storage import log as logs
from quickstudy.storage.differences import differences, of_options
from quickstudy.storage.files import CLASSES, LOG, exists, kind_of

log = logging.getLogger(__name__)
NEEDED = {"learner", "optimizer", "step", "best", "best_step", "since_best"}
"""What a checkpoint of meta-training holds at least."""
LATER = {"validation_tasks", "objective_code"}
"""What runs of before did not note down, so that nobody can tell whether it is the same."""
LOCK = ".lock"


class RunFolder:
    """A folder that all processes of a run read, and the first one writes; no other run may write it meanwhile.

    Args:
        path: the folder, existing or not.
        ranks: the processes.

    Raises:
        CheckpointError: the path is a file, or another process trains there.
    """

    def __init__(self, path: Path, ranks: Ranks) -> None:
        if kind_of(path) not in ("a folder", ""):
            raise CheckpointError(f"run_dir {path} is {kind_of(path)}; choose a folder")
        self.path, self.ranks = path, ranks
        self._let_go: weakref.finalize[Any, RunFolder] | None = None
        if ranks.first and self._hold():
            ckpt.remove_unfinished(path)

    def _hold(self) -> bool:
        """Keep other processes from training here, until `close`; return whether that is certain."""
        new = not exists(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            number = locking.hold(self.path / LOCK)
        except locking.HeldError as error:
            raise CheckpointError(
                f"{error} is training in {self.path} now; wait for it, stop it, or choose another run_dir"
            ) from error
        except locking.Unlockable as error:
            log.warning(
                "nothing keeps a second process from training in %s: its drive has no locks (%s)", self.path, error
            )
            return False
        except OSError as error:
            if error.errno in locking.READ_ONLY and not new:
                return False  # A finished run can be read all the same; what has to be written will say so.
            raise ckpt.write_error(self.path, error) from error
        self._let_go = weakref.finalize(self, _let_go, self.path, number, new)
        return True

    def close(self) -> None:
        """Let other processes train here."""
        if self._let_go is not None:
            self._let_go()

    def holds_run(self) -> bool:
        """Return whether there is a run to continue; all processes get the same answer, or an error.

        Raises:
            RanksError: not all processes see the same folder.
            CheckpointError: that cannot be found out.
        """
        last = self.path / ckpt.LAST
        seen = self.ranks.gather(torch.tensor([exists(last)])).tolist()
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
            try:
                with contextlib.suppress(FileNotFoundError):
                    (self.path / name).unlink()
            except OSError as error:
                raise ckpt.write_error(self.path / name, error) from error
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
        logs.write(self.path / LOG, [])

    def note_changes(self, steps: int, settings: dict[str, Any]) -> None:
        """Note what may differ when a run continues, such as a larger number of steps."""
        if not self.ranks.first:
            return
        old = ckpt.read_run(self.path)
        new = {**old, "steps": steps, "settings": _as_json(settings) or old.get("settings")}
        if new != old:
            ckpt.write_json(self.path / ckpt.RUN, new)

    def share_of(self, meta_batch: int, facts: dict[str, Any], notes: Mapping[str, Any] | None = None) -> int:
        """Return the number of tasks per step that this process takes to continue the run of this folder.

        That is `meta_batch`, but where there is another number of processes now, each takes an equal part of the run's.

        Raises:
            AnotherRunError: the folder holds another run than the facts describe; the message names what differs.
            CheckpointError: it holds one whose tasks cannot be shared, or a damaged description.
        """
        old = ckpt.read_run(self.path)
        for name in ("meta_batch", "ranks"):
            if not _is_count(old.get(name, 1)):
                raise CheckpointError(
                    f"{self.path / ckpt.RUN}: its '{name}' is {old[name]!r:.80}, which is no number of tasks or "
                    "processes; restore the file from a copy"
                )
        share = self._share(meta_batch, old)
        here = {key: _as_json(value) for key, value in facts.items() if key in old or key not in LATER}
        changed = [key for key, value in here.items() if old.get(key) != value]
        if "meta_batch" in changed and share * self.ranks.size == _total(old):
            changed.remove("meta_batch")
        if "objective_code" in changed and _versions(here) != _versions(old):
            changed.remove("objective_code")
        if "validation" in changed and "validation_tasks" in changed:
            changed.remove("validation_tasks")
        if changed:
            found = of_options(_as_json(notes), old.get("settings"))
            found = found or [each for key in changed for each in differences(here[key], old.get(key), key)]
            raise AnotherRunError(
                f"{self.path} holds a run with another {', '.join(changed)}; choose another run_dir, or pass "
                f"resume=False to start anew there. What differs: {'; '.join(map(str, found[:5]))}",
                found,
            )
        return share

    def _share(self, meta_batch: int, old: dict[str, Any]) -> int:
        if meta_batch != old.get("meta_batch") or self.ranks.size == old.get("ranks", 1):
            return meta_batch
        share, left = divmod(_total(old), self.ranks.size)
        if left:
            fitting = [n for n in range(1, min(_total(old), 1000) + 1) if _total(old) % n == 0]
            raise CheckpointError(
                f"{self.path} holds a run of {_total(old)} tasks per step, which {self.ranks.size} processes cannot "
                f"share evenly; go on with {', '.join(map(str, fitting))} processes"
            )
        return share

    def load(self) -> dict[str, Any]:
        """Return the last checkpoint, with the history until then, which the log has.

        Raises:
            CheckpointError: it cannot be read, lacks something, or holds something of another type.
        """
        last = self.path / ckpt.LAST
        content = ckpt.load_checkpoint(last)
        lacking = NEEDED - set(content)
        if lacking:
            raise CheckpointError(f"{last} lacks {sorted(lacking)}: not a checkpoint of meta-training")
        step = content["step"]
        whole = {name: _is_count(content[name], least=0) for name in ("step", "best_step", "since_best")}
        sound = {
            **whole,
            "best": content["best"] is None or (isinstance(content["best"], (int, float)) and whole["step"]),
            "best_step": whole["best_step"] and whole["step"] and content["best_step"] <= step,
            "optimizer": isinstance(content["optimizer"], dict),
            "outer": isinstance(content.get("outer", {}), dict),
            "history": "history" not in content or logs.check(content["history"]) is not None,
        }
        for name, right in sound.items():
            if not right:
                raise damaged(last, name, f"is {content[name]!r:.80}")
        ckpt.weights_of(content, "learner", last)
        return {**content, "history": self._history(content)}

    def _history(self, content: dict[str, Any]) -> list[logs.Row]:
        path, step = self.path / LOG, content["step"]
        if "history" in content:  # a checkpoint of when they had it
            rows: list[logs.Row] = content["history"]
            if self.ranks.first and logs.until(path, step, cut=True)[0] != rows:
                logs.write(path, rows)
            return rows
        gone = not exists(path)
        rows, bad = logs.until(path, step, cut=self.ranks.first)
        if self.ranks.first and (bad or gone):
            what = "is gone" if gone else f"has {bad} damaged lines, which are left out"
            log.warning("%s %s: the run goes on, but not all of its history is known", path, what)
        return rows

    def load_best(self, content: dict[str, Any]) -> dict[str, Tensor] | None:
        """Return the best weights that the last checkpoint knows of; None if they are gone.

        A kill between the two files leaves a best that is older: then the last weights are the best ones.
        """
        step, best = content["best_step"], self.path / ckpt.BEST
        if not step:
            return None
        if exists(best):
            try:
                saved = ckpt.load_checkpoint(best)
                weights = ckpt.weights_of(saved, "learner", best)
            except CheckpointError as error:
                if step == content["step"]:
                    return dict(content["learner"])
                raise CheckpointError(
                    f"{error}; or move {best} away: the run then goes on, and chooses among the weights to come"
                ) from error
            if saved.get("step") == step:
                return weights
        return dict(content["learner"]) if step == content["step"] else None

    def best_is_older(self, step: int) -> bool:
        """Return whether the file of the best weights lacks those of a step, as after a kill before it was written."""
        best = self.path / ckpt.BEST
        try:
            return not exists(best) or ckpt.load_checkpoint(best).get("step") != step
        except CheckpointError:
            return True

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Write a checkpoint of that name. What the log holds is on the disk before."""
        if self.ranks.first:
            logs.settle(self.path / LOG)
            ckpt.save_checkpoint(self.path / name, content)

    def log(self, row: logs.Row) -> None:
        """Add a row to the log."""
        if self.ranks.first:
            logs.append(self.path / LOG, row)


def damaged(path: Path, name: str, what: str) -> CheckpointError:
    """Return the error of a checkpoint that is whole, but one of whose fields is not what it should be."""
    return CheckpointError(
        f"{path}: its field '{name}' {what}, which no meta-training writes; restore the file from a copy, or train "
        "again with resume=False"
    )


def _let_go(path: Path, number: int, new: bool) -> None:
    locking.let_go(path / LOCK, number)
    if new:
        with contextlib.suppress(OSError):
            path.rmdir()  # of a run that never began


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**53


def _total(run: dict[str, Any]) -> int:
    """Return the number of tasks per step of a run that run.json describes."""
    return int(run.get("meta_batch", 0)) * int(run.get("ranks", 1))


def _versions(run: Mapping[str, Any]) -> Any:
    code = run.get("objective_code")
    return code.get("python") if isinstance(code, Mapping) else None


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _version() -> str:
    from quickstudy import __version__

    return __version__
