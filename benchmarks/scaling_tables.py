"""Tables and the plot of the study of scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.scaling_model import Cluster, Local, cluster_parts, workloads

matplotlib.use("Agg")

COUNTS = (1, 2, 4, 8)
GPUS = (1, 8, 64, 1000)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, numbers flush right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))


def seconds(value: float) -> str:
    """Return seconds for reading."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms" if value >= 1e-3 else f"{value * 1e6:.0f} us"


def rate(measured: dict[str, Any], name: str) -> float:
    """Return measured tasks a second."""
    return float(measured["meta_batch"] / measured["rounds"][name]["step"])


def local(measured: dict[str, Any]) -> str:
    """Return measured throughput beside the model's."""
    model, total = Local.fit(measured), measured["meta_batch"]
    cores = measured["environment"]["cores"]
    one = rate(measured, "one")
    own = measured["rounds"]["one"]
    rows = [[f"1, {cores} threads", seconds(own["step"]), "", f"{one:.1f}", "", "1.00", "", ""]]
    for n in COUNTS:
        found = measured["rounds"][str(n)]
        predicted = model.step(n, total)
        rows.append([
            f"{n}, 1 thread each", seconds(found["step"]), seconds(predicted), f"{rate(measured, str(n)):.1f}",
            f"{total / predicted:.1f}", f"{rate(measured, str(n)) / one:.2f}",
            f"{predicted / found['step'] - 1:+.0%}", seconds(found["exchange"]),
        ])  # fmt: skip
    columns = ["processes", "step", "model", "tasks/s", "model", "to one process", "model's error", "exchange, waits"]
    return table(columns, rows)


def evaluations(measured: dict[str, Any]) -> str:
    """Return measured validations beside the model's."""
    model, tasks = Local.fit(measured), measured["validation_tasks"]
    rows = [
        [str(n), seconds(measured["evaluations"][str(n)]), seconds(model.evaluation(n, tasks))] for n in COUNTS
    ]  # fmt: skip
    return table([f"processes, {tasks} validation tasks", "measured", "model"], rows)


def constants(measured: dict[str, Any]) -> str:
    """Return the model's constants."""
    model = Local.fit(measured)
    rows = [
        ["fixed time of a step", seconds(model.fixed)],
        ["a task, one thread", seconds(model.task)],
        ["... of which drawing", seconds(measured["draw"])],
        ["a validation task, one thread", seconds(model.validation)],
        ["contention: a process beside another, each on its core", f"{model.contention:.2f}"],
        ["spread of a process's compute time", f"{model.spread:.1%}"],
        ["latency of a hop (gloo, one machine)", seconds(model.latency)],
        ["bandwidth (gloo, one machine)", f"{model.bandwidth / 1e9:.2f} GB/s"],
        ["parameters; bytes of a message", f"{measured['facts']['parameters']:,.0f}; {model.bytes / 1e6:.2f} MB"],
        ["arithmetic of a task", f"{measured['facts']['flops'] / 1e9:.2f} GFLOP"],
        ["writing a checkpoint", seconds(measured["checkpoint"])],
    ]
    return table(["constant", "measured"], rows)


def predictions(measured: dict[str, Any], cluster: Cluster | None = None) -> str:
    """Return the table of predictions for GPUs."""
    cluster = cluster or Cluster()
    rows = []
    for load in workloads(measured):
        base = sum(cluster_parts(cluster, load, 1, load.tasks).values())
        single = load.total / sum(cluster_parts(cluster, load, 1, load.total).values())
        for n in GPUS[1:]:
            parts = cluster_parts(cluster, load, n, load.tasks)
            whole = sum(parts.values())
            # A task cannot be divided.
            share = -(-load.total // n)
            kept = load.total / sum(cluster_parts(cluster, load, n, share).values()) / single
            rows.append([
                load.name, str(n), *(seconds(parts[name]) for name in ("compute", "slowest", "exchange")),
                seconds(parts["validation"] + parts["checkpoint"]), f"{base / whole:.0%}", f"{kept:.0f}",
            ])  # fmt: skip
    columns = ["net", "GPUs", "compute", "slowest", "exchange", "validation, checkpoints", "efficiency"]
    return table([*columns, f"speed-up, {workloads(measured)[0].total} tasks in all"], rows)


def assumptions(cluster: Cluster | None = None) -> str:
    """Return the assumptions of the predictions."""
    cluster = cluster or Cluster()
    return ", ".join(f"{each.name.replace('_', ' ')} {getattr(cluster, each.name):g}" for each in fields(cluster))


def markdown(measured: dict[str, Any]) -> str:
    """Return the measured part of the page."""
    environment = measured["environment"]
    changed = " with uncommitted changes" if environment["changed"] else ""
    ratio = rate(measured, "2") / rate(measured, "one")
    parts = [
        f"Measured {environment['date'][:10]} on {environment['cpu']}, {environment['cores']} cores, at revision "
        f"{environment['revision']}{changed}, PyTorch {environment['versions']['torch']}; load at the start "
        f"{environment['load']}; {measured['minutes']} minutes. MAML with one inner step, Conv4 of 64 filters, 28x28, "
        f"5-way 1-shot with 5 queries, {measured['meta_batch']} tasks a step in all.",
        constants(measured),
        f"Two processes reach {ratio:.2f} of the throughput of one process that uses all cores.",
        local(measured),
        evaluations(measured),
        "![throughput](../images/scaling.png)",
        "### Predictions for GPUs",
        "**None of this was measured on GPUs.** Assumed (FLOP/s, seconds, bytes a second): " + assumptions() + ".",
        predictions(measured),
    ]
    return "\n\n".join(parts)


def draw(measured: dict[str, Any], path: Path) -> None:
    """Plot throughput against the number of processes, measured and predicted."""
    import matplotlib.pyplot as plt

    model, total = Local.fit(measured), measured["meta_batch"]
    cores = measured["environment"]["cores"]
    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    found = [rate(measured, str(n)) for n in COUNTS]
    spread = [[total / measured["rounds"][str(n)]["quartiles"][i] for n in COUNTS] for i in (1, 0)]
    bars = [[f - low for f, low in zip(found, spread[0], strict=True)]]
    bars += [[high - f for f, high in zip(found, spread[1], strict=True)]]
    axis.errorbar(COUNTS, found, bars, fmt="o-", label="measured (median, quartiles)")
    axis.plot(COUNTS, [total / model.step(n, total) for n in COUNTS], "s--", label="model")
    axis.axhline(rate(measured, "one"), color="grey", label=f"one process, {cores} threads")
    axis.set_xscale("log", base=2)
    axis.set_xticks(COUNTS, [str(n) for n in COUNTS])
    axis.set(xlabel=f"processes of one thread, on {cores} cores", ylabel="tasks a second", ylim=(0, None))
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
