"""Progress of long work: a bar in a terminal, a line now and then elsewhere, nothing where nobody asked."""

import io
import sys

import pytest

from quickstudy.training import progress
from quickstudy.training.progress import open_progress


def steps(bar: progress.Progress) -> None:
    bar.start(3, 1)
    bar.advance(2, 0.5)
    bar.validation("accuracy", 0.75)
    bar.advance(3, 0.25)


def test_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(False) as bar:
        steps(bar)
    assert capsys.readouterr() == ("", "")


def test_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with open_progress(True) as bar:
        steps(bar)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("step 2/3, loss 0.5000, ")
    assert lines[1].startswith("step 3/3, loss 0.2500, val accuracy 0.7500, 0 s left")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with open_progress(True) as bar:
        steps(bar)
    text = terminal.getvalue()
    assert "meta-training" in text
    assert "3/3" in text
    assert "loss 0.2500" in text
    assert "val accuracy 0.7500" in text
