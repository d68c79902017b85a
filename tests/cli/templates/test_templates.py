"""Each file to begin with does what its head says, under a name of one's own."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from quickstudy import plugins, registry
from quickstudy.cli import main
from quickstudy.cli.new import NAMES, filled
from tests.helpers.own_data import names, pictures


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch, tmp_path):
    """Take out again what a file registers, and work in a folder of the test's own."""
    for kind in registry.HOMES:
        registry.fill(kind)
    kept = {kind: dict(entries) for kind, entries in registry.TABLES.items()}
    path, modules = list(sys.path), set(sys.modules)
    monkeypatch.setattr(plugins, "IMPORTED", {})
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith(("quickstudy", "torch", "sklearn", "scipy")):
            del sys.modules[name]
    for kind, entries in registry.TABLES.items():
        for name in entries.keys() - kept.get(kind, {}).keys():
            del entries[name]


@pytest.mark.parametrize(
    ("kind", "name", "file", "says"),
    [
        ("method", "TrimmedNet", "trimmed_net.py", "TrimmedNet keeps every promise of a learner"),
        ("objective", "Steadily", "steadily.py", "the loss fell from"),
        ("data", "my_points", "my_points.py", "ClassData(my_points: 600 examples"),
    ],
)
def test_a_new_file_runs(kind, name, file, says, tmp_path, capsys):
    assert main(["new", kind, name]) == 0
    out = capsys.readouterr().out
    assert f"Wrote {file}" in out
    assert f"  python {file}\n" in out
    runpy.run_path(file, run_name="__main__")
    assert says in capsys.readouterr().out
    assert NAMES[kind] not in Path(file).read_text()


def test_a_new_recipe_is_trained_evaluated_and_reported(capsys):
    assert main(["new", "recipe", "my-lines"]) == 0
    assert "class MyLines(Recipe)" in Path("my_lines.py").read_text()
    given = ["--import", "my_lines.py"]
    assert main(["train", "my-lines", *given, "--steps", "2", "--device", "cpu"]) == 0
    assert "  quickstudy report runs/my-lines --import my_lines.py" in capsys.readouterr().out
    assert main([*given, "evaluate", "runs/my-lines", "--tasks", "3"]) == 0
    assert "ridge regression" in capsys.readouterr().out
    assert main(["report", "runs/my-lines", "--tasks", "3", "--import=my_lines.py"]) == 0


def test_a_method_in_a_file_is_listed_trained_reported_and_compared(capsys):
    pictures(Path("photos"), names(9))
    assert main(["new", "method", "TrimmedNet"]) == 0
    given = ["--import", "trimmed_net.py"]
    assert main(["list", "learners", *given]) == 0
    assert "TrimmedNet" in capsys.readouterr().out
    small = ["--data", "photos", "--size", "16", "--hidden", "4", "--steps", "2", "--device", "cpu"]
    assert main(["train", "TrimmedNet", *small, *given, "--seeds", "2"]) == 0
    assert main(["train", "protonet", *small]) == 0
    capsys.readouterr()
    runs = ["runs/TrimmedNet-photos-s*", "runs/protonet-photos"]
    assert main(["compare", *runs, "--tasks", "4", *given]) == 0
    out = capsys.readouterr().out
    assert "TrimmedNet - ProtoNet" in out
    assert "TrimmedNet-photos-s1" in out
    assert main(["report", *runs, "--tasks", "4", "--output", "page.html", *given]) == 0
    assert '<h2 id="run0">TrimmedNet</h2>' in Path("page.html").read_text()


def test_names_that_cannot_be_are_refused(capsys):
    assert main(["new", "method", "Proto Net"]) == 2
    assert "'Proto Net' cannot name a method" in capsys.readouterr().err
    assert main(["new", "method", "MAML"]) == 2
    assert "there is a learner 'MAML' already" in capsys.readouterr().err
    Path("fine.py").write_text("")
    assert main(["new", "method", "Fine"]) == 2
    assert "fine.py exists" in capsys.readouterr().err


@pytest.mark.parametrize("kind", NAMES)
def test_a_template_is_python_and_names_what_it_holds(kind):
    name = "my-own" if kind == "recipe" else "MyOwn"
    text = filled(kind, name, "my_own.py")
    compile(text, "my_own.py", "exec")
    assert text.startswith(f'"""{name}, ')
    assert "--import my_own.py" in text


def test_a_run_of_a_file_that_is_not_imported_says_which_it_needs(tmp_path):
    """In processes of their own, where nothing is registered yet."""
    quickstudy = [sys.executable, "-m", "quickstudy"]
    main(["new", "method", "TrimmedNet"])
    small = ["--steps", "1", "--hidden", "4", "--device", "cpu", "--data", str(pictures(tmp_path / "p", names(6)))]
    main(["train", "TrimmedNet", "--import", "trimmed_net.py", *small, "--run-dir", "run"])
    result = subprocess.run([*quickstudy, "evaluate", "run"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"--import {tmp_path / 'trimmed_net.py'}" in result.stderr
    assert "Traceback" not in result.stderr
    with Path("trimmed_net.py").open("a") as file:
        file.write("# changed\n")
    command = [*quickstudy, "evaluate", "run", "--tasks", "2", "--import", "trimmed_net.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "trimmed_net.py has changed since the run" in result.stderr
