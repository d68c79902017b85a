"""What of a run lies where, what counts after a kill, and which runs may go on in a folder."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import AnotherRunError, CheckpointError, Difference
from quickstudy.registry import lookup
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage import files, log
from quickstudy.storage.run_folder import RunFolder


def train(folder: Path | None, steps: int = 8, seed: int = 0, **options: Any) -> qs.Run:
    torch.manual_seed(seed)
    given = {"validate_every": 4, "validation_tasks": 3, "meta_batch": 2, "log_every": 1, **options}
    return qs.meta_train(
        qs.learners.MAML(qs.nets.mlp(1, (8,), 1), lr=0.05),
        qs.tasks.Sinusoid(5, 5),
        given.pop("outer", qs.outer.Gradient(0.01)),
        given.pop("validation", qs.tasks.Sinusoid(5, 5, seed=1)),
        steps,
        run_dir=folder,
        device="cpu",
        progress=False,
        **given,
    )


def same(one: qs.Run, other: qs.Run) -> bool:
    pairs = zip(one.learner.state_dict().values(), other.learner.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.history == other.history and one.best == other.best


# digests ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_every_flipped_bit_is_noticed_or_does_no_harm(tmp_path: Path, name: str) -> None:
    train(tmp_path)
    path = tmp_path / name
    whole, sound = path.read_bytes(), ckpt.load_checkpoint(path)
    header = 8 + int.from_bytes(whole[:8], "little")
    noticed = 0
    for at in (*range(0, header, 37), *range(header, len(whole), 5)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            found = ckpt.load_checkpoint(path)
        except CheckpointError:
            noticed += 1
        else:
            assert at < header, "a bit of the weights"
            assert str(found) == str(sound)
    assert noticed > (len(whole) - header) // 5


@pytest.mark.parametrize(("old", "new"), [(b'"F32"', b'"I32"'), (b'"F32"', b'"U32"'), (b"[8,1]", b"[1,8]")])
def test_changed_dtypes_and_shapes_are_noticed(tmp_path: Path, old: bytes, new: bytes) -> None:
    train(tmp_path)
    path = tmp_path / "last.safetensors"
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new))
    with pytest.raises(CheckpointError, match=r"last\.safetensors is truncated or corrupt \(.*restore it from a copy"):
        qs.load(tmp_path, checkpoint="last")


def test_files_without_a_digest_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = json.dumps

    def plain(value: Any) -> str:
        return dumps({k: v for k, v in value.items() if k != "digest"} if "digest" in value else value)

    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", plain)
        ckpt.save_checkpoint(tmp_path / "old", {"a": torch.ones(3)})
    assert b"digest" not in (tmp_path / "old").read_bytes()
    assert torch.equal(ckpt.load_checkpoint(tmp_path / "old")["a"], torch.ones(3))


def test_digests_cover_every_kind_of_tensor(tmp_path: Path) -> None:
    content = {
        str(dtype): torch.ones(3).to(dtype)
        for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.uint8)
    } | {"none": torch.zeros(0, 3), "scalar": torch.tensor(2.5)}
    ckpt.save_checkpoint(tmp_path / "x", content)
    found = ckpt.load_checkpoint(tmp_path / "x")
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in content.items())


# the history ------------------------------------------------------------------------------------------------------


def test_checkpoints_do_not_grow(tmp_path: Path) -> None:
    train(tmp_path / "short", 8)
    train(tmp_path / "long", 80)
    sizes = [(tmp_path / name / "last.safetensors").stat().st_size for name in ("short", "long")]
    assert abs(sizes[0] - sizes[1]) < 40  # digits of numbers


def test_the_log_is_the_history(tmp_path: Path) -> None:
    run = train(tmp_path)
    assert log.read(tmp_path / "metrics.csv") == (run.history, 0)
    assert train(tmp_path, seed=1).history == run.history
    longer = train(tmp_path, 12, seed=1)
    assert same(longer, train(None, 12))


def killed(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Train until a file of that name would be written for the so-manieth time, and end there as a kill would."""

    class Kill(BaseException):
        pass

    written, write = [], files.write_atomically

    def stop(path: Path, content: bytes) -> None:
        written.append(path.name)
        if written.count(name) == number and path.name == name:
            raise Kill
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(ckpt, "write_atomically", stop)
        with pytest.raises(Kill):
            train(folder)


@pytest.mark.parametrize(
    ("name", "number"), [("last.safetensors", 1), ("last.safetensors", 2), ("best.safetensors", 1)]
)
def test_a_kill_between_files_is_gone_on_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    killed(tmp_path / "run", monkeypatch, name, number)
    assert same(train(tmp_path / "run"), train(tmp_path / "whole"))
    for file in ("metrics.csv", "last.safetensors", "best.safetensors", "run.json"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    assert ".lock" not in os.listdir(tmp_path / "run")


def test_old_checkpoints_bring_their_history(tmp_path: Path) -> None:
    run = train(tmp_path)
    content = ckpt.load_checkpoint(tmp_path / "last.safetensors")
    assert "history" not in content
    ckpt.save_checkpoint(tmp_path / "last.safetensors", {**content, "history": run.history})
    (tmp_path / "metrics.csv").unlink()
    longer = train(tmp_path, 12, seed=1)
    assert same(longer, train(None, 12))
    assert log.read(tmp_path / "metrics.csv") == (longer.history, 0)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"\xff" * 999 + b"\n")])
def test_a_lost_log_loses_the_curve_and_not_the_training(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    train(tmp_path)
    damage(tmp_path / "metrics.csv")
    with caplog.at_level(logging.WARNING):
        longer = train(tmp_path, 12, seed=1)
    assert "not all of its history is known" in caplog.text
    whole = train(None, 12)
    assert [row["step"] for row in longer.history] == [9, 10, 11, 12, 12]
    assert longer.history == whole.history[-5:]
    pairs = zip(longer.learner.parameters(), whole.learner.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_finished_run_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tmp_path)

    def refuse(*_: Any) -> None:
        raise AssertionError("nothing is to be written")

    monkeypatch.setattr(ckpt, "write_atomically", refuse)
    monkeypatch.setattr(log, "write_atomically", refuse)
    assert same(train(tmp_path, seed=1), run)


# the best weights -------------------------------------------------------------------------------------------------


def best_of(folder: Path) -> dict[str, Any]:
    return ckpt.load_checkpoint(folder / "best.safetensors")


def test_fewer_steps_after_a_kill_keep_the_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(tmp_path, monkeypatch, "best.safetensors", 1)  # after the last checkpoint of step 4 was written
    run = train(tmp_path, 5, seed=1)
    assert best_of(tmp_path)["step"] == run.best_step <= run.steps
    stored = best_of(tmp_path)["learner"]
    assert all(torch.equal(value, stored[name]) for name, value in run.learner.state_dict().items())


def test_a_best_of_a_step_to_come_is_not_the_best(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As runs of before left it, which wrote it before the last checkpoint."""
    train(tmp_path)
    content = best_of(tmp_path)
    last = ckpt.load_checkpoint(tmp_path / "last.safetensors")
    ckpt.save_checkpoint(tmp_path / "best.safetensors", {**content, "step": 99})
    ckpt.save_checkpoint(tmp_path / "last.safetensors", {**last, "best_step": 4, "step": 7})
    with caplog.at_level(logging.WARNING):
        run = train(tmp_path, seed=1)
    assert "of step 4, are gone" in caplog.text
    assert run.best_step == 8
    assert best_of(tmp_path)["step"] == 8
    assert run.best == best_of(tmp_path)["validation"]


def test_a_damaged_best_does_not_cost_the_run(tmp_path: Path) -> None:
    train(tmp_path, outer=qs.outer.Gradient(0.5))
    content = ckpt.load_checkpoint(tmp_path / "last.safetensors")
    ckpt.save_checkpoint(tmp_path / "last.safetensors", {**content, "best_step": 4})
    best = tmp_path / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"or move .*best\.safetensors away: the run then goes on"):
        train(tmp_path, 12, outer=qs.outer.Gradient(0.5))
    best.unlink()
    assert train(tmp_path, 12, outer=qs.outer.Gradient(0.5)).best_step == 12


# which run --------------------------------------------------------------------------------------------------------


def other_loss(learner: Any, task: Any, key: Any) -> Any:
    return qs.objectives.query_loss(learner, task, key)


@pytest.mark.parametrize(
    ("options", "name", "here", "there"),
    [
        ({"validation_tasks": 4}, "validation_tasks", 4, 3),
        ({"validation": qs.tasks.Sinusoid(5, 5, seed=2)}, "validation.seed", 2, 1),
        ({"outer": qs.outer.Gradient(0.02)}, "outer.lr", 0.02, 0.01),
        ({"meta_batch": 3}, "meta_batch", 3, 2),
    ],
)
def test_another_run_is_refused_by_what_differs(
    tmp_path: Path, options: dict[str, Any], name: str, here: Any, there: Any
) -> None:
    train(tmp_path)
    with pytest.raises(AnotherRunError, match=rf"{name} {here} here, {there} in the run") as error:
        train(tmp_path, 12, **options)
    assert Difference(name, here, there) in error.value.differences


def test_another_function_of_the_same_name_is_another_objective(tmp_path: Path) -> None:
    def weighed(weight: float) -> Any:
        return lambda learner, task, key: weight * qs.objectives.query_loss(learner, task, key)

    train(tmp_path, objective=weighed(1.0))
    train(tmp_path, 9, objective=weighed(1.0))
    with pytest.raises(AnotherRunError, match="objective_code"):
        train(tmp_path, 10, objective=weighed(2.0))
    with pytest.raises(AnotherRunError, match="objective_code"):
        train(tmp_path, 10, objective=lambda learner, task, key: qs.objectives.query_loss(learner, task, key))
    run = json.loads((tmp_path / "run.json").read_text())
    run["objective_code"]["python"] = "3.5"  # whose code says nothing of this one's
    (tmp_path / "run.json").write_text(json.dumps(run))
    train(tmp_path, 10, objective=weighed(2.0))


def test_options_of_recipes_are_named(tmp_path: Path) -> None:
    def recipe(**options: Any) -> Any:
        given = {"steps": 1, "meta_batch": 1, "validation_tasks": 1, "compile": False, "device": "cpu", **options}
        return lookup("recipe", "sinusoid-maml").build(**given)

    recipe(hidden=16).train(tmp_path, progress=False)
    with pytest.raises(AnotherRunError, match=r"What differs: hidden 32 here, 16 in the run$") as error:
        recipe(hidden=32, steps=2).train(tmp_path, progress=False)
    assert error.value.differences == (Difference("hidden", 32, 16),)


def test_other_work_on_a_run_needs_no_lock(tmp_path: Path) -> None:
    run = train(tmp_path)
    folder = RunFolder(tmp_path, qs.engine.ranks.ALONE)
    assert torch.equal(*(next(each.parameters()) for each in (qs.load(tmp_path), run.learner)))
    with pytest.raises(CheckpointError, match="is training in"):
        train(tmp_path, 12)
    folder.close()
