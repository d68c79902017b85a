"""Pieces side by side: what happens when one fails."""

import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quickstudy_studies.shared import cores


def _fail() -> None:
    raise ValueError("this one fails")


def test_after_an_error_no_further_piece_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    # Threads in the place of processes, which take seconds to start.
    monkeypatch.setattr(cores, "ProcessPoolExecutor", lambda *args, **options: ThreadPoolExecutor(1))
    begun: list[int] = []

    def piece(number: int) -> None:
        begun.append(number)
        time.sleep(0.02)

    pieces = {"fails": _fail, **{str(number): functools.partial(piece, number) for number in range(20)}}
    with pytest.raises(ValueError, match="this one fails"):
        list(cores.side_by_side(pieces))
    assert len(begun) < 10


def test_pieces_come_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "ProcessPoolExecutor", lambda *args, **options: ThreadPoolExecutor(2))
    pieces = {str(number): functools.partial(pow, number, 2) for number in range(5)}
    assert dict(cores.side_by_side(pieces)) == {str(number): number**2 for number in range(5)}


def _write_number_and_wait(file: Path) -> None:
    file.with_suffix(".new").write_text(str(os.getpid()))
    file.with_suffix(".new").rename(file)
    time.sleep(600)


def _wait_with_another(file: str) -> None:
    list(cores.side_by_side({"piece": functools.partial(_write_number_and_wait, Path(file))}))


def _until(holds, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    # One that has ended is there until its parent, or who took it over, has asked how.
    return not Path(f"/proc/{number}/stat").exists() or Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_pieces_end_when_what_asked_for_them_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "number"
    code = f"from tests.studies.test_cores import _wait_with_another as f; f({str(file)!r})"
    program = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    try:
        assert _until(file.exists)
        number = int(file.read_text())
        assert _runs(number)
        program.send_signal(signal.SIGKILL)
        assert _until(lambda: not _runs(number))
    finally:
        program.kill()
        program.wait()
