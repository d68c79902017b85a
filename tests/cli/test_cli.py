"""The command: every subcommand in-process on tiny runs, exit codes, messages, help."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from quickstudy import recipes
from quickstudy.cli import completion, main
from quickstudy.cli import listing as commands_list
from quickstudy.cli.console import show, table
from quickstudy.registry import table as entries

COMMANDS = [
    "train",
    "evaluate",
    "compare",
    "adapt",
    "predict",
    "report",
    "list",
    "new",
    "demo",
    "reproduce",
    "completion",
]


@pytest.fixture
def copy(runs: Path, tmp_path: Path):
    """Return a copy of a run, which the test may spoil."""

    def make(name: str) -> Path:
        shutil.copytree(runs / name, tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def drawings(tmp_path: Path) -> Path:
    """Return a folder with drawings, dark on paper, of a bar, a ring and a cross: support/CLASS and query."""
    y, x = np.mgrid[-1:1:56j, -1:1:56j]
    radius = np.hypot(x, y)
    shapes = {
        "bar": abs(x) < 0.15,
        "ring": (radius > 0.5) & (radius < 0.75),
        "cross": (abs(x - y) < 0.2) | (abs(x + y) < 0.2),
    }
    rng = np.random.default_rng(0)
    for name, ink in shapes.items():
        for part, count in (("support", 2), ("query", 3)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                moved = np.roll(ink, rng.integers(-4, 5, 2), (0, 1))
                Image.fromarray(np.where(moved, 20, 240).astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path


# help ------------------------------------------------------------------------------------------------------------


def test_names_of_commands_are_frozen(capsys):
    assert list(completion.COMMANDS) == COMMANDS
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    listed = out.split("commands:\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed if not line.startswith("   ")] == COMMANDS
    for code in ("0 ", "1 ", "2 ", "130", "143"):
        assert f"\n  {code}" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: quickstudy {command}")
    assert "{None}" not in out


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("evaluate", "ways shots queries tasks seed gap checkpoint device json"),
        ("compare", "ways shots tasks seed baselines checkpoint device json plot"),
        ("adapt", "support query format output invert fit size checkpoint device"),
        ("report", "output tasks checkpoint open"),
        ("demo", "output quick"),
        ("reproduce", "output quick seeds"),
    ],
)
def test_options_are_frozen(command, options, capsys):
    main([command, "--help"])
    out = capsys.readouterr().out
    assert [name for name in options.split() if f"--{name}" not in out] == []


def test_a_recipe_explains_its_options(capsys):
    assert main(["train", "glyphs-maml", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in ("--inner-lr FLOAT Inner learning rate. (default: 0.4)", "--run-dir DIR", "--no-resume", "Finn et al."):
        assert text in out


def test_every_recipe_can_be_asked_for_its_options(capsys):
    for name, recipe in entries("recipe").items():
        assert main(["train", name, "--help"]) == 0
        out = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert f"--steps INT Outer steps. (default: {recipe.build().steps})" in out, name


def test_help_and_version_need_no_torch():
    code = (
        "import sys; from quickstudy.cli import main; a = main(['--help']); b = main(['--version']);"
        "c = main(['evaluate', '--help']); print('torch' in sys.modules, a, b, c)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False 0 0 0"
    assert "quickstudy 0." in result.stdout


def test_no_command_prints_help_to_standard_error(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: quickstudy" in captured.err


# mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["trian"], "did you mean 'train'?"),
        (["--versoin"], "unknown option"),
        (["train", "glyphs-mamal"], "did you mean 'glyphs-maml'?"),
        (["train", "glyphs-maml", "--inner-lrr", "1"], "--inner-lr"),
        (["train", "glyphs-maml", "--steps", "many"], "--steps"),
        (["evaluate"], "RUN"),
        (["evaluate", "run", "--way", "3"], "--ways"),
        (["list", "recipe"], "recipes"),
        (["compare", "one"], "two runs"),
        (["compare", "one", "two", "--plot", "figure.jpeg2"], ".png"),
        (["report"], "run folder"),
        (["completion", "fsh"], "fish"),
    ],
)
def test_usage_errors_name_what_was_meant(args, hint, capsys):
    assert main(args) == 2
    captured = capsys.readouterr()
    assert hint in captured.err
    assert captured.out == ""


def test_errors_are_one_line_without_traceback(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "missing")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="missing"):
        main(["--debug", "evaluate", str(tmp_path / "missing")])
    monkeypatch.setenv("QUICKSTUDY_DEBUG", "1")
    with pytest.raises(RuntimeError, match="missing"):
        main(["evaluate", str(tmp_path / "missing")])


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_interruption_has_its_exit_code(raised, code, monkeypatch, tmp_path):
    def stop(*args, **kwargs):
        raise raised

    monkeypatch.setattr(recipes.Recipe, "train", stop)
    assert main(["train", "sinusoid-maml", "--run-dir", str(tmp_path)]) == code


def test_bugs_keep_their_traceback(monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(recipes.Recipe, "train", fail)
    with pytest.raises(ZeroDivisionError):
        main(["train", "sinusoid-maml", "--run-dir", str(tmp_path)])


def test_the_handler_of_sigterm_is_put_back(capsys):
    before = signal.getsignal(signal.SIGTERM)
    main(["--help"])
    assert signal.getsignal(signal.SIGTERM) is before


# train -----------------------------------------------------------------------------------------------------------


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "quickstudy", "train", "sinusoid-maml", "--compile", "False", "--device", "cpu"]
    command += ["--run-dir", str(folder), "--validate-every", "100000", "--steps"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "1000000"], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        deadline = time.monotonic() + 60
        log = folder / "metrics.csv"
        while not (log.exists() and log.read_text().count("\n") > 2):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.terminate()
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert "The same command goes on from there" in err
    done = int(log.read_text().splitlines()[-1].split(",")[0])
    result = subprocess.run([*command, str(done + 1)], capture_output=True, text=True, env=environment, check=True)
    assert "going on with the run" in result.stderr
    assert str(folder) in result.stdout


def test_training_says_what_comes_next(runs, copy, capsys):
    folder = copy("sinusoid")
    options = ["--steps", "20", "--compile", "False", "--device", "cpu", "--run-dir", str(folder)]
    assert main(["train", "sinusoid-maml", *options]) == 0
    captured = capsys.readouterr()
    assert f"quickstudy evaluate {folder}" in captured.out
    assert "quickstudy adapt" not in captured.out
    assert "going on" in captured.err
    assert main(["train", "sinusoid-maml", *options, "--seed", "3"]) == 1
    assert "--no-resume" in capsys.readouterr().err
    assert main(["train", "sinusoid-maml", *options, "--seed", "3", "--no-resume"]) == 0
    assert json.loads((folder / "run.json").read_text())["seed"] == 3


# evaluate and compare ---------------------------------------------------------------------------------------------


def test_evaluate_shows_and_saves(copy, tmp_path, capsys):
    folder, extra = copy("maml"), tmp_path / "more" / "result.json"
    assert main(["evaluate", str(folder), "--tasks", "8", "--json", str(extra)]) == 0
    out = capsys.readouterr().out
    for text in (
        "Accuracy",
        "nearest neighbour",
        "Meta-overfitting gap",
        "calibration",
        "Batch normalisation: support",
    ):
        assert text in out
    assert "\x1b" not in out
    assert "after inner steps  0: " in out
    saved = json.loads((folder / "evaluation.json").read_text())
    assert saved == json.loads(extra.read_text())
    assert saved["tasks"] == 8
    assert len(saved["curve"]) == 4
    assert 0 <= saved["mean"] <= 1
    assert saved["baselines"]["nearest neighbour"]["tasks"] == 8
    assert f"{saved['mean']:.4f}" in out


def test_evaluate_takes_other_ways_and_prints_json(copy, capsys):
    folder = copy("protonet")
    options = ["--ways", "7", "--shots", "2", "--tasks", "3", "--no-gap", "--json", "-"]
    assert main(["evaluate", str(folder), *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["distribution"]["ways"] == [7, 7]
    assert printed["distribution"]["shots"] == [2, 2]
    assert printed["overfitting_gap"] is None


def test_a_single_task_has_no_interval_and_still_gives_json(runs, capsys):
    assert main(["compare", str(runs / "protonet"), "--baselines", "--tasks", "1", "--json", "-"]) == 0
    text = capsys.readouterr().out
    assert "Infinity" not in text
    assert json.loads(text)["reports"]["protonet"]["interval"] is None
    for tasks in ("0", "-3"):
        assert main(["evaluate", str(runs / "protonet"), "--tasks", tasks]) == 2
        assert "at least 1" in capsys.readouterr().err


def test_pretrained_baselines_have_a_gap_too(copy, capsys):
    assert main(["evaluate", str(copy("finetune")), "--tasks", "3"]) == 0
    assert "Meta-overfitting gap" in capsys.readouterr().out


def test_regression_is_evaluated_without_classes(copy, capsys):
    folder = copy("sinusoid")
    assert main(["evaluate", str(folder), "--tasks", "5"]) == 0
    out = capsys.readouterr().out
    assert "Mean squared error" in out
    assert "nearest neighbour" not in out
    for option in ("--ways", "--queries"):
        assert main(["evaluate", str(folder), option, "3"]) == 2
        assert f"leave {option} out" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["train", "validation"])
def test_test_classes_that_were_trained_on_are_refused(copy, part, capsys):
    folder = copy("protonet")
    classes = json.loads((folder / "classes.json").read_text())
    classes[part].append("ARMENIAN SMALL LETTER INI")
    (folder / "classes.json").write_text(json.dumps(classes))
    assert main(["evaluate", str(folder), "--tasks", "2"]) == 1
    assert f"meta-{part}" in capsys.readouterr().err


def test_damaged_class_split_is_refused(copy, capsys):
    folder = copy("protonet")
    (folder / "classes.json").write_text("[1, 2]")
    assert main(["evaluate", str(folder), "--tasks", "2"]) == 1
    assert "does not hold a run's class split" in capsys.readouterr().err


def test_unknown_device_is_an_error(runs, tmp_path, capsys):
    for args in (
        ["evaluate", str(runs / "protonet"), "--device", "nowhere"],
        ["train", "sinusoid-maml", "--run-dir", str(tmp_path / "run"), "--device", "nowhere"],
    ):
        assert main(args) == 2
        assert "device='nowhere' cannot be used here" in capsys.readouterr().err


def test_compare_pairs_runs_on_the_same_tasks(runs, tmp_path, capsys):
    saved, plot = tmp_path / "c.json", tmp_path / "c.png"
    args = ["compare", str(runs / "protonet"), str(runs / "maml"), "--baselines", "--tasks", "6"]
    assert main([*args, "--json", str(saved), "--plot", str(plot)]) == 0
    out = capsys.readouterr().out
    assert "ProtoNet - MAML" in out
    found = json.loads(saved.read_text())
    assert set(found["reports"]) == {"protonet", "maml", "nearest neighbour"}
    assert len(found["differences"]) == 3
    first = found["differences"][0]
    assert first["mean"] == pytest.approx(found["reports"]["protonet"]["mean"] - found["reports"]["maml"]["mean"])
    assert first["excludes_zero"] == (abs(first["mean"]) > first["interval"])
    with Image.open(plot) as image:
        assert image.width > 400


def test_runs_on_other_data_are_not_compared(runs, capsys):
    assert main(["compare", str(runs / "protonet"), str(runs / "sinusoid"), "--tasks", "2"]) == 1
    assert "test data" in capsys.readouterr().err
    assert main(["compare", str(runs / "maml"), str(runs / "maml"), "--tasks", "2"]) == 1
    assert "twice" in capsys.readouterr().err


# adapt -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["protonet", "maml", "finetune"])
def test_adapt_classifies_a_folder(run, runs, drawings, capsys):
    folders = ["--support", str(drawings / "support"), "--query", str(drawings / "query")]
    assert main(["adapt", str(runs / run), *folders]) == 0
    captured = capsys.readouterr()
    assert "ring/2.png" in captured.out
    assert "Accuracy" in captured.out
    assert "inverted 6 of 6 support images" in captured.err
    assert main(["adapt", str(runs / run), *folders, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["bar", "cross", "ring"]
    assert len(found["predictions"]) == 9
    for row in found["predictions"]:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
        assert row["truth"] == row["file"].split("/")[0]
    right = [row["prediction"] == row["truth"] for row in found["predictions"]]
    assert found["accuracy"] == pytest.approx(np.mean(right))


def test_inverting_is_the_same_as_drawing_white_on_black(runs, drawings, capsys):
    folders = ["--support", str(drawings / "support"), "--query", str(drawings / "query"), "--format", "csv"]
    main(["adapt", str(runs / "protonet"), *folders])
    expected = capsys.readouterr().out
    for file in drawings.rglob("*.png"):
        with Image.open(file) as image:
            swapped = Image.fromarray(255 - np.asarray(image))
        swapped.save(file)
    main(["adapt", str(runs / "protonet"), *folders])
    captured = capsys.readouterr()
    assert "inverted" not in captured.err
    for a, b in zip(csv.DictReader(expected.splitlines()), csv.DictReader(captured.out.splitlines()), strict=True):
        assert float(a["p(bar)"]) == pytest.approx(float(b["p(bar)"]), abs=0.02)  # resizing rounds to 8 bits
    main(["adapt", str(runs / "protonet"), *folders, "--invert", "yes"])
    assert "inverted 9 of 9 query images\n" in capsys.readouterr().err


def test_adapt_writes_a_file_and_takes_queries_without_classes(runs, drawings, tmp_path, capsys):
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(drawings / "query" / "ring" / "0.png", flat / "what.PNG")
    Image.new("L", (20, 30)).save(flat / "blank.png")
    for format in ("csv", "json", "table"):
        output = tmp_path / f"out.{format}"
        args = ["adapt", str(runs / "protonet"), "--support", str(drawings / "support"), "--query", str(flat)]
        assert main([*args, "--format", format, "--output", str(output)]) == 0
        assert "what.PNG" in output.read_text()
        by_ending = tmp_path / f"again.{format}"
        assert main([*args, "--output", str(by_ending)]) == 0
        assert by_ending.read_text() == output.read_text()
    captured = capsys.readouterr()
    assert "almost blank" in captured.err
    assert json.loads((tmp_path / "out.json").read_text())["accuracy"] is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "query"), "there is no folder"),
        (lambda folder: shutil.rmtree(folder / "support"), "there is no folder"),
        (lambda folder: [file.unlink() for file in (folder / "query").rglob("*.png")], "holds no image"),
        (lambda folder: (folder / "query" / "bar" / "0.png").write_bytes(b"no image"), "corrupt"),
        (lambda folder: [shutil.rmtree(folder / "support" / name) for name in ("bar", "ring")], "one class"),
    ],
)
def test_adapt_says_what_is_wrong_with_folders(spoil, message, runs, drawings, capsys):
    spoil(drawings)
    args = ["adapt", str(runs / "protonet"), "--support", str(drawings / "support"), "--query", str(drawings / "query")]
    assert main(args) == 1
    assert message in capsys.readouterr().err


def test_adapt_needs_a_net_for_images(runs, drawings, capsys):
    folders = ["--support", str(drawings / "support"), "--query", str(drawings / "query")]
    assert main(["adapt", str(runs / "sinusoid"), *folders]) == 1
    assert "does not read images" in capsys.readouterr().err


# list, demo, completion -------------------------------------------------------------------------------------------


def test_reproduce_without_a_name_lists_comparisons_and_rows_that_are_alike_in_one_line(capsys):
    assert main(["reproduce"]) == 0
    comparisons, _, rows = capsys.readouterr().out.partition("rows of the results")
    known = entries("reproduction")
    assert [name for name in known if f" {name} " in comparisons] == [
        name for name, each in known.items() if "recipe" not in each.facts
    ]
    lines = [line.split("  ") for line in rows.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["omniglot-maml", "5w1s, 5w5s, 20w1s, 20w5s", "MAML on Omniglot, ..."] in cells
    named = set()
    for name, *rest in filter(None, cells):
        settings = rest[0].split(", ") if len(rest) == 2 else [""]
        named |= {f"{name}-{setting}".strip("-") for setting in settings}
    assert {name for name, each in known.items() if "recipe" in each.facts} <= named


def test_a_row_without_its_setting_is_told_which_there_are(capsys):
    assert main(["reproduce", "omniglot-maml"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "say which: omniglot-maml-20w1s, omniglot-maml-20w5s" in told
    assert "omniglot-mann" not in told


def test_list_shows_every_kind(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in ("glyphs-maml", "ProtoNet", "omniglot", "conv4", "Reptile", "query_loss", "FewShot"):
        assert name in out
    assert main(["list", "nets"]) == 0
    out = capsys.readouterr().out
    assert "mlp" in out
    assert "glyphs-maml" not in out


def test_axes_are_a_map_of_what_goes_with_what(capsys):
    assert main(["list", "--axes"]) == 0
    out = capsys.readouterr().out
    for name in ("Gradient(SAMA)", "PES", "WorstCase", "MAML", "has no latent variable for the ELBO"):
        assert name in out
    assert main(["list", "--axes", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"outer": "Reptile", "objective": "query_loss", "learner": "MAML", "reason": None} in rows
    (refused,) = [
        row["reason"]
        for row in rows
        if (row["outer"], row["objective"], row["learner"]) == ("Gradient", "Reward", "ProtoNet")
    ]
    assert "no derivative" in refused


def test_tables_in_a_pipe_are_whole():
    command = [sys.executable, "-m", "quickstudy", "list", "learners"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "40"})
    lines = result.stdout.splitlines()
    assert all(any(line.split()[:1] == [name] for line in lines) for name in ("NearestNeighbour", "MAML"))
    assert max(map(len, lines)) <= 100
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_tables_in_a_narrow_terminal_fold_and_lose_nothing(width):
    for kind in ("recipes", "learners", "datasets"):
        columns, rows = commands_list.listed(kind)
        out = io.StringIO()
        Console(file=out, width=width).print(table(columns, rows))
        shown = "".join(out.getvalue().replace("─", "").split())
        assert sorted(shown) == sorted("".join("".join(cell.split()) for row in [columns, *rows] for cell in row))
        assert max(map(len, out.getvalue().splitlines())) <= width


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m quickstudy list | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "0"


def test_demo_is_handed_its_options(monkeypatch, tmp_path):
    from quickstudy.cli import demo

    given = []
    monkeypatch.setattr(demo, "main", lambda folder, quick: given.append((folder, quick)) or 0)
    assert main(["demo", "--quick", "--output", str(tmp_path)]) == 0
    assert given == [(tmp_path, True)]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_recipes_and_options(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("evaluate", "glyphs-maml", "inner-lr", "support"):
        assert word in script


def test_only_the_first_of_several_processes_speaks(monkeypatch, capsys):
    for rank, shown in (("0", "once\n"), ("1", "")):
        monkeypatch.setenv("RANK", rank)
        show("once")
        assert capsys.readouterr().out == shown


def test_test_tasks_are_few_where_each_is_a_training_run(tmp_path, capsys):
    run = str(tmp_path / "run")
    options = ["--steps", "1", "--inner-steps", "12", "--device", "cpu", "--compile", "False"]
    assert main(["train", "digits-decays", *options, "--run-dir", run]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--json", str(tmp_path / "found.json")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["tasks"] == 10
    shown = capsys.readouterr().out
    curve = next(line for line in shown.splitlines() if "after inner steps" in line)
    assert "  0: " in curve
    assert "  12: " in curve
    assert curve.count(":") <= 11
    assert main(["evaluate", run, "--tasks", "0"]) == 2
