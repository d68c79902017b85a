"""Meta-training: what it refuses, writes, logs and resumes."""

import copy
import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.datasets import ClassData
from quickstudy.errors import CheckpointError, InputError, NonFiniteError
from quickstudy.evaluation import BANK_SEED
from quickstudy.learners import MAML, ProtoNet
from quickstudy.storage import checkpoint as ckpt
from quickstudy.tasks.base import Bank
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from quickstudy.training.loop import VALIDATION_SEED
from tests.helpers.blobs import make_blobs

DATA = make_blobs()
TRAIN, HELD = DATA.split(fractions=(0.7, 0.3))


def tasks(data: ClassData = TRAIN, **options: Any) -> qs.tasks.FewShot:
    return qs.tasks.FewShot(data, **{"ways": 3, "queries": 2, **options})


def learner(seed: int = 0) -> ProtoNet:
    torch.manual_seed(seed)
    return ProtoNet(mlp())


def train(model: qs.Learner | None = None, distribution: Any = None, **options: Any) -> qs.Run:
    given = {"steps": 6, "meta_batch": 2, "progress": False, **options}
    return qs.meta_train(model or learner(), distribution or tasks(), **given)


def weights(model: qs.Learner) -> Tensor:
    return torch.cat([value.detach().flatten() for value in model.state_dict().values()])


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_every_learner_trains(name: str) -> None:
    if name == "NearestNeighbour":
        return
    model = CLASSIFICATION[name](mlp, WAYS)
    before = weights(model).clone()
    baseline = model.default_objective == "pretraining"
    data = DATA.subset(list(range(7))) if baseline else TRAIN
    run = train(model, qs.tasks.Supervised(data, 16) if baseline else tasks(data), steps=2)
    assert run.learner is model
    assert not torch.equal(weights(model), before)
    assert bool(torch.isfinite(weights(model)).all())
    assert not model.training


def test_learns() -> None:
    run = train(steps=60, meta_batch=8, outer=qs.outer.Gradient(0.02), log_every=1)
    losses = [row["loss"] for row in run.history]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_same_seed_same_weights_whatever_ran_before() -> None:
    one = weights(train().learner)
    torch.rand(7)
    assert torch.equal(weights(train().learner), one)
    assert not torch.equal(weights(train(distribution=tasks(seed=1)).learner), one)


def test_seed_is_of_stochastic_learners() -> None:
    def reptile() -> qs.Learner:
        torch.manual_seed(0)
        return CLASSIFICATION["Reptile"](mlp, WAYS)

    one, again, other = (weights(train(reptile(), tasks(shots=3), seed=seed).learner) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_make_no_difference(chunk: int) -> None:
    # Not Adam, which blows up the rounding errors of gradients that are zero.
    one, other = (
        train(meta_batch=5, chunk=size, outer=qs.outer.Gradient(0.01, optimizer="sgd")) for size in (chunk, None)
    )
    torch.testing.assert_close(weights(one.learner), weights(other.learner))


def test_double_precision() -> None:
    run = train(precision="64-true", validation=tasks(HELD), validation_tasks=5)
    assert next(run.learner.parameters()).dtype == torch.float64
    assert run.best > 0


def test_brain_float() -> None:
    assert next(train(precision="bf16-true").learner.parameters()).dtype == torch.bfloat16


def test_mixed_precision_rounds_products_alone() -> None:
    exact, mixed = (train(steps=3, precision=precision, log_every=1) for precision in ("32-true", "bf16-mixed"))
    assert {p.dtype for p in mixed.learner.parameters()} == {torch.float32}
    gaps = [abs(a["loss"] - b["loss"]) for a, b in zip(exact.history, mixed.history, strict=True)]
    assert 0 < max(gaps) < 0.05


def test_clip_and_schedule() -> None:
    outer = qs.outer.Gradient(1.0, optimizer="sgd", clip=1e-3, schedule="linear")
    model = learner()
    before = weights(model)
    run = train(model, steps=1, outer=outer, log_every=1)
    assert float((weights(run.learner) - before).norm()) == pytest.approx(1e-3, rel=1e-3)
    run = train(steps=4, outer=outer, log_every=1)
    assert [row["lr"] for row in run.history] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"meta_batch": 0}, "meta_batch must be at least 1"),
        ({"log_every": 0}, "log_every must be at least 1"),
        ({"validation_tasks": 0}, "validation_tasks must be at least 1"),
        ({"validate_every": -1}, "validate_every must be at least 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"model": qs.nets.mlp(8)}, "learner must be a quickstudy learner around a net, not MLP"),
        ({"validation": TRAIN}, r"validation must be a task distribution, such as tasks\.FewShot.*not ClassData"),
        ({"outer": "Gradient"}, r"outer must be an outer optimiser, such as outer\.Gradient.*not 'Gradient'"),
        ({"device": "nowhere"}, r"device='nowhere' cannot be used here .* try device='cpu'"),
        ({"precision": "16-mixed"}, "precision '16-mixed' is not one of"),
        ({"objective": "query"}, "unknown objective 'query'"),
        ({"validation": tasks(TRAIN)}, "classes are both in meta-training and in held-out tasks, such as 'class"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(**options)


def test_overlap_is_allowed_where_there_are_no_classes() -> None:
    sines = qs.tasks.Sinusoid()
    run = train(MAML(qs.nets.mlp(1, (4,), 1)), sines, validation=qs.tasks.Sinusoid(seed=1), validation_tasks=4)
    assert run.best > 0


def test_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    validation = tasks(HELD)
    run = train(
        run_dir=folder, validation=validation, validation_tasks=6, validate_every=3, log_every=2, settings={"note": 1}
    )
    assert sorted(os.listdir(folder)) == [
        "best.safetensors",
        "classes.json",
        "last.safetensors",
        "metrics.csv",
        "run.json",
    ]
    facts = json.loads((folder / "run.json").read_text())
    assert facts["settings"] == {"note": 1}
    assert facts["learner"]["learner"] == "ProtoNet"
    assert facts["outer"]["outer"] == "Gradient"
    assert facts["objective"] == "query_loss"
    assert facts["batch_norm"] == "none"
    assert facts["tasks"]["fingerprint"] == TRAIN.fingerprint
    classes = json.loads((folder / "classes.json").read_text())
    assert classes.pop("contents").keys() == {"train", "validation"}
    assert classes == {"train": list(TRAIN.classes), "validation": list(HELD.classes)}
    assert [row["step"] for row in run.history if "loss" in row] == [2, 4, 6]
    assert [row["step"] for row in run.history if "validation_accuracy" in row] == [3, 6]
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows if row["name"] == "loss"] == [
        row["loss"] for row in run.history if "loss" in row
    ]
    assert run.run_dir == folder
    assert run.best == max(row["validation_accuracy"] for row in run.history if "validation_accuracy" in row)
    best = qs.load(folder)
    assert torch.equal(weights(best), weights(run.learner))
    assert qs.evaluate(best, validation, 6, seed=VALIDATION_SEED).mean == run.best


def test_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = train(run_dir=tmp_path, log_every=2)
    before = ckpt.load_checkpoint(tmp_path / "last.safetensors")
    again = train(learner(1), run_dir=tmp_path, log_every=2)
    assert torch.equal(weights(first.learner), weights(again.learner))
    assert again.history == first.history
    after = ckpt.load_checkpoint(tmp_path / "last.safetensors")
    assert str(after) == str(before)


def test_longer_run_goes_on(tmp_path: Path) -> None:
    train(run_dir=tmp_path, steps=4)
    whole = train(run_dir=tmp_path / "whole", steps=9)
    longer = train(learner(5), run_dir=tmp_path, steps=9)
    assert torch.equal(weights(longer.learner), weights(whole.learner))
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 9


def test_run_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"run_dir .*file is a file; choose a folder"):
        train(run_dir=tmp_path / "file")


def test_start_anew(tmp_path: Path) -> None:
    train(run_dir=tmp_path, validation=tasks(HELD), validation_tasks=3)
    fresh = train(learner(1), run_dir=tmp_path, resume=False)
    assert torch.equal(weights(fresh.learner), weights(train(learner(1)).learner))
    assert not (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"meta_batch": 3}, "meta_batch"),
        ({"seed": 1}, "seed"),
        ({"outer": qs.outer.Gradient(0.5)}, "outer"),
        ({"distribution": tasks(shots=2)}, "tasks"),
        ({"distribution": tasks(DATA)}, "tasks"),
        ({"model": ProtoNet(mlp(), distance="cosine")}, "learner"),
        ({"validation": tasks(HELD)}, "validation"),
    ],
)
def test_resume_refuses_another_run(options: dict[str, Any], name: str, tmp_path: Path) -> None:
    train(run_dir=tmp_path)
    with pytest.raises(CheckpointError, match=rf"run with another {name}; choose another run_dir, .*resume=False"):
        train(run_dir=tmp_path, **options)


def test_resume_refuses_what_is_no_checkpoint_of_training(tmp_path: Path) -> None:
    train(run_dir=tmp_path, validation=tasks(HELD), validation_tasks=3)
    os.replace(tmp_path / "best.safetensors", tmp_path / "last.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks .*'optimizer'"):
        train(run_dir=tmp_path, validation=tasks(HELD), validation_tasks=3)


class Explodes(ProtoNet):
    """Gives NaN where the first feature of the first support row is above a limit."""

    limit = 1.5

    def loss(self, state: Any, query: qs.Examples) -> Tensor:
        bad = (state.means[0, 0] != state.means[0, 0]) | (query.inputs.amax() > self.limit)
        return torch.where(bad, torch.nan, super().loss(state, query))


class ExplodesInBackward(ProtoNet):
    """Has a finite loss and an infinite gradient in the same case."""

    def loss(self, state: Any, query: qs.Examples) -> Tensor:
        zero = torch.where(query.inputs.amax() > Explodes.limit, 0.0, 1.0) * state.means.sum().exp()
        return super().loss(state, query) + torch.sqrt(zero)


@pytest.mark.parametrize("kind", [Explodes, ExplodesInBackward])
def test_non_finite_loss_saves_the_tasks_and_keeps_the_checkpoint(
    kind: type[ProtoNet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qs.training.loop, "CHECKPOINT_SECONDS", 0.0)
    distribution = tasks(TRAIN, ways=2, queries=1)
    bad = [float(distribution.batch(i, 1).query.inputs.max()) for i in range(200)]
    kind_limit = sorted(bad)[-8]
    monkeypatch.setattr(Explodes, "limit", kind_limit)
    first = next(i for i, value in enumerate(bad) if value > kind_limit)
    torch.manual_seed(0)
    with pytest.raises(NonFiniteError, match=rf"step {first // 4}: .*tasks \[{first % 4}") as error:
        train(kind(mlp()), distribution, meta_batch=4, steps=50, run_dir=tmp_path)
    path = tmp_path / f"nonfinite-{first // 4}.safetensors"
    assert str(path) in str(error.value)
    saved = ckpt.load_checkpoint(path)
    expected = distribution.batch(first, 1)
    assert torch.equal(saved["tasks"]["support"]["inputs"][0], expected.support.inputs[0])
    assert torch.equal(saved["tasks"]["query"]["labels"][0], expected.query.labels[0])
    assert bool(torch.isfinite(torch.cat([v.flatten() for v in saved["learner"].values()])).all())
    if first >= 4:
        last = ckpt.load_checkpoint(tmp_path / "last.safetensors")
        assert last["step"] == first // 4
        assert all(bool(torch.isfinite(value).all()) for value in last["learner"].values())


def test_non_finite_loss_without_a_folder() -> None:
    with pytest.raises(NonFiniteError, match="no run_dir was given"):
        train(outer=qs.outer.Gradient(1e30, optimizer="sgd"), steps=50)


def test_early_stopping_and_best_weights(tmp_path: Path) -> None:
    # A ruinous rate: the first validation is the best one.
    options: dict[str, Any] = {
        "validation": tasks(HELD, queries=5), "validation_tasks": 30, "validate_every": 2, "patience": 2, "steps": 40,
        "outer": qs.outer.Gradient(30.0, optimizer="adam", schedule="halving", halve_every=1), "run_dir": tmp_path,
    }  # fmt: skip
    run = train(**options)
    assert run.stopped_early
    assert run.steps == run.best_step + 4
    found = [(row["step"], row["validation_accuracy"]) for row in run.history if "validation_accuracy" in row]
    assert run.best == max(value for _, value in found)
    assert dict(found)[run.best_step] == run.best
    assert qs.evaluate(run.learner, tasks(HELD, queries=5), 30, seed=VALIDATION_SEED).mean == run.best
    # Started again, a run that had stopped stays so.
    again = train(learner(3), **options)
    assert again.steps == run.steps
    assert again.stopped_early
    assert torch.equal(weights(again.learner), weights(run.learner))


def test_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    monkeypatch.setattr(qs.training.loop, "CHECKPOINT_SECONDS", 0.0)
    train(run_dir=tmp_path, steps=3)
    replace, calls = os.replace, []

    def full(*paths: Any) -> None:
        calls.append(paths)
        if len(calls) > 3:  # run.json, then two checkpoints
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(CheckpointError, match=r"disk full .* resume"):
            train(run_dir=tmp_path, steps=9)
    assert ckpt.load_checkpoint(tmp_path / "last.safetensors")["step"] == 5
    resumed = train(learner(8), run_dir=tmp_path, steps=9)
    assert torch.equal(weights(resumed.learner), weights(train(steps=9).learner))


def test_objectives_of_ones_own(tmp_path: Path) -> None:
    def twice(model: qs.Learner, task: qs.Task, key: Tensor) -> Tensor:
        return 2 * qs.objectives.query_loss(model, task, key)

    run = train(objective=twice, run_dir=tmp_path, log_every=1)
    plain = train(log_every=1)
    assert run.history[0]["loss"] == pytest.approx(2 * plain.history[0]["loss"])
    assert json.loads((tmp_path / "run.json").read_text())["objective"] == "twice"


def test_default_outer_is_the_learners(tmp_path: Path) -> None:
    train(CLASSIFICATION["Reptile"](mlp, WAYS), run_dir=tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["outer"]["outer"] == "Reptile"


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(run_dir=tmp_path, tensorboard=True, log_every=1)
    assert list((tmp_path / "tensorboard").iterdir())


def test_progress_is_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    train(progress=True)
    captured = capsys.readouterr()
    assert "step 6/6, loss" in captured.err
    assert captured.out == ""
    train()
    assert capsys.readouterr().err == ""


def test_validation_tasks_are_no_test_tasks() -> None:
    """Of a synthetic family all tasks are drawn, so that a bank is told from another by its seed alone."""
    seeds: list[int] = []

    class Seen(qs.tasks.Sinusoid):
        def bank(self, count: int, seed: int = BANK_SEED) -> Bank:
            seeds.append(seed)
            return super().bank(count, seed)

    tasks = Seen(3, 4)
    run = train(MAML(qs.nets.mlp(1, (4,), 1)), qs.tasks.Sinusoid(3, 4), validation=tasks, validation_tasks=4)
    validated = set(seeds)
    qs.evaluate(run.learner, tasks, 4)
    assert len(validated) == 1
    assert seeds[-1] not in validated


def test_two_trainings_in_two_threads_do_not_disturb_each_other() -> None:
    def train(precision: str) -> list[torch.Tensor]:
        learner = learners[precision]
        options = {"steps": 30, "meta_batch": 4, "progress": False, "compile": False}
        qs.meta_train(learner, qs.tasks.Sinusoid(5, 5), precision=precision, **options)
        return [value.detach().clone() for value in learner.parameters()]

    def fresh() -> dict[str, qs.Learner]:
        torch.manual_seed(0)
        net = qs.nets.mlp(1, (16,), 1)
        names = ("32-true", "bf16-mixed")
        return {name: qs.learners.MAML(copy.deepcopy(net), lr=0.01, steps=3) for name in names}

    learners = fresh()
    expected = [train(precision) for precision in learners]
    learners = fresh()
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(train, learners))
    for one, other in zip(found, expected, strict=True):
        assert all(map(torch.equal, one, other))
    assert not all(map(torch.equal, *expected))
