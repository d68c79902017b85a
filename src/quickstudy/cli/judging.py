"""`quickstudy evaluate`, `compare` and `report`: judge runs on tasks of classes that they never saw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from quickstudy.cli.options import Checkpoint, Count, File, RunFolder, RunFolders
from quickstudy.errors import UsageError
from quickstudy.reports.words import tasks_in_words

if TYPE_CHECKING:
    from quickstudy.evaluation import Report as Found
    from quickstudy.reports.assessment import Assessment, Comparison


@dataclass
class Evaluate:
    """Evaluate a run on tasks of classes that it never saw, and write evaluation.json into the run folder."""

    run: RunFolder
    """Run folder."""
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
        changes = {"ways": self.ways, "shots": self.shots, "queries": self.queries}
        device = self.device if ranks.size == 1 else str(ranks.device)
        run = open_run(self.run, self.checkpoint, device, **changes)
        tasks = run.recipe.test_tasks if self.tasks is None else self.tasks
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
    """Compare runs on the same tasks: means, and all paired differences with intervals."""

    runs: RunFolders
    """Run folders. All are tested on the test tasks of the first."""
    ways: Count = None
    """Classes per task; the first run's own by default."""
    shots: Count = None
    """Support rows per class; the first run's own by default."""
    tasks: Count = None
    """Number of test tasks; 1000 by default, or 10 where a task is a whole training run."""
    seed: int = 2024
    """Seed of the test tasks."""
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
        from quickstudy.cli.console import counting, show
        from quickstudy.reports.assessment import compare_runs, open_runs

        if len(self.runs) + self.baselines < 2:
            raise UsageError("compare needs two runs, or one run and --baselines", "compare")
        if self.plot is not None and self.plot.suffix not in (".png", ".svg", ".pdf"):
            raise UsageError(f"--plot {self.plot}: the name must end in .png, .svg or .pdf", "compare")
        runs = open_runs(self.runs, self.checkpoint, self.device, ways=self.ways, shots=self.shots)
        tasks = runs[0].recipe.test_tasks if self.tasks is None else self.tasks
        found = compare_runs(runs, tasks, self.seed, self.baselines, counting)
        if self.json != Path("-"):
            _show_comparison(found)
        _write_result(self.json, found.to_json())
        if self.plot is not None:
            from quickstudy.reports import plots
            from quickstudy.storage.checkpoint import write_atomically

            write_atomically(self.plot, plots.file(plots.bars(found.reports), self.plot.suffix[1:]))
        if self.json != Path("-"):
            show(*(f"Saved to {path}" for path in (self.json, self.plot) if path is not None))
        return 0


@dataclass
class Report:
    """Write one self-contained HTML page about a run, or about several side by side."""

    runs: RunFolders
    """Run folders. All are tested on the test tasks of the first."""
    output: File = None
    """File for the page; RUN/report.html by default."""
    tasks: Annotated[int, arg(metavar="N")] = 600
    """Number of test tasks."""
    checkpoint: Checkpoint = "best"
    """Weights: 'best' by validation, or 'last'."""
    open: bool = False
    """Show the page in the web browser."""

    def __call__(self) -> int:
        """Write the page."""
        from quickstudy.cli.console import counting, show
        from quickstudy.reports import report

        if not self.runs:
            raise UsageError("report needs a run folder", "report")
        path = self.output or self.runs[0] / "report.html"
        if len(self.runs) == 1:
            report.write_report(self.runs[0], path, self.tasks, self.checkpoint, counting)
        else:
            from quickstudy.reports.assessment import compare_runs, open_runs

            runs = open_runs(self.runs, self.checkpoint)
            reports = compare_runs(runs, self.tasks, baselines=True, meter=counting).reports
            folders = {run.name: run.folder for run in runs}
            report.write_comparison(reports, folders, path, checkpoint=self.checkpoint, meter=counting)
        show(f"Report: {path}")
        if self.open:
            import webbrowser

            webbrowser.open(path.resolve().as_uri())
        return 0


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
    columns = ["learner", first.entry.title, "+/- (95 %)", "batch norm"]
    rows = [[k, f"{v.mean:.4f}", f"{v.interval:.4f}", v.batch_norm] for k, v in found.reports.items()]
    title = f"{len(first.values)} of the same tasks: {tasks_in_words(first.tasks)}"
    pairs = [
        [f"{d.first} - {d.second}", f"{d.mean:+.4f}", f"{d.interval:.4f}", "yes" if d.significant else "no"]
        for d in found.differences
    ]
    paired = ["pair", "difference", "+/- (95 %)", "excludes zero"]
    parts: list[Any] = [title, table(columns, rows, columns[1:3])]
    if len(first.presentations):
        parts += ["Accuracy at the 1st, 2nd, ... presentation of a class:", _presentations(found.reports)]
    show(*parts, "Paired differences:", table(paired, pairs, paired[1:3]))
