"""Files are written whole, read without waiting, and what cannot be read is not called damaged."""

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

import quickstudy as qs
from quickstudy.errors import CheckpointError
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage import files


def fails(number: int) -> Any:
    def raises(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return raises


@pytest.fixture
def path(tmp_path: Path) -> Path:
    ckpt.save_checkpoint(tmp_path / "last.safetensors", {"a": torch.ones(2)})
    return tmp_path / "last.safetensors"


@pytest.mark.parametrize("function", ["open", "stat", "fstat"])
@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "ask its owner"),
        (errno.EPERM, "ask its owner"),
        (errno.EIO, "may well be whole"),
        (errno.ESTALE, "may well be whole"),
        (errno.ETIMEDOUT, "may well be whole"),
        (errno.EMFILE, "too many files"),
        (errno.ELOOP, "a link leads back to itself"),
        (errno.ENOENT, "does not exist"),
    ],
)
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, advice: str
) -> None:
    monkeypatch.setattr(os, function, fails(number))
    with pytest.raises(CheckpointError, match=advice) as error:
        ckpt.load_checkpoint(path)
    monkeypatch.undo()
    assert "corrupt" not in str(error.value)
    assert "resume=False" not in str(error.value)
    assert torch.equal(ckpt.load_checkpoint(path)["a"], torch.ones(2))


def test_a_run_that_cannot_be_looked_at_is_not_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"

    def train() -> qs.Run:
        learner = qs.learners.MAML(qs.nets.mlp(1, (4,), 1))
        return qs.meta_train(learner, qs.tasks.Sinusoid(3, 3), steps=2, meta_batch=2, run_dir=folder, progress=False)

    train()
    whole, stat = (folder / "last.safetensors").read_bytes(), os.stat

    def refuse(name: Any, *args: Any, **kwargs: Any) -> Any:
        if str(name).endswith("last.safetensors"):
            raise OSError(errno.EIO, "Input/output error")
        return stat(name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        with pytest.raises(CheckpointError, match="may well be whole"):
            train()
    assert (folder / "last.safetensors").read_bytes() == whole
    (folder / "last.safetensors").rename(tmp_path / "moved")
    (folder / "last.safetensors").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"a link to .*nowhere, which is not there"):
        train()


@pytest.mark.parametrize("name", ["last.safetensors", "run.json"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(
    tmp_path: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    path = Path(name)
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listening.bind(name)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
        with pytest.raises(CheckpointError, match=f"is a {kind}, where a file should be"):
            ckpt.load_checkpoint(path) if name != "run.json" else ckpt.read_json(path)


def test_json_is_read_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_JSON", 100)
    (tmp_path / "run.json").write_text('"' + "x" * 200 + '"')
    with pytest.raises(CheckpointError, match="has 202 bytes"):
        files.read_json(tmp_path / "run.json")


def left(folder: Path, name: str = "last.safetensors") -> Path:
    return folder / f".{name}.{'0123456789abcdef'}"


def test_leftovers_are_removed_where_that_is_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left(tmp_path).write_text("half")
    left(tmp_path, "run.json").mkdir()
    os.mkfifo(left(tmp_path, "metrics.csv"))
    others = [tmp_path / name for name in (".last.safetensors.notes", ".other.0123456789abcdef")]
    for path in others:
        path.touch()
    files.remove_unfinished(tmp_path)
    assert not left(tmp_path).exists()
    assert left(tmp_path, "run.json").is_dir()
    assert left(tmp_path, "metrics.csv").exists()
    assert all(path.exists() for path in others)
    left(tmp_path).write_text("half")
    monkeypatch.setattr(os, "unlink", fails(errno.EROFS))
    files.remove_unfinished(tmp_path)
    files.remove_unfinished(tmp_path / "none")
    assert left(tmp_path).exists()


def test_a_live_process_keeps_the_file_that_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def other_starts(one: Any, other: Any) -> None:
        files.remove_unfinished(tmp_path)
        replace(one, other)

    monkeypatch.setattr(os, "replace", other_starts)
    files.write_json(tmp_path / "run.json", {"a": 1})
    assert files.read_json(tmp_path / "run.json") == {"a": 1}


def test_files_are_written_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", fails(errno.ENOLCK))
    files.write_json(tmp_path / "run.json", {})
    assert os.listdir(tmp_path) == ["run.json"]
    left(tmp_path).write_text("perhaps of a live process")
    files.remove_unfinished(tmp_path)
    assert left(tmp_path).exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_drive_that_fails_while_writing_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", fails(number))
    with pytest.raises(CheckpointError, match="resume when it answers"):
        files.write_json(tmp_path / "run.json", {})
