"""Whatever a run folder says, reading it and going on with it end well, or in an error of the library's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import QuickstudyError
from quickstudy.reports.assessment import open_run
from quickstudy.reports.report import write_report
from quickstudy.storage import checkpoint as ckpt
from tests.frozen import record
from tests.helpers.edits import edited

SINE = "sinusoid-maml"
FEW, MANY = 120, 1500


def go_on(folder: Path, outer: Any = None, steps: int = 4) -> qs.Run:
    torch.manual_seed(0)
    return qs.meta_train(
        qs.learners.MAML(qs.nets.mlp(1, (4,), 1)),
        qs.tasks.Sinusoid(3, 3),
        outer or qs.outer.Gradient(0.01, factors={"adapted.": 0.5}),
        qs.tasks.Sinusoid(3, 3, seed=1),
        steps=steps,
        meta_batch=2,
        run_dir=folder,
        validation_tasks=2,
        validate_every=2,
        log_every=1,
        device="cpu",
        progress=False,
    )


def check(what: str, attempt: Callable[[], Any]) -> None:
    try:
        attempt()
    except QuickstudyError:
        pass
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


def edit_run(folder: Path, count: int, read: Callable[[Path], Any], file: str = "run.json") -> None:
    whole = (folder / file).read_text()
    for seed in range(count):
        what, tree = edited(json.loads(whole), seed)
        (folder / file).write_text(json.dumps(tree))
        check(what, lambda: read(folder))
    (folder / file).write_text(whole)


def copied(tmp_path: Path, name: str = SINE) -> Path:
    shutil.copytree(record.RUNS / name, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [SINE, "digits-noisy-labels"])
def test_edited_descriptions(tmp_path: Path, count: int, name: str) -> None:
    folder = copied(tmp_path, name)
    edit_run(folder, count, lambda folder: (qs.load(folder), open_run(folder, device="cpu")))
    edit_run(folder, 20, lambda folder: open_run(folder, device="cpu"), "classes.json")


@pytest.mark.slow
def test_pages_of_edited_descriptions(tmp_path: Path) -> None:
    edit_run(copied(tmp_path), 100, lambda folder: write_report(folder, tasks=2))


OUTERS = {
    "gradient": lambda: None,
    "muon": lambda: qs.outer.Gradient(0.01, optimizer="muon"),
    "sgd": lambda: qs.outer.Gradient(0.01, optimizer="sgd", momentum=0.9),
    "cma": lambda: qs.outer.CMAES(0.1),
}


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("outer", OUTERS)
def test_edited_checkpoints(tmp_path: Path, count: int, outer: str) -> None:
    folder = tmp_path / "run"
    go_on(folder, OUTERS[outer]())
    files = {path: path.read_bytes() for path in folder.iterdir()}
    for seed in range(count):
        for path, whole in files.items():
            path.write_bytes(whole)
        name = ckpt.LAST if seed % 4 else ckpt.BEST
        what, tree = edited(ckpt.load_checkpoint(folder / name), seed)
        try:
            ckpt.save_checkpoint(folder / name, tree)
        except (TypeError, ValueError, RuntimeError):
            continue  # what cannot be written
        check(f"{name}: {what}", lambda: qs.load(folder))
        check(f"{name}: {what}", lambda: go_on(folder, OUTERS[outer](), steps=5))
