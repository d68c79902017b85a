"""How training scales with the number of processes: measured on this machine, and a model's predictions.

python -m benchmarks.scaling                  measure (under six minutes on two cores); writes runs/scaling
python -m benchmarks.scaling --quick          the same with fewer repeats, to see that it works
python -m benchmarks.scaling --predict        print the model's tables from the results that are kept, measuring nothing
python -m benchmarks.scaling --page [FILE]    take results over (runs/scaling/results.json), and write the page
python -m benchmarks.scaling --check          fail if the page is not that of the results that are kept
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.scaling_model import Local
from benchmarks.scaling_tables import draw, markdown

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "runs" / "scaling"
KEPT = ROOT / "benchmarks" / "results" / "scaling" / "cpu.json"
PAGE, IMAGE = ROOT / "docs" / "guide" / "scaling.md", ROOT / "docs" / "images" / "scaling.png"
COUNTS = (1, 2, 4, 8)
META_BATCH = 16
PAUSE = 0.1
"""Seconds between turns: thread pools may spin for a moment after their work."""


class Group:
    """Processes that train together, as torchrun would start them; all wait while others work."""

    def __init__(self, size: int, threads: int = 1, meta_batch: int = META_BATCH) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.size, share = size, meta_batch // size
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "benchmarks.scaling_worker", str(threads), str(share)],
                env={
                    **os.environ, "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "RANK": str(rank),
                    "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none",
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": str(threads),
                    "MKL_NUM_THREADS": str(threads),
                },
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for rank in range(size)
        ]  # fmt: skip

    def ask(self, *command: Any) -> list[Any]:
        """Give all a command; return their answers."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
        answers = []
        for process in self.processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"a process of {self.size} ended; its message is above")
            answers.append(json.loads(line))
        time.sleep(PAUSE)
        return answers

    def median(self, *command: Any) -> float:
        """Return the median seconds of repeated work, without the first, of the slowest process."""
        return max(statistics.median(seconds[1:]) for seconds in self.ask(*command))

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def measure(quick: bool) -> dict[str, Any]:
    """Return all that is measured: the constants of the model, and what it is to predict."""
    started = time.perf_counter()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment = {**machine.describe(cores, "cpu"), "cores": cores}
    rounds, steps, repeats = (2, 2, 3) if quick else (7, 3, 7)
    groups = {"one": Group(1, cores), **{str(n): Group(n) for n in COUNTS}}
    try:
        for name, group in groups.items():
            say(f"starting and warming up: {name}")
            group.ask("steps", 2)
        say("constants of the model")
        one, two = groups["1"], groups["2"]
        found: dict[str, Any] = {"environment": environment, "meta_batch": META_BATCH, "facts": one.ask("facts")[0]}
        tasks = [META_BATCH // n for n in (1, 2, 4, 8, 16)]
        found["backward"] = {m: one.median("backward", m, repeats) for m in tasks}
        found["draw"] = one.median("draw", META_BATCH, repeats) / META_BATCH
        half = META_BATCH // 2
        beside = two.ask("backward", half, 3 * repeats)
        found["contention"] = max(1.0, statistics.median(beside[0][1:] + beside[1][1:]) / found["backward"][half])
        found["spread"] = statistics.mean(relative_spread(seconds[1:]) for seconds in beside)
        sizes = [64, 4096, 32768, 262144, 1048576]
        found["sums"] = {size: two.median("sums", size, 10 * repeats) for size in sizes}
        found["validation_tasks"] = 16 if quick else 64
        alone = one.median("validate", found["validation_tasks"], 3)
        found["validation"] = alone / found["validation_tasks"]
        found["checkpoint"] = one.median("checkpoint", repeats)
        found["evaluations"] = {n: groups[str(n)].median("validate", found["validation_tasks"], 3) for n in COUNTS}
        turns: dict[str, list[Any]] = {name: [] for name in groups}
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            for name, group in groups.items():
                turns[name].append(group.ask("steps", steps))
        found["rounds"] = {name: summary(answers) for name, answers in turns.items()}
    finally:
        for group in groups.values():
            group.close()
    alone_step = found["rounds"]["1"]
    rest = alone_step["step"] - alone_step["compute"] - META_BATCH * found["draw"]
    found["rest"] = max(0.0, rest)
    found["minutes"] = round((time.perf_counter() - started) / 60, 1)
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]  # keys of dicts as a file has them


def summary(answers: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Return medians over rounds: of the slowest process's step, and of a process's computing and exchanging."""
    steps = [max(each["step"] for each in turn) for turn in answers]
    quartiles = statistics.quantiles(steps, n=4, method="inclusive")
    parts = {
        part: statistics.median(seconds for turn in answers for each in turn for seconds in each[part])
        for part in ("compute", "exchange")
    }
    return {"step": statistics.median(steps), "quartiles": [quartiles[0], quartiles[2]], "steps": steps, **parts}


def relative_spread(seconds: list[float]) -> float:
    """Return the standard deviation, relative to the median, from the quartiles: one hiccup does not count."""
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return (high - low) / 1.349 / middle


def say(text: str) -> None:
    """Say what is going on."""
    print(text, file=sys.stderr, flush=True)


def page(text: str, measured: dict[str, Any] | None) -> str:
    """Return the page with its measured part replaced."""
    part = "None are kept yet." if measured is None else markdown(measured)
    return re.sub(
        r"(<!-- results -->\n).*?(\n<!-- /results -->)", lambda found: found[1] + part + found[2], text, flags=re.S
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few repeats")
    parser.add_argument("--predict", action="store_true", help="print tables, measure nothing")
    parser.add_argument("--page", nargs="?", const=OUTPUT / "results.json", type=Path, help="write the page")
    parser.add_argument("--check", action="store_true", help="fail if the page is not current")
    arguments = parser.parse_args(argv)
    if arguments.page is not None:
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(arguments.page, KEPT)
        draw(json.loads(KEPT.read_text()), IMAGE)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else None
    if arguments.page is not None or arguments.check:
        old = PAGE.read_text()
        new = page(old, kept)
        if arguments.page is not None:
            PAGE.write_text(new)
        return int(new != old) if arguments.check else 0
    if arguments.predict:
        if kept is None:
            say("no results are kept: measure, then --page")
            return 1
        print(markdown(kept))
        return 0
    measured = measure(arguments.quick)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "results.json").write_text(json.dumps(measured, indent=1) + "\n")
    draw(measured, OUTPUT / "scaling.png")
    print(markdown(measured))
    say(f"{measured['minutes']} minutes; results: {OUTPUT / 'results.json'}; model: {Local.fit(measured)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
