"""The log is the history: what is appended comes back, until a step, and damage loses lines and nothing else."""

import errno
import os
from pathlib import Path

import pytest

from quickstudy.errors import CheckpointError
from quickstudy.storage import log

ROWS: list[log.Row] = [
    {"step": 1, "loss": 0.1 + 0.2, "lr": 1},
    {"step": 2, "loss": 1e-12, "lr": 0.5},
    {"step": 2, "validation_accuracy": 0.75},
    {"step": 3, "loss": 2.0, "lr": 0.25},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log.write(tmp_path / "metrics.csv", [])
    for row in ROWS:
        log.append(tmp_path / "metrics.csv", row)
    return tmp_path / "metrics.csv"


def test_rows_come_back_as_they_were(path: Path, tmp_path: Path) -> None:
    assert log.read(path) == (ROWS, 0)
    log.write(tmp_path / "whole", ROWS)
    assert (tmp_path / "whole").read_bytes() == path.read_bytes()
    assert log.read(tmp_path / "none") == ([], 0)


def test_what_came_after_a_step_is_cut_off(path: Path) -> None:
    whole = path.read_bytes()
    assert log.until(path, 2, cut=False) == (ROWS[:3], 0)
    assert path.read_bytes() == whole
    assert log.until(path, 2, cut=True) == (ROWS[:3], 0)
    log.append(path, ROWS[3])
    assert path.read_bytes() == whole
    assert log.until(path, 9, cut=True) == (ROWS, 0)


def test_a_torn_last_line_is_no_damage(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + b"4,loss,0.1")
    assert log.until(path, 9, cut=True) == (ROWS, 0)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "damage", [b"1,loss\r\n", b"x,loss,1\r\n", b"1,loss,x\r\n", b"\xff\xfe\r\n", b"\0\r\n", b"\r\n"]
)
def test_damaged_lines_are_left_out(path: Path, damage: bytes) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], damage, *lines[1:]]))
    assert log.read(path) == (ROWS, 1)
    assert log.until(path, 9, cut=True) == (ROWS, 1)
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_no_log(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics.csv"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(CheckpointError, match=f"is a {kind}"):
        log.read(path)
    with pytest.raises(CheckpointError, match="cannot write"):
        log.append(path, ROWS[0])


def test_a_full_disk_is_said_to_be_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CheckpointError, match="disk full"):
        log.append(path, ROWS[0])
