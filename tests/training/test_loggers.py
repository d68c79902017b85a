"""Loggers are told each row once, and none of them can stop a training."""

import csv
import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric.loggers import CSVLogger

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.errors import InputError
from quickstudy.training import loggers
from tests.training.test_random_state import recipe


class Told:
    def __init__(self, fails_at: int = -1) -> None:
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.facts: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.fails_at = fails_at

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.facts.append(params)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if step == self.fails_at:
            raise ConnectionError("no network\nmore lines")
        self.rows.append((step, metrics))

    def finalize(self, status: str) -> None:
        self.ended.append(status)


def train(told: Any, folder: Path | None = None, steps: int = 6, **options: Any) -> qs.Run:
    torch.manual_seed(0)
    given = {"validate_every": 3, "validation_tasks": 2, "log_every": 1, "meta_batch": 2, "device": "cpu", **options}
    learner = qs.learners.MAML(qs.nets.mlp(1, (4,), 1))
    held = qs.tasks.Sinusoid(3, 3, seed=1)
    return qs.meta_train(
        learner, qs.tasks.Sinusoid(3, 3), validation=held, steps=steps, run_dir=folder, loggers=told, progress=False,
        **given,
    )  # fmt: skip


def rows(run: qs.Run) -> list[tuple[int, dict[str, float]]]:
    return [(int(row["step"]), {k: v for k, v in row.items() if k != "step"}) for row in run.history]


@pytest.mark.parametrize("kept", [True, False])
def test_all_rows_come_once(tmp_path: Path, kept: bool) -> None:
    told, other = Told(), Told()
    run = train([told, other], tmp_path if kept else None)
    assert told.rows == other.rows == rows(run)
    assert told.ended == ["success"]
    assert told.facts[0]["learner"]["learner"] == "MAML"
    assert told.facts[0]["steps"] == 6


def test_a_run_that_was_killed_tells_no_row_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, step = Told(), qs.training.loop.Trainer._step

    def dies(trainer: Any) -> float:
        if trainer.standing.step == 5:
            raise MemoryError
        return step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(qs.training.loop.Trainer, "_step", dies)
        with pytest.raises(MemoryError):
            train(told, tmp_path)
    assert told.rows[-1][0] == 3  # the step of the last checkpoint
    assert told.ended == ["failed"]
    run = train(told, tmp_path)
    assert told.rows == rows(run) == rows(train((), None))


def test_a_logger_that_fails_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad, good = Told(fails_at=2), Told()
    with caplog.at_level(logging.WARNING):
        run = train([bad, good], tmp_path)
    assert run.steps == 6
    assert good.rows == rows(run)
    assert (len(bad.rows), bad.ended) == (1, [])
    assert [each.getMessage() for each in caplog.records] == [
        "Told failed (ConnectionError: no network) and is told nothing more; the training goes on, and metrics.csv has "
        "all rows"
    ]


def test_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    with pytest.raises(qs.errors.NonFiniteError):
        train(told, outer=qs.outer.Gradient(1e30, optimizer="sgd"), steps=50)
    assert told.ended == ["failed"]
    assert told.rows
    monkeypatch.setattr(qs.training.loop.Trainer, "_step", lambda trainer: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(told)
    assert told.ended == ["failed", "interrupted"]


def test_fabrics_own_logger(tmp_path: Path) -> None:
    run = train(CSVLogger(tmp_path, name="logs"), tmp_path / "run")
    with (tmp_path / "logs" / "version_0" / "metrics.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in found if row["loss"]] == [row["loss"] for row in run.history if "loss" in row]


def test_loggers_by_name(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = train(["csv", "tensorboard"], tmp_path)
    assert list((tmp_path / "tensorboard").iterdir())
    (table,) = tmp_path.glob("csv/*/metrics.csv")
    with table.open() as file:
        assert len([row for row in csv.DictReader(file) if row["loss"]]) == run.steps


def service(name: str) -> tuple[types.ModuleType, list[Any]]:
    """Return a library that takes down what it is told."""
    calls: list[Any] = []

    class Recorder(types.ModuleType):
        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)

            def call(*arguments: Any, **named: Any) -> Any:
                calls.append((attribute, arguments, named))
                return self

            return self if attribute == "config" else call

    return Recorder(name), calls


@pytest.mark.parametrize(("name", "end"), [("wandb", "finish"), ("mlflow", "end_run")])
def test_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, end: str) -> None:
    module, calls = service(name)
    monkeypatch.setitem(sys.modules, name, module)
    run = train(name, tmp_path / "my run")
    metrics = "log" if name == "wandb" else "log_metrics"
    assert [(named["step"], given[0]) for which, given, named in calls if which == metrics] == rows(run)
    assert calls[-1][0] == end
    assert "my run" in str(calls[0])
    first = dict(calls[0][2])
    calls.clear()
    train(name, tmp_path / "my run", steps=7)
    assert calls[0][2] == first  # the same run of the service
    assert len([each for each in calls if each[0] == metrics]) == 2


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_services_that_are_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"needs {name}, which is not installed: pip install {name}"):
        train(name, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [("wandv", "did you mean 'wandb'"), (print, "needs a method log_metrics"), ([Told(), 3], "3 has none")],
)
def test_what_is_no_logger(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(given)


def test_recipes_pass_them_on(tmp_path: Path) -> None:
    told = Told()
    recipe().train(tmp_path, progress=False, loggers=told)
    assert told.rows
    assert told.facts[0]["settings"]["recipe"] == "sinusoid-maml"
    assert loggers.check("csv") == ["csv"]


def test_the_command_names_them(tmp_path: Path) -> None:
    given = ["--steps", "1", "--meta-batch", "1", "--validation-tasks", "1", "--compile", "False", "--device", "cpu"]
    assert main(["train", "sinusoid-maml", *given, "--run-dir", str(tmp_path), "--logger", "csv"]) == 0
    assert list(tmp_path.glob("csv/*/metrics.csv"))
