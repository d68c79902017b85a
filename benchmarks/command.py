"""Arguments, the run over all cases, and what it leaves behind."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import machine
from benchmarks.case import Context, load, names
from benchmarks.harness import CaseRun, DisagreementError, Plan
from benchmarks.plot import draw
from benchmarks.table import show

FORMAT = 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Quickstudy and other libraries at the same work: agreement first, then time and memory.",
    )
    found.add_argument("cases", nargs="*", metavar="CASE", help="cases to run; all by default")
    found.add_argument("--list", action="store_true", help="list cases and implementations, and end")
    found.add_argument("--quick", action="store_true", help="few settings and short rounds: under four minutes")
    found.add_argument("--only", action="append", metavar="NAME", help="run only this implementation (repeatable)")
    found.add_argument("--repeats", type=int, help="rounds of each setting (5; 3 with --quick; fewer for slow steps)")
    found.add_argument("--threads", type=int, help="cores to use; all by default")
    found.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    found.add_argument("--dtype", default="float32", choices=("float32", "float64"), help="of what is timed")
    found.add_argument("--learn2learn", default=os.environ.get("LEARN2LEARN"), metavar="PATH", help="a checkout of it")
    found.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder for results.json and plots")
    return found


def list_cases(console: Console) -> None:
    """Print the cases and who takes part."""
    for name in names():
        case = load(name)
        console.print(f"[bold]{name}[/bold]  {case.title}; {len(case.settings)} settings")
        console.print(f"    {', '.join(case.implementations)}")


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return how long to measure."""
    if arguments.quick:
        return Plan(arguments.repeats or 3, round_seconds=0.1, budget=10.0, least=min(arguments.repeats or 2, 2))
    return Plan(arguments.repeats or Plan.repeats, least=min(arguments.repeats or Plan.least, Plan.least))


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status: 1 if implementations disagreed or failed."""
    arguments = parser().parse_args(argv)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if arguments.list:
        list_cases(console)
        return 0
    unknown = sorted(set(arguments.cases) - set(names()))
    if unknown:
        console.print(f"there is no case {', '.join(unknown)}; cases: {', '.join(names())}")
        return 2
    if arguments.device == "cuda" and not torch.cuda.is_available():
        console.print("PyTorch finds no CUDA device here; leave out --device cuda")
        return 2
    started = time.perf_counter()
    threads = machine.use_threads(arguments.threads)
    content: dict[str, Any] = {
        "format": FORMAT,
        "environment": machine.describe(threads, arguments.device),
        "arguments": {"quick": arguments.quick, "dtype": arguments.dtype, "cases": arguments.cases or names()},
        "rates": machine.rates(arguments.device),
        "rows": [],
        "errors": [],
    }
    if content["environment"]["load"] > 0.5:
        console.print(f"[yellow]others keep {content['environment']['load']} cores busy: times will be off")
    context = Context(getattr(torch, arguments.dtype), arguments.device, arguments.learn2learn)
    plan = plan_of(arguments)
    for name in arguments.cases or names():
        run = CaseRun(name, context, plan, arguments.only, arguments.quick, lambda text: console.print(text))
        for setting in run.case.quick if arguments.quick else run.case.settings:
            try:
                content["rows"] += run.run(setting)
            except DisagreementError as error:
                content["errors"].append(f"{name}: {error}")
                console.print(str(error), style="red", markup=False)
            content["minutes"] = round((time.perf_counter() - started) / 60, 1)
            save(content, arguments.output)  # after each setting: a long run may be cut short
    show(content, console)
    for path in draw(content, arguments.output):
        console.print(f"plot: {path}")
    console.print(f"results: {arguments.output / 'results.json'} ({content['minutes']} minutes)")
    return 1 if content["errors"] or any("failed" in row for row in content["rows"]) else 0


def save(content: dict[str, Any], folder: Path) -> None:
    """Write the results."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "results.json.new"
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(folder / "results.json")


def read(path: Path) -> dict[str, Any]:
    """Return the results of a file, or end with a message if it holds none."""
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        sys.exit(f"{path} holds no results of this version of the benchmark; run `make bench` again")
    return content
