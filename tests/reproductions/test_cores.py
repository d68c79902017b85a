"""Pieces side by side: what happens when one fails."""

import functools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from quickstudy.reproductions import cores


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
