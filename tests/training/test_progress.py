"""Progress of long work: a bar in a terminal, a line now and then elsewhere, nothing where nobody asked."""

import io
import sys
import types

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


def test_the_last_line_is_of_the_last_validation(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress(True) as bar:
        bar.start(3, 0)
        bar.validation("accuracy", 0.5)
        bar.advance(3, 0.25)
        bar.validation("accuracy", 0.75)
    assert capsys.readouterr().err == "step 3/3, loss 0.2500, val accuracy 0.7500, 0 s left\n"


@pytest.mark.parametrize(("done", "words"), [(1, "from step 1"), (3, "which has made all of its 3 steps")])
@pytest.mark.parametrize("terminal", [True, False])
def test_that_a_run_goes_on_is_said(done: int, words: str, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setenv("COLUMNS", "30")
    with open_progress(True) as bar:
        bar.start(3, done)
        bar.resumed("runs/[red]x[/red]")
    assert "going on with the run in runs/[red]x[/red], " + words in output.getvalue().replace("from\n", "from ")


class Shell:
    """IPython in a notebook, as far as it is asked."""

    kernel = None

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, content: dict[str, str], raw: bool, display_id: bool) -> "Shell":
        assert raw
        assert display_id
        assert not self.shown
        return self.update(content, raw)

    def update(self, content: dict[str, str], raw: bool) -> "Shell":
        self.shown.append(content["text/plain"])
        return self


def test_a_notebook_has_one_line_that_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell()
    ipython, displays = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    displays.display = shell.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    monkeypatch.setattr(progress._Cell, "every", 0.0)
    with open_progress(True) as bar:
        bar.start(4, 1)
        bar.resumed("runs/x")
        bar.advance(2, 0.5)
        bar.validation("accuracy", 0.75)
        bar.advance(4, 0.25)
    assert capsys.readouterr() == ("", "")
    assert "going on with the run in runs/x, from step 1\n" in shell.shown[0]
    assert f"{'█' * 10}{'░' * 10} step 2/4, loss 0.5000" in shell.shown[0]
    assert shell.shown[-1].endswith(f"{'█' * 20} step 4/4, loss 0.2500, val accuracy 0.7500, 0 s left")
