"""Checkpoints: whole or absent, never unpickled, and errors that say what to do."""

import errno
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

import quickstudy as qs
from quickstudy.errors import CheckpointError
from quickstudy.learners import ProtoNet
from quickstudy.storage import checkpoint as ckpt
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers.blobs import make_blobs


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Return the folder of a small finished run."""
    folder = tmp_path / "run"
    qs.meta_train(ProtoNet(mlp()), tasks(), steps=2, meta_batch=2, run_dir=folder, progress=False)
    return folder


def tasks() -> qs.tasks.FewShot:
    return qs.tasks.FewShot(make_blobs(), ways=3, queries=2)


def test_nested_content_round_trip(tmp_path: Path) -> None:
    content = {
        "a": torch.randn(2, 3),
        "b": {"c": torch.arange(3), 0: torch.tensor(1.5), "d": [torch.ones(1), None, "x", 2, 2.5, True]},
        "e": {},
        "f": float("nan"),
        "g": (1, 2),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0),
    }
    path = tmp_path / "deep" / "file.safetensors"
    ckpt.save_checkpoint(path, content)
    found = ckpt.load_checkpoint(path)
    assert torch.equal(found["a"], content["a"])
    assert torch.equal(found["b"]["c"], torch.arange(3))
    assert found["b"][0].item() == 1.5
    assert found["b"]["d"][1:] == [None, "x", 2, 2.5, True]
    assert found["e"] == {}
    assert found["f"] != found["f"]
    assert found["g"] == [1, 2]
    assert found["half"].dtype == torch.bfloat16
    assert found["empty"].shape == (0,)
    assert os.listdir(path.parent) == ["file.safetensors"]


def test_optimisers_state_round_trip(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.randn(3))
    optimiser = torch.optim.Adam([weight], 0.1)
    weight.square().sum().backward()
    optimiser.step()
    ckpt.save_checkpoint(tmp_path / "x", {"optimizer": optimiser.state_dict()})
    other = torch.optim.Adam([weight], 0.3)
    other.load_state_dict(ckpt.load_checkpoint(tmp_path / "x")["optimizer"])
    assert other.param_groups[0]["lr"] == 0.1
    assert torch.equal(other.state[weight]["exp_avg"], optimiser.state[weight]["exp_avg"])


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        ckpt.load_checkpoint(path)
    ckpt.save_checkpoint(path, {"a": torch.randn(100)})
    whole = path.read_bytes()
    for length in (0, 4, 8, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="truncated or corrupt"):
            ckpt.load_checkpoint(path)
    flipped = bytearray(whole)
    flipped[0] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        ckpt.load_checkpoint(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="is a folder, where a file should be"):
        ckpt.load_checkpoint(path)


@pytest.mark.parametrize(
    "facts",
    [
        {"version": 1},
        {"version": 1, "tree": "no json"},
        {"version": 1, "tree": '{"tensor": "b"}'},
        {"version": 1, "tree": '{"dict": 3}'},
        {"version": 1, "tree": "[1]"},
        {"version": 1, "tree": '{"dict": [["a"]]}'},
        {"version": 1, "tree": "[" * 100_000},
        {"version": 1, "tree": '{"list": [' * 5000 + '{"value": 1}' + "]}" * 5000},
        {"version": 1, "tree": '{"value": 3}'},
    ],
)
def test_corrupt_trees(tmp_path: Path, facts: dict[str, Any]) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, {"checkpoint": json.dumps(facts)}))
    with pytest.raises(CheckpointError, match=r"corrupt|not a checkpoint of this library"):
        ckpt.load_checkpoint(path)


def test_other_versions(tmp_path: Path, run_dir: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"checkpoint": json.dumps({"version": 2, "tree": "{}"})})
    with pytest.raises(CheckpointError, match="has checkpoint version 2, this library reads 1"):
        ckpt.load_checkpoint(path)
    description = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps({**description, "format": 2}))
    with pytest.raises(CheckpointError, match="has format 2"):
        qs.load(run_dir)


class Bomb:
    def __reduce__(self) -> Any:
        return (os.mkdir, (os.environ["QUICKSTUDY_BOMB"],))


def test_pickles_are_refused_unread(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / "bomb"
    monkeypatch.setenv("QUICKSTUDY_BOMB", str(bomb))
    for write in (lambda path: path.write_bytes(pickle.dumps(Bomb())), lambda path: torch.save(Bomb(), path)):
        write(run_dir / "last.safetensors")
        with pytest.raises(CheckpointError, match="truncated or corrupt"):
            qs.load(run_dir)
        assert not bomb.exists()
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        qs.meta_train(ProtoNet(mlp()), tasks(), steps=2, meta_batch=2, run_dir=run_dir, progress=False)
    assert not bomb.exists()


def test_load_gives_back_the_learner(run_dir: Path) -> None:
    learner = qs.load(run_dir)
    assert isinstance(learner, ProtoNet)
    assert not learner.training
    stored = ckpt.load_checkpoint(run_dir / "last.safetensors")["learner"]
    assert all(torch.equal(value, stored[name]) for name, value in learner.state_dict().items())
    given = ProtoNet(mlp())
    assert qs.load(str(run_dir), given, "last") is given


def test_load_needs_a_run_folder(tmp_path: Path, run_dir: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a folder"):
        qs.load(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"is .* a run folder"):
        qs.load(tmp_path)
    for content in ("[]", "{}", "3"):
        (run_dir / "run.json").write_text(content)
        with pytest.raises(CheckpointError, match="does not describe a run"):
            qs.load(run_dir)
    for content in ("{", "\udcff", "[" * 200_000):
        (run_dir / "run.json").write_bytes(content.encode("utf8", "surrogateescape"))
        with pytest.raises(CheckpointError, match="cannot read"):
            qs.load(run_dir)


def test_hostile_run_builds_nothing_else(run_dir: Path) -> None:
    description = json.loads((run_dir / "run.json").read_text())
    description["learner"] = {"net": "mlp", "arguments": {"inputs": 2}}
    (run_dir / "run.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="describes no learner"):
        qs.load(run_dir)


def test_weights_of_another_learner(run_dir: Path) -> None:
    with pytest.raises(CheckpointError, match=r"another learner than MAML: lacks \['adapted.*has unknown \['net"):
        qs.load(run_dir, CLASSIFICATION["MAML"](mlp, WAYS))
    with pytest.raises(CheckpointError, match=r"'net.body.0.weight' is \(6, 4\), not \(5, 4\)"):
        qs.load(run_dir, ProtoNet(qs.nets.mlp(4, (5, 8))))


def test_modules_of_ones_own_are_passed(tmp_path: Path) -> None:
    def own() -> ProtoNet:
        return ProtoNet(torch.nn.Linear(4, 3))

    run = qs.meta_train(own(), tasks(), steps=1, meta_batch=2, run_dir=tmp_path / "own", progress=False)
    with pytest.raises(CheckpointError, match="learner="):
        qs.load(tmp_path / "own")
    again = qs.load(tmp_path / "own", own())
    assert torch.equal(again.net.weight, run.learner.net.weight)


def fails(number: int, name: str) -> Any:
    def raises(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number), name)

    return raises


@pytest.mark.parametrize("function", ["open", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "disk full while writing"), (errno.EACCES, "choose a folder"), (errno.EROFS, "choose a folder")],
)
def test_failed_writes_keep_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, message: str
) -> None:
    path = tmp_path / "file.safetensors"
    ckpt.save_checkpoint(path, {"a": torch.ones(3)})
    with monkeypatch.context() as patch:
        patch.setattr(os, function, fails(number, str(path)))
        with pytest.raises(CheckpointError, match=message):
            ckpt.save_checkpoint(path, {"a": torch.zeros(3)})
    assert torch.equal(ckpt.load_checkpoint(path)["a"], torch.ones(3))
    assert os.listdir(tmp_path) == ["file.safetensors"]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        ckpt.write_json(tmp_path / "file" / "run.json", {})


def test_kill_while_writing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill runs no handlers: what is on the disk at any moment must be whole."""
    path = tmp_path / "file.safetensors"
    ckpt.save_checkpoint(path, {"a": torch.ones(3)})
    seen = []
    fsync = os.fsync

    def look(handle: int) -> None:
        seen.append(ckpt.load_checkpoint(path)["a"].sum().item())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", look)
    ckpt.save_checkpoint(path, {"a": torch.zeros(3)})
    assert seen == [3.0]
    assert ckpt.load_checkpoint(path)["a"].sum() == 0


def test_files_are_for_whom_the_umask_lets_in(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        ckpt.write_json(tmp_path / "a.json", {})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640


def test_equal_content_is_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ckpt.save_checkpoint(tmp_path / name, {"x": torch.arange(3), "y": {"z": torch.ones(2)}, "n": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
