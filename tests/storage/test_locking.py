"""One run at a time in a folder: the second one is told who is there, and a lock ends with its process."""

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quickstudy.engine.ranks import ALONE, Ranks
from quickstudy.errors import CheckpointError
from quickstudy.storage import locking
from quickstudy.storage.run_folder import RunFolder

HOLD = """
import sys, time
from pathlib import Path
from quickstudy.storage import locking
locking.hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_another_process_is_named_and_its_end_frees_the_folder(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            CheckpointError, match=rf"process {other.pid} on .* is training in .*choose another run_dir"
        ):
            RunFolder(tmp_path, ALONE)
        RunFolder(tmp_path, Ranks(1, 1))  # not the one that writes
        other.send_signal(signal.SIGKILL)
        other.wait()
    folder = RunFolder(tmp_path, ALONE)
    assert lock.read_text().split()[0] == str(os.getpid())
    folder.close()
    assert os.listdir(tmp_path) == []


def test_two_of_one_process_are_kept_apart_too(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "new" / "run", ALONE)
    with pytest.raises(CheckpointError, match=f"process {os.getpid()} on"):
        RunFolder(tmp_path / "new" / "run", ALONE)
    first.close()
    assert os.listdir(tmp_path / "new") == []  # nothing began there
    RunFolder(tmp_path / "new" / "run", ALONE).close()


def test_a_lock_whose_file_was_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, take = tmp_path / "lock", locking.take

    def removed(number: int) -> None:
        take(number)
        if not gone:
            gone.append(path.unlink())

    gone: list[None] = []
    monkeypatch.setattr(locking, "take", removed)
    number = locking.hold(path)
    assert os.path.samestat(os.fstat(number), os.stat(path))
    locking.let_go(path, number)
    assert not path.exists()


def refuse(number: int) -> Any:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_drive_without_locks_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(number))
    with caplog.at_level(logging.WARNING):
        RunFolder(tmp_path, ALONE).close()
    assert "its drive has no locks" in caplog.text


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_only_be_read_needs_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "open", refuse(number))
    RunFolder(tmp_path, ALONE).close()
    with pytest.raises(CheckpointError, match="cannot write"):
        RunFolder(tmp_path / "new" / "deep", ALONE).log({"step": 1, "loss": 1.0})
