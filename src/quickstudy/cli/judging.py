"""`quickstudy evaluate`, `compare` and `report`: judge runs on tasks of classes that they never saw."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from quickstudy.cli.options import Checkpoint, Column, Columns, Count, Data, File, RunFolder, RunFolders
from quickstudy.errors import UsageError
from quickstudy.reports.words import ONE_METHOD, OVER_RUNS, tasks_in_words

if TYPE_CHECKING:
    from quickstudy.evaluation import Difference
    from quickstudy.evaluation import Report as Found
    from quickstudy.reports.assessment import Assessment, OpenedRun
    from quickstudy.reports.comparison import Comparison


@dataclass
class Evaluate:
    """Evaluate a run on tasks of classes that it never saw, and write evaluation.json into the run folder."""

    run: RunFolder
    """Run folder."""
    data: Data = None
    """Folder, archive, CSV, TSV or Parquet file with the classes of the test tasks; the run's own by default."""
    ways: Count = None
    """Classes per task; the run's own by default."""
    shots: Count = None
    """Support rows per class; the run's own by default."""
    queries: Count = None
    """Query rows per class; the run's own by default."""
    tasks: Count = None
    """Number of test tasks; 1000 by default, or 10 where a task is a whole training run."""
    seed: int = 2024
    """Seed of the test tasks; the same seed gives every learner the same tasks."""
    gap: bool = True
    """Evaluate on tasks of meta-training classes too, for the meta-overfitting gap."""
    label: Column = None
    """Column of labels of a table; the run's own by default."""
    inputs: Columns = None
    """Columns of inputs of a table, with commas between them; the run's own by default."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    device: str = "auto"
    """'auto', 'cpu', 'cuda', ..."""
    json: File = None
    """Also write the result here; - writes it to standard output in place of the tables."""

    def __call__(self) -> int:
        """Evaluate, save, show."""
        from quickstudy.cli.console import counting, show
        from quickstudy.reports.assessment import assess, open_run
        from quickstudy.storage.checkpoint import write_json
        from quickstudy.training.starting import join

        ranks = join(self.device)
        changes: dict[str, Any] = {"ways": self.ways, "shots": self.shots, "queries": self.queries}
        device = self.device if ranks.size == 1 else str(ranks.device)
        run = open_run(self.run, self.checkpoint, device, data=self.data, columns=columns_of(self), **changes)
        _remark([run])
        tasks = _usual_tasks(run) if self.tasks is None else self.tasks
        found = assess(run, tasks, self.seed, self.gap, meter=counting, ranks=ranks)
        if not ranks.first:
            return 0
        # Shown first: a folder that cannot be written to costs no figure.
        if self.json != Path("-"):
            _show_assessment(found)
        _write_result(self.json, found.to_json())
        write_json(self.run / "evaluation.json", found.to_json())
        if self.json != Path("-"):
            show(f"Saved to {self.run / 'evaluation.json'}")
        return 0


@dataclass
class Compare:
    """Compare runs on the same tasks: means, and paired differences with intervals; seeds of a method count as one."""

    runs: RunFolders
    """Run folders, or patterns such as 'runs/maml-*'. All are tested on the test tasks of the first."""
    data: Data = None
    """Folder, archive, CSV, TSV or Parquet file with the classes of the test tasks; the first run's own by default."""
    ways: Count = None
    """Classes per task; the first run's own by default."""
    shots: Count = None
    """Support rows per class; the first run's own by default."""
    tasks: Count = None
    """Number of test tasks; 1000 by default, or 10 where a task is a whole training run."""
    seed: int = 2024
    """Seed of the test tasks."""
    baselines: bool = False
    """Add what learns nothing across tasks: nearest neighbour, or ridge regression."""
    label: Column = None
    """Column of labels of a table; the run's own by default."""
    inputs: Columns = None
    """Columns of inputs of a table, with commas between them; the run's own by default."""
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
        from quickstudy.cli.console import counting, show
        from quickstudy.reports.comparison import compare_runs, open_runs

        folders = expanded(self.runs)
        if len(folders) + self.baselines < 2:
            raise UsageError("compare needs two runs, or one run and --baselines", "compare")
        if self.plot is not None and self.plot.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--plot {self.plot}: the name must end in .png, .svg or .pdf", "compare")
        sizes: dict[str, Any] = {"ways": self.ways, "shots": self.shots}
        runs = open_runs(folders, self.checkpoint, self.device, data=self.data, columns=columns_of(self), **sizes)
        _remark(runs)
        tasks = _usual_tasks(runs[0]) if self.tasks is None else self.tasks
        found = compare_runs(runs, tasks, self.seed, self.baselines, counting)
        if self.json != Path("-"):
            _show_comparison(found)
        _write_result(self.json, found.to_json())
        if self.plot is not None:
            from quickstudy.reports import plots
            from quickstudy.storage.checkpoint import write_atomically

            drawn = plots.of_methods(list(found.methods.values()))
            write_atomically(self.plot, plots.file(drawn, self.plot.suffix[1:]))
        if self.json != Path("-"):
            show(*(f"Saved to {path}" for path in (self.json, self.plot) if path is not None))
        return 0


@dataclass
class Report:
    """Write one self-contained HTML page about a run, or about several side by side."""

    runs: RunFolders
    """Run folders, or patterns such as 'runs/maml-*'. All are tested on the test tasks of the first."""
    output: File = None
    """File for the page; RUN/report.html by default."""
    data: Data = None
    """Folder, archive, CSV, TSV or Parquet file with the classes of the test tasks; the first run's own by default."""
    ways: Count = None
    """Classes per task; the first run's own by default."""
    shots: Count = None
    """Support rows per class; the first run's own by default."""
    tasks: Annotated[int, arg(metavar="N")] = 600
    """Number of test tasks."""
    label: Column = None
    """Column of labels of a table; the run's own by default."""
    inputs: Columns = None
    """Columns of inputs of a table, with commas between them; the run's own by default."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    open: bool = False
    """Show the page in the web browser."""

    def __call__(self) -> int:
        """Write the page."""
        from quickstudy.cli.console import counting, show
        from quickstudy.reports import report
        from quickstudy.reports.comparison import compare_runs, open_runs

        folders = expanded(self.runs)
        if not folders:
            raise UsageError("report needs a run folder", "report")
        path = self.output or folders[0] / "report.html"
        given: dict[str, Any] = {"data": self.data, "columns": columns_of(self), "ways": self.ways, "shots": self.shots}
        runs = open_runs(folders, self.checkpoint, **given)
        _remark(runs)
        if len(runs) == 1:
            report.write_page(runs[0], path, self.tasks, counting)
        else:
            found = compare_runs(runs, self.tasks, baselines=True, meter=counting)
            report.write_page_of_several(found, runs, path, meter=counting)
        show(f"Report: {path}")
        if self.open:
            import webbrowser

            webbrowser.open(path.resolve().as_uri())
        return 0


def expanded(folders: Sequence[Path]) -> list[Path]:
    """Return run folders, in place of a pattern such as `runs/maml-*` those that it matches.

    Raises:
        UsageError: a pattern matches no run folder.
    """
    found = []
    for folder in folders:
        text = str(folder)
        if folder.exists() or not any(mark in text for mark in "*?["):
            found.append(folder)
            continue
        matches = sorted(Path(each) for each in glob.glob(text) if (Path(each) / "run.json").exists())
        if not matches:
            raise UsageError(f"no run folder matches '{text}'")
        found += [each for each in matches if each not in found]
    return found


def columns_of(command: Any) -> dict[str, Any]:
    """Return the columns of a table that a command names, as arguments of `datasets.read`."""
    found: dict[str, Any] = {} if command.label is None else {"label": command.label}
    if command.inputs is not None:
        found["inputs"] = [each.strip() for each in command.inputs.split(",")]
    return found


def _usual_tasks(run: OpenedRun) -> int:
    return 10 if run.learner.needs_problems and not run.recipe.name else run.recipe.test_tasks


def _remark(runs: Sequence[OpenedRun]) -> None:
    from quickstudy.cli.console import say

    for text in dict.fromkeys(remark for run in runs for remark in run.remarks):
        say(text)


def _write_result(path: Path | None, value: Any) -> None:
    from quickstudy.storage.checkpoint import write_json

    if path == Path("-"):
        print(json.dumps(value, indent=2))
    elif path is not None:
        write_json(path, value)


def _show_assessment(found: Assessment) -> None:
    from quickstudy.cli.console import show, table
    from quickstudy.reports.guarantee import OF_DRAWN_WEIGHTS

    report, run = found.report, found.run
    rows = [result_row(run.name, report)]
    rows += [result_row(f"  {name}", each) for name, each in found.baselines.items()]
    if found.seen is not None:
        rows.append(result_row("  on its training classes", found.seen))
    what = f"{report.learner} ({run.checkpoint} weights) on {tasks_in_words(report.tasks)}"
    columns = ["", report.entry.title, "+/- (95 %)", "tasks"]
    parts: list[Any] = [what, table(columns, rows, columns[1:])]
    for each in found.versus:
        parts.append(f"Paired difference to {each.second}: {each.mean:+.4f} +/- {each.interval:.4f}")
    if found.seen is not None:
        gap, interval = found.gap
        parts.append(f"Meta-overfitting gap (training classes minus new ones): {gap:+.4f} +/- {interval:.4f}")
    if found.bound is not None:
        parts.append(f"Error on new tasks, guaranteed (PAC-Bayes): {found.bound}")
        parts.append(OF_DRAWN_WEIGHTS)
    if report.calibration == report.calibration:
        parts.append(f"Expected calibration error: {report.calibration:.4f}")
    if found.curve:
        # About ten points of a long loop, with both ends.
        marks = {round(i * (len(found.curve) - 1) / 10) for i in range(11)}
        shown = "  ".join(f"{step}: {found.curve[step]:.4f}" for step in sorted(marks))
        parts.append(f"{report.entry.title} after inner steps  {shown}  (first {found.curve_tasks} tasks)")
    if len(report.presentations):
        parts += ["Accuracy at the 1st, 2nd, ... presentation of a class:", _presentations({run.name: report})]
    parts.append(f"Batch normalisation: {report.batch_norm}")
    show(*parts)


def result_row(name: str, report: Found) -> list[str]:
    """Return a line of a table: a name, the mean, half the width of its interval, and how many tasks counted."""
    return [name, f"{report.mean:.4f}", f"{report.interval:.4f}", str(len(report.counted))]


def _presentations(reports: Mapping[str, Any]) -> Any:
    """Return a table of accuracies by presentation, with one column per learner."""
    from quickstudy.cli.console import table

    curves = [report.presentation_curve for report in reports.values()]
    columns = ["presentation", *(each for name in reports for each in (name, "+/- (95 %)"))]
    rows = [
        [str(number), *(f"{value:.4f}" for pair in pairs for value in pair)]
        for number, pairs in enumerate(zip(*curves, strict=True), 1)
    ]
    return table(columns, rows, columns)


def _show_comparison(found: Comparison) -> None:
    from quickstudy.cli.console import show, table

    first = next(iter(found.reports.values()))
    several = any(len(method.reports) > 1 for method in found.methods.values())
    columns = ["learner", first.entry.title, "+/- (95 %)", *(["runs"] if several else []), "batch norm"]
    rows = []
    for method in found.methods.values():
        count = [str(len(method.reports))] if several else []
        rows.append([method.label, f"{method.mean:.4f}", f"{method.interval:.4f}", *count, method.first.batch_norm])
        if len(method.reports) > 1:
            rows += [[f"  {k}", f"{v.mean:.4f}", f"{v.interval:.4f}", "", ""] for k, v in method.reports.items()]
    title = f"{len(first.values)} tasks, the same for all: {tasks_in_words(first.tasks)}"
    called = {name: method.label for name, method in found.methods.items()}
    pairs = [
        [f"{called[d.first]} - {called[d.second]}", f"{d.mean:+.4f}", f"{d.interval:.4f}", _excludes_zero(d)]
        for d in found.differences
    ]
    paired = ["pair", "difference", "+/- (95 %)", "excludes zero"]
    parts: list[Any] = [title, table(columns, rows, columns[1:-1])]
    if several:
        parts.append(OVER_RUNS)
    if len(first.presentations):
        parts += ["Accuracy at the 1st, 2nd, ... presentation of a class:", _presentations(found.reports)]
    show(*parts, *(["Paired differences:", table(paired, pairs, paired[1:3])] if pairs else [ONE_METHOD]))


def _excludes_zero(difference: Difference) -> str:
    return "yes" if difference.significant else "no"
