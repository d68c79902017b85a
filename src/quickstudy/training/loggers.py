"""Who else is told what a run logs: TensorBoard, Weights & Biases, MLflow, a table, or anything of one's own.

A logger is any object with `log_metrics(metrics, step)`, as those of Lightning Fabric are. Where it has them, these are
called too: `log_hyperparams(facts)` at the start, `save()` after rows, and `finalize(status)` at the end.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from quickstudy.errors import InputError, NonFiniteError, unknown_name
from quickstudy.storage.log import Row

log = logging.getLogger(__name__)
Named = Literal["csv", "tensorboard", "wandb", "mlflow"]


class Logger(Protocol):
    """Something that is told the rows of a run's log."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> Any:
        """Take in values by name, of a step."""


class Loggers:
    """Loggers, none of which can stop a training: one that raises is named in a warning, and told nothing more.

    Rows are passed on once a checkpoint holds the steps that made them, so that a run that was killed and goes on
    passes none on twice.

    Args:
        loggers: the loggers, or their names.
        folder: the run folder. Without one there are no checkpoints, and rows are passed on at once.
    """

    def __init__(self, loggers: Sequence[Logger | str], folder: Path | None) -> None:
        self._all: list[Any] = [named(each, folder) if isinstance(each, str) else each for each in loggers]
        self._at_once, self._waiting = folder is None, list[Row]()

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Tell them what the run is."""
        self._each("log_hyperparams", dict(facts))

    def log(self, row: Row) -> None:
        """Take in a row of the log."""
        self._waiting.append(row)
        if self._at_once:
            self.saved()

    def saved(self) -> None:
        """Pass on what has been taken in, as a checkpoint holds it now."""
        for row in self._waiting:
            self._each("log_metrics", {name: value for name, value in row.items() if name != "step"}, int(row["step"]))
        if self._waiting:
            self._each("save")
        self._waiting.clear()

    def ended(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Tell them how the run ended, given the kind of what was raised: 'success', 'interrupted' or 'failed'."""
        if kind is not None and issubclass(kind, NonFiniteError):
            self.saved()  # The steps will come to the same end again, and how they came there is worth seeing.
        interrupted = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit))
        self._each("finalize", "success" if kind is None else "interrupted" if interrupted else "failed")

    def _each(self, method: str, *arguments: Any) -> None:
        for logger in list(self._all):
            call: Callable[..., Any] | None = getattr(logger, method, None)
            if call is None:
                continue
            try:
                call(*arguments)
            except NotImplementedError:
                continue  # Fabric's way to say that a logger has no such thing
            except Exception as error:
                self._all.remove(logger)
                first = str(error).partition("\n")[0]
                log.warning(
                    "%s failed (%s: %s) and is told nothing more; the training goes on, and metrics.csv has all rows",
                    type(logger).__name__, type(error).__name__, first,
                )  # fmt: skip


def check(loggers: Any) -> list[Logger | str]:
    """Return loggers, or names of loggers, as a list.

    Raises:
        InputError: one of them has no `log_metrics`, there is none of a name, or its library is not installed.
    """
    found = list(loggers) if isinstance(loggers, (list, tuple)) else [loggers]
    for each in found:
        if isinstance(each, str):
            if each not in LIBRARIES:
                raise unknown_name("logger", each, LIBRARIES)
            library(each)
        elif not callable(getattr(each, "log_metrics", None)):
            raise InputError(
                f"a logger needs a method log_metrics(metrics, step), as Fabric's CSVLogger has; {each!r:.80} has none"
            )
    return found


LIBRARIES = {
    "csv": "lightning_fabric.loggers", "tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "mlflow": "mlflow",
}  # fmt: skip
"""What the loggers that have names are made with."""


def library(name: str) -> Any:
    """Return the library of a logger.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(LIBRARIES[name])
    except ImportError as error:
        how = "pip install 'quickstudy[tensorboard]'" if name == "tensorboard" else f"pip install {name}"
        raise InputError(f"the logger '{name}' needs {name}, which is not installed: {how}") from error


class TensorBoard:
    """Writes TensorBoard events into the folder 'tensorboard' of a run, later ones in place of those of a killed run.

    Args:
        folder: the run folder, or None for 'tensorboard' in the working directory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = str((folder or Path()) / "tensorboard")
        self.writer: Any = None
        self._make: Any = library("tensorboard").SummaryWriter

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write values."""
        if self.writer is None:
            self.writer = self._make(self.folder, purge_step=step)
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def save(self) -> None:
        """Write what has been taken in."""
        if self.writer is not None:
            self.writer.flush()

    def finalize(self, status: str) -> None:
        """End the events."""
        if self.writer is not None:
            self.writer.close()


class WeightsAndBiases:
    """Logs to Weights & Biases, into one run of that service for each run folder, which is gone on with.

    Args:
        folder: the run folder, whose name the run of the service has.
    """

    def __init__(self, folder: Path | None) -> None:
        wandb = library("wandb")
        name = (folder or Path()).resolve().name
        self.run: Any = wandb.init(project="quickstudy", name=name, dir=folder, id=_identity(folder), resume="allow")

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Note what the run is."""
        self.run.config.update(params, allow_val_change=True)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log values; those of a validation come after those of the loss, at the same step."""
        self.run.log(metrics, step=step)

    def finalize(self, status: str) -> None:
        """End the run of the service."""
        self.run.finish(exit_code=0 if status == "success" else 1)


class MLflow:
    """Logs to MLflow, where its environment variables say.

    Args:
        folder: the run folder, whose name the run of the service has.
    """

    def __init__(self, folder: Path | None) -> None:
        self.mlflow: Any = library("mlflow")
        self.mlflow.start_run(run_name=(folder or Path()).resolve().name)

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Note what the run is."""
        self.mlflow.log_dict(params, "run.json")

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log values."""
        self.mlflow.log_metrics(metrics, step=step)

    def finalize(self, status: str) -> None:
        """End the run of the service."""
        self.mlflow.end_run("FINISHED" if status == "success" else "FAILED")


class Table:
    """Writes a table with a column for each name, 'table.csv' in the run folder, with Fabric's CSVLogger.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path | None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are logs of this run already
            self.logger: Any = library("csv").CSVLogger(folder or Path(), name="csv", flush_logs_every_n_steps=10**9)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add values to the row of a step."""
        self.logger.log_metrics(metrics, step)

    def save(self) -> None:
        """Write the rows."""
        self.logger.save()


def named(name: str, folder: Path | None) -> Logger:
    """Return the logger of a name: 'csv', 'tensorboard', 'wandb' or 'mlflow'.

    Args:
        name: the name.
        folder: the run folder.

    Raises:
        InputError: there is none of that name, or its library is not installed.
    """
    made: dict[str, Callable[[Path | None], Logger]] = {
        "csv": Table, "tensorboard": TensorBoard, "wandb": WeightsAndBiases, "mlflow": MLflow,
    }  # fmt: skip
    check(name)
    return made[name](folder)


def _identity(folder: Path | None) -> str | None:
    """Return the name of a run of the service that a run folder always has."""
    return None if folder is None else hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
