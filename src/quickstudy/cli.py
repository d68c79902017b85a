"""The command `quickstudy`: train, evaluate, compare, adapt, report, list, demo, completion.

Each command is a dataclass whose fields are its options. Nothing heavy is imported before a command runs, so that
help and completion answer at once.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro
from tyro.conf import Positional, arg

from quickstudy.errors import CheckpointError, QuickstudyError, unknown_name

if TYPE_CHECKING:
    from quickstudy.assessment import Assessment, Comparison

Count = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Folder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
Checkpoint = Literal["best", "last"]
RunFolder = Annotated[Positional[Path], arg(metavar="RUN", help_behavior_hint="")]
RunFolders = Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="")]

EPILOGUE = """\
exit codes:
  0    success
  1    an error while running; one line on standard error says what to do (--debug shows the traceback)
  2    a mistake in the command line
  130  interrupted by Ctrl-C     } training saves a checkpoint first,
  143  ended by SIGTERM          } and the same command goes on from there

environment:
  QUICKSTUDY_DATA=DIR      where data sets lie
  QUICKSTUDY_OFFLINE=1     never download
  QUICKSTUDY_DEBUG=1       the same as --debug
"""


@dataclass
class Train:
    """Meta-train a recipe into a run folder; the same command resumes an interrupted run."""

    recipe: Annotated[Any, arg(name="")]
    """Its options; the commands below `train` put the recipe's own dataclass here."""
    run_dir: Folder = None
    """Run folder; runs/RECIPE if not given."""
    resume: bool = True
    """Go on with an interrupted run in the folder; --no-resume starts anew."""

    def __call__(self) -> int:
        """Train, and say what to do next."""
        from quickstudy.console import say, show

        folder = self.run_dir if self.run_dir is not None else Path("runs") / self.recipe.name
        if self.resume and (folder / "last.safetensors").exists():
            say(f"going on with the run in {folder}")
        try:
            run = self.recipe.train(folder, resume=self.resume)
        except CheckpointError as error:
            if "resume=False" not in str(error):
                raise
            raise CheckpointError(f"{error} (in this command: --run-dir, --no-resume)") from error
        best = f", best validation {run.best:.4f} at step {run.best_step}" if run.best_step else ""
        early = ", stopped early" if run.stopped_early else ""
        show(f"Meta-trained {self.recipe.name}: {run.steps} steps{early}{best}.", f"Run folder: {folder}", "Next:")
        show(f"  quickstudy evaluate {folder}", f"  quickstudy report {folder}")
        if hasattr(self.recipe, "ways"):
            show(f"  quickstudy adapt {folder} --support FOLDER --query FOLDER")
        return 0


@dataclass
class Evaluate:
    """Evaluate a run on tasks of classes that it never saw; writes evaluation.json into the run folder."""

    run: RunFolder
    """Run folder."""
    ways: Count = None
    """Classes a task; the run's own if not given."""
    shots: Count = None
    """Support rows a class; the run's own if not given."""
    queries: Count = None
    """Query rows a class; the run's own if not given."""
    tasks: Annotated[int, arg(metavar="N")] = 1000
    """Test tasks."""
    seed: int = 2024
    """Which tasks: the same seed gives every learner the same tasks."""
    gap: bool = True
    """Evaluate on tasks of meta-training classes too, for the meta-overfitting gap."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', ..."""
    json: File = None
    """Also write the result here; - writes it to standard output in place of the tables."""

    def __call__(self) -> int:
        """Evaluate, save, show."""
        from quickstudy.assessment import assess, open_run
        from quickstudy.checkpoint import write_json
        from quickstudy.console import counting, show

        changes = {"ways": self.ways, "shots": self.shots, "queries": self.queries}
        run = open_run(self.run, self.checkpoint, self.device, **changes)
        found = assess(run, self.tasks, self.seed, self.gap, meter=counting)
        write_json(self.run / "evaluation.json", found.to_json())
        _write_result(self.json, found.to_json())
        if self.json != Path("-"):
            _show_assessment(found)
            show(f"Saved to {self.run / 'evaluation.json'}")
        return 0


@dataclass
class Compare:
    """Compare runs on the same tasks: means, and all paired differences with intervals."""

    runs: RunFolders
    """Run folders. The first one's test tasks serve for all."""
    ways: Count = None
    """Classes a task; the first run's own if not given."""
    shots: Count = None
    """Support rows a class; the first run's own if not given."""
    tasks: Annotated[int, arg(metavar="N")] = 1000
    """Test tasks."""
    seed: int = 2024
    """Which tasks."""
    baselines: bool = False
    """Add nearest neighbour on raw inputs."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', ..."""
    json: File = None
    """Save the comparison here; - writes it to standard output in place of the tables."""
    plot: File = None
    """Save a bar chart with intervals here, as .png, .svg or .pdf."""

    def __call__(self) -> int:
        """Compare, save, show."""
        from quickstudy.assessment import compare_runs, open_runs
        from quickstudy.console import counting, show

        if len(self.runs) + self.baselines < 2:
            raise _UsageError("compare needs two runs, or one run and --baselines", "compare")
        if self.plot is not None and self.plot.suffix not in (".png", ".svg", ".pdf"):
            raise _UsageError(f"--plot {self.plot}: the name must end in .png, .svg or .pdf", "compare")
        runs = open_runs(self.runs, self.checkpoint, self.device, ways=self.ways, shots=self.shots)
        found = compare_runs(runs, self.tasks, self.seed, self.baselines, counting)
        _write_result(self.json, found.to_json())
        if self.plot is not None:
            from quickstudy import plots
            from quickstudy.checkpoint import write_atomically

            write_atomically(self.plot, plots.file(plots.bars(found.reports), self.plot.suffix[1:]))
        if self.json != Path("-"):
            _show_comparison(found)
            show(*(f"Saved to {path}" for path in (self.json, self.plot) if path is not None))
        return 0


@dataclass
class Adapt:
    """Learn your own classes from a few images each, and classify other images."""

    run: RunFolder
    """Run folder."""
    support: Annotated[Path, arg(metavar="FOLDER", help_behavior_hint="(required)")]
    """A folder for each class, with its images."""
    query: Annotated[Path, arg(metavar="FOLDER", help_behavior_hint="(required)")]
    """Images to classify, nested or not. Those in folders named as the classes also give an accuracy."""
    format: Literal["table", "json", "csv"] = "table"
    """How the predictions are written."""
    output: File = None
    """Write the predictions here; to standard output if not given."""
    invert: Literal["auto", "yes", "no"] = "auto"
    """Swap black and white: 'auto' does for dark drawings on light paper if the run learned from white ink on black."""
    fit: Literal["stretch", "crop"] = "stretch"
    """How images that are not square are fitted."""
    size: Count = None
    """Height and width in pixels, for nets that read several sizes."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', ..."""

    def __call__(self) -> int:
        """Adapt, predict, write."""
        from quickstudy import adapt_folder
        from quickstudy.checkpoint import write_atomically
        from quickstudy.console import say, show

        found = adapt_folder.adapt_folder(
            self.run, self.support, self.query, self.invert, self.fit, self.size, self.checkpoint, self.device
        )
        for remark in found.remarks:
            say(remark)
        if self.output is not None:
            write_atomically(self.output, adapt_folder.text(found, self.format).encode())
            show(f"Saved to {self.output}")
        elif self.format == "table":
            show(*adapt_folder.tables(found))
        else:
            sys.stdout.write(adapt_folder.text(found, self.format))
        return 0


@dataclass
class Report:
    """Write one self-contained HTML page about a run, or about several side by side."""

    runs: RunFolders
    """Run folders; the first one's test tasks serve for all."""
    output: File = None
    """The page; RUN/report.html if not given."""
    tasks: Annotated[int, arg(metavar="N")] = 600
    """Test tasks."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    open: bool = False
    """Show it in the web browser."""

    def __call__(self) -> int:
        """Write the page."""
        from quickstudy import report
        from quickstudy.console import counting, show

        if not self.runs:
            raise _UsageError("report needs a run folder", "report")
        if len(self.runs) == 1:
            path = report.write_report(self.runs[0], self.output, self.tasks, self.checkpoint, counting)
        else:
            output = self.output or self.runs[0] / "report.html"
            path = report.write_comparison(
                self.runs, output, tasks=self.tasks, checkpoint=self.checkpoint, meter=counting
            )
        show(f"Report: {path}")
        if self.open:
            import webbrowser

            webbrowser.open(path.resolve().as_uri())
        return 0


Kind = Literal["all", "recipes", "learners", "datasets", "nets", "outer", "objectives", "tasks"]


@dataclass
class List:
    """List recipes, learners, data sets, nets, outer optimisers, objectives or task distributions."""

    kind: Annotated[Positional[Kind], arg(metavar="KIND")] = "all"
    """all, recipes, learners, datasets, nets, outer, objectives or tasks."""

    def __call__(self) -> int:
        """Show the tables."""
        from quickstudy.console import show, table

        for kind in ("recipes", "learners", "datasets", "nets", "outer", "objectives", "tasks"):
            if self.kind in ("all", kind):
                columns, rows = _listed(kind)
                show(f"{kind}:", table(columns, rows))
        return 0


@dataclass
class Demo:
    """Meta-train on embedded data, evaluate on writing systems never seen, and write one page about it."""

    output: Annotated[Path, arg(metavar="DIR")] = Path("runs/demo")
    """Folder for the runs and the page."""
    quick: bool = False
    """Fewer steps: a minute in place of several, and lower figures."""

    def __call__(self) -> int:
        """Run the demonstration."""
        from quickstudy import demo  # type: ignore[attr-defined,unused-ignore]

        return int(demo.main(self.output, self.quick))


@dataclass
class Completion:
    """Print a completion script for a shell."""

    shell: Positional[Literal["bash", "zsh", "fish", "tcsh"]]
    """Then, in bash: quickstudy completion bash > ~/.local/share/bash-completion/completions/quickstudy"""

    def __call__(self) -> int:
        """Print the script."""
        whole: Any = _whole_command()
        config = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
        tyro.cli(whole, prog="quickstudy", args=["--tyro-print-completion", self.shell], config=config)
        return 0


COMMANDS: dict[str, Any] = {
    "train": Train,
    "evaluate": Evaluate,
    "compare": Compare,
    "adapt": Adapt,
    "report": Report,
    "list": List,
    "demo": Demo,
    "completion": Completion,
}


class _UsageError(QuickstudyError):
    """A mistake in the command line."""

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(f"{message}\nFor help: {' '.join(filter(None, ('quickstudy', command)))} --help")


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in given or os.environ.get("QUICKSTUDY_DEBUG", "0") not in ("", "0")
    # Plots are drawn into files; a backend for windows would fail where there is no screen.
    os.environ["MPLBACKEND"] = "Agg"
    old = _exit_on_sigterm()
    try:
        return _run([each for each in given if each != "--debug"])
    except QuickstudyError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, _UsageError) else 1
    except KeyboardInterrupt:
        if debug:
            raise
        return 130
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain again when it flushes at exit.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        if old is not None:
            signal.signal(signal.SIGTERM, old)


def _run(args: list[str]) -> int:
    if not args:
        print(overview(), file=sys.stderr)
        return 2
    name, *rest = args
    if name in ("-h", "--help", "help"):
        print(overview())
        return 0
    if name in ("-V", "--version"):
        import quickstudy

        print(f"quickstudy {quickstudy.__version__}")
        return 0
    if name not in COMMANDS:
        raise _UsageError(str(unknown_name("option" if name.startswith("-") else "command", name, COMMANDS)))
    if name == "train":
        return _train(rest)
    command = tyro.cli(COMMANDS[name], prog=f"quickstudy {name}", args=rest)
    return int(command())


def _train(args: list[str]) -> int:
    from quickstudy.registry import table

    recipes = table("recipe")
    if not args or args[0] in ("-h", "--help"):
        print(_train_help({name: entry.summary for name, entry in recipes.items()}))
        return 0 if args else 2
    name, *rest = args
    if name not in recipes:
        raise _UsageError(str(unknown_name("recipe", name, recipes)), "train")
    cls: Any = recipes[name].build
    # The same dataclass with this recipe's options in place of any recipe's.
    recipe = (Annotated[cls, arg(name="")], dataclasses.field(default_factory=cls))
    made = dataclasses.make_dataclass("Train", [("recipe", *recipe)], bases=(Train,))
    paper = f" ({recipes[name].facts['paper']})" if "paper" in recipes[name].facts else ""
    description = f"{recipes[name].summary}{paper} {Train.__doc__}"
    command: Any = tyro.cli(made, prog=f"quickstudy train {name}", description=description, args=rest)
    return int(command())


def overview() -> str:
    """Return the help of the command as a whole."""
    lines = ["usage: quickstudy [-h] [--version] [--debug] COMMAND ...", ""]
    lines += ["Meta-learning in PyTorch: learn to learn from many small tasks.", "", "commands:"]
    lines += [f"  {name:<12}{(command.__doc__ or '').partition(chr(10))[0]}" for name, command in COMMANDS.items()]
    lines += ["", "options:", "  -h, --help  this help; every command has its own: quickstudy train --help"]
    lines += ["  --version   the version", "  --debug     show the traceback of an error", "", "examples:"]
    lines += ["  quickstudy demo", "  quickstudy train glyphs-protonet --steps 500"]
    lines += ["  quickstudy evaluate runs/glyphs-protonet --ways 20", "  quickstudy report runs/glyphs-protonet"]
    lines += ["  quickstudy adapt runs/glyphs-protonet --support my_classes/ --query new_images/", "", EPILOGUE]
    return "\n".join(lines).rstrip()


def _train_help(recipes: dict[str, str]) -> str:
    width = max(map(len, recipes)) + 2
    lines = ["usage: quickstudy train RECIPE [OPTIONS] [--run-dir DIR] [--no-resume]", "", f"{Train.__doc__}", ""]
    lines += ["recipes:", *(f"  {name:<{width}}{summary}" for name, summary in recipes.items()), ""]
    return "\n".join([*lines, "Options differ between recipes: quickstudy train RECIPE --help"])


def _whole_command() -> Any:
    """Return a type whose subcommands are all commands, and all recipes below train."""
    from quickstudy.registry import table

    recipes: Any = tyro.extras.subcommand_type_from_defaults(
        {name: entry.build() for name, entry in table("recipe").items()}
    )
    train = dataclasses.make_dataclass("Train", [("recipe", recipes)], bases=(Train,))
    kinds = {**COMMANDS, "train": train}
    return Union[tuple(Annotated[each, tyro.conf.subcommand(name)] for name, each in kinds.items())]  # noqa: UP007


def _listed(kind: str) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a table of names."""
    import inspect

    from quickstudy import datasets
    from quickstudy.registry import table

    if kind == "datasets":
        functions = {name: getattr(datasets, name) for name in datasets.__all__}
        rows = [
            [name, (inspect.getdoc(each) or "").partition("\n")[0]]
            for name, each in sorted(functions.items())
            if inspect.isfunction(each) and not name.endswith("_split") and name != "with_rotations"
        ]
        return ["name", "what"], rows
    entries = table(
        {"recipes": "recipe", "learners": "learner", "nets": "net", "objectives": "objective"}.get(kind, kind)
    )
    facts = list(dict.fromkeys(fact for entry in entries.values() for fact in entry.facts))
    return ["name", *facts, "what"], [
        [name, *(entry.facts.get(fact, "") for fact in facts), entry.summary] for name, entry in entries.items()
    ]


def _write_result(path: Path | None, value: Any) -> None:
    from quickstudy.checkpoint import write_json

    if path == Path("-"):
        print(json.dumps(value, indent=2))
    elif path is not None:
        write_json(path, value)


def _show_assessment(found: Assessment) -> None:
    from quickstudy.console import show, table

    report, run = found.report, found.run
    rows = [[run.name, f"{report.mean:.4f}", f"{report.interval:.4f}", str(len(report.values))]]
    rows += [[f"  {k}", f"{v.mean:.4f}", f"{v.interval:.4f}", str(len(v.values))] for k, v in found.baselines.items()]
    if found.seen is not None:
        seen = found.seen
        rows.append(["  on its training classes", f"{seen.mean:.4f}", f"{seen.interval:.4f}", str(len(seen.values))])
    what = f"{report.learner} ({run.checkpoint} weights) on {_tasks_in_words(report.tasks)}"
    columns = ["", report.metric, "+/- (95 %)", "tasks"]
    parts: list[Any] = [what, table(columns, rows, columns[1:])]
    for each in found.versus:
        parts.append(f"Paired difference to {each.second}: {each.mean:+.4f} +/- {each.interval:.4f}")
    if found.seen is not None:
        gap, interval = found.gap
        parts.append(f"Meta-overfitting gap (training classes minus new ones): {gap:+.4f} +/- {interval:.4f}")
    if report.calibration == report.calibration:
        parts.append(f"Expected calibration error: {report.calibration:.4f}")
    if found.curve:
        shown = "  ".join(f"{step}: {value:.4f}" for step, value in enumerate(found.curve))
        parts.append(f"{report.metric} after inner steps  {shown}")
    parts.append(f"Batch normalisation: {report.batch_norm}")
    show(*parts)


def _show_comparison(found: Comparison) -> None:
    from quickstudy.console import show, table

    first = next(iter(found.reports.values()))
    columns = ["learner", first.metric, "+/- (95 %)", "batch norm"]
    rows = [[k, f"{v.mean:.4f}", f"{v.interval:.4f}", v.batch_norm] for k, v in found.reports.items()]
    title = f"{len(first.values)} of the same tasks: {_tasks_in_words(first.tasks)}"
    pairs = [
        [f"{d.first} - {d.second}", f"{d.mean:+.4f}", f"{d.interval:.4f}", "yes" if d.significant else "no"]
        for d in found.differences
    ]
    paired = ["pair", "difference", "+/- (95 %)", "excludes zero"]
    show(title, table(columns, rows, columns[1:3]), "Paired differences:", table(paired, pairs, paired[1:3]))


def _tasks_in_words(tasks: Any) -> str:
    from quickstudy.words import tasks_in_words

    return tasks_in_words(tasks)


def _exit_on_sigterm() -> Any:
    """Let SIGTERM unwind the stack, so that files being written are cleaned up; return the handler there was."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(143)

    try:
        return signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread
        return None


if __name__ == "__main__":
    sys.exit(main())
