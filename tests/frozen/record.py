"""Measures what must not change, and writes it into the files beside this one.

The tests of this folder compare the library with those files, so they are written anew only on purpose, where a
change is meant: `python tests/frozen/record.py PART ...`, with the parts at the end of this file.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.cli import main as command

HERE = Path(__file__).parent
RUNS, BANKS = HERE / "run", HERE / "bank"
SAME = {"compile": False, "device": "cpu", "validation_tasks": 2, "validate_every": 1_000_000}
STEADY = {"optimizer": "sgd", "lr": 0.01, "halve": "stride"}
"""What keeps rounding errors small in a net with batch normalisation: Adam divides gradients that are 0 but for them by
their size, and of equal pixels they say which one is the largest."""
RECIPES: dict[str, dict[str, Any]] = {
    "beliefs-bmaml": {"meta_batch": 4},
    "copy-dnc": {"meta_batch": 2, "length": 4, "controller": 16, "slots": 8, "width": 8},
    "digits-darts": {"hidden": 4, "batch": 10},
    "digits-distillation": {"meta_batch": 1, "train_rows": 100, "hidden": 16},
    "glyphs-protonet": {"meta_batch": 2, "hidden": 8, "train_ways": 5, **STEADY},
    "glyphs-reptile": {"meta_batch": 1, "hidden": 8, "inner_steps": 2, "train_shots": 2, "norm": "group"},
    "glyphs-stream-metanet": {"meta_batch": 2, "hidden": 8, "features": 8, "width": 8, "presentations": 3},
    "gp-np": {"meta_batch": 4, "width": 16, "queries": 20},
    "half-spaces-pac-bayes": {"meta_batch": 8, "tasks": 64, "rows": 50},
    "learned-optimizer": {"meta_batch": 2, "fewest": 4, "most": 8, "length": 4, "batch": 8},
    "pendulum-simulator": {"meta_batch": 2, "trajectories": 4},
    "sinusoid-maml": {"meta_batch": 5},
    "sinusoid-maml-es": {"meta_batch": 2, "population": 16},
    "sinusoid-maml-pg": {"meta_batch": 4},
    "sinusoid-ml3": {"meta_batch": 2, "inner_steps": 5, "compile": "record"},
}
"""Recipes as unlike each other as possible in what is learned, how, why and from where; each takes seconds."""
FOLDERS: dict[str, dict[str, Any]] = {
    "sinusoid-maml": {"meta_batch": 5, "validate_every": 10, "steps": 20},
    "glyphs-protonet": {"meta_batch": 2, "hidden": 8, "train_ways": 5, "validate_every": 10, "steps": 20, **STEADY},
    "digits-noisy-labels": {"meta_batch": 1, "hidden": 16, "train_rows": 100, "inner_steps": 15, "steps": 20},
}
"""Recipes of the run folders that are kept: two with validation, and one whose outer optimiser has a state."""
LATER = 10
"""Steps that a kept run goes on for."""
TASKS = 20
"""Tasks of a kept bank, and of an evaluation."""


def machine() -> dict[str, Any]:
    """Return what the last bits of a number depend on."""
    path = Path("/proc/cpuinfo")
    facts = dict(re.findall(r"^([a-z ]+?)\s*:\s*(.*)$", path.read_text(), re.MULTILINE)) if path.exists() else {}
    return {
        "torch": str(torch.__version__),
        "cpu": {name: facts.get(name, "unknown") for name in ("model name", "cpu family", "model")},
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_available(),
        "matplotlib": matplotlib.__version__,
    }


# Weights -----------------------------------------------------------------------------------------------------------


def tensors(learner: qs.Learner) -> dict[str, Tensor]:
    """Return all parameters and buffers, in order of their names."""
    return dict(sorted([*learner.named_parameters(), *learner.named_buffers()]))


def measured(learner: qs.Learner) -> dict[str, Any]:
    """Return the hash of all parameters and buffers, and of each the sum and the norm."""
    found, digest, figures = tensors(learner), hashlib.sha256(), {}
    for name, value in found.items():
        value = value.detach().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
        exact = value.double()
        figures[name] = [float(exact.sum()), float(exact.norm())]
    return {"sha256": digest.hexdigest(), "tensors": figures}


def recipe(name: str, **options: Any) -> Any:
    """Return a recipe with these options and those that all have here."""
    return qs.registry.lookup("recipe", name).build(**{**SAME, **options})


def trained(name: str) -> dict[str, Any]:
    """Train a recipe for 30 steps; return its weights measured, and how its run folder describes it."""
    with tempfile.TemporaryDirectory() as folder:
        learner = recipe(name, steps=30, **RECIPES[name]).train(folder, progress=False).learner
        run = json.loads((Path(folder) / "run.json").read_text())
    kept = {part: run[part] for part in ("learner", "outer", "objective", "tasks", "validation", "settings")}
    for part in ("tasks", "validation"):
        if kept[part] is not None:
            kept[part].pop("fingerprint")
    return {**measured(learner), "described": kept}


def write_weights() -> None:
    """Write `weights_after_30_steps.json`."""
    _write("weights_after_30_steps.json", {"machine": machine(), "recipes": {name: trained(name) for name in RECIPES}})


# Run folders and banks ---------------------------------------------------------------------------------------------


def support(name: str) -> tuple[qs.Examples, Tensor]:
    """Return one task's rows and inputs to predict, which depend on nothing but arithmetic."""
    if name == "sinusoid-maml":
        x = torch.linspace(-4, 4, 5).unsqueeze(1)
        return qs.Examples(x, 2 * torch.sin(x + 0.5)), torch.linspace(-5, 5, 7).unsqueeze(1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 28), torch.linspace(-1, 1, 28), indexing="ij")
    drawings = [x.abs() < 0.2, y.abs() < 0.2, (x - y).abs() < 0.2, ((x**2 + y**2) - 0.4).abs() < 0.2, x * y > 0.1]
    inputs = torch.stack([each.float() for each in drawings]).unsqueeze(1)
    turned = torch.cat([inputs.roll((2, 1), (2, 3)), inputs.flip(3)])
    return qs.Examples(inputs, torch.arange(5)), turned


def predictions(learner: qs.Learner, name: str) -> list[list[float]]:
    """Return what a learner predicts of fixed inputs after a fixed support."""
    rows, inputs = support(name)
    found: list[list[float]] = learner.predict(learner.adapt(rows), inputs).detach().tolist()
    return found


def tasks(name: str) -> Any:
    """Return the tasks that a kept bank is of."""
    if name == "sinusoid-maml":
        return qs.tasks.Sinusoid(5, 20, seed=7)
    _, _, test = qs.datasets.glyphs().split(by="script", seed=0)
    return qs.tasks.FewShot(test, ways=5, shots=1, queries=5, seed=7)


def fingerprint() -> str:
    """Return the fingerprint of the tasks on glyphs, which other fonts or vector instructions draw otherwise."""
    found: str = tasks("glyphs-protonet").fingerprint
    return found


def evaluated(report: qs.Report) -> dict[str, Any]:
    """Return the figures of an evaluation."""
    return {"metric": report.metric, "mean": report.mean, "values": report.values.tolist(), "curve": report.curve}


def of_command(folder: Path) -> dict[str, Any]:
    """Return the figures of `quickstudy evaluate`."""
    text = printed("evaluate", str(folder), "--tasks", str(TASKS), "--device", "cpu", "--json", "-")
    found = json.loads(text)
    return {name: found[name] for name in ("metric", "mean", "interval", "tasks", "overfitting_gap")}


def write_runs() -> None:
    """Write the run folders, the banks, and `runs.json`."""
    facts: dict[str, Any] = {"machine": machine(), "glyphs": fingerprint()}
    shutil.rmtree(RUNS, ignore_errors=True)
    for name, options in FOLDERS.items():
        folder = RUNS / name
        recipe(name, **options).train(folder, progress=False)
        description = json.loads((folder / "run.json").read_text())
        description["environment"]["platform"] = "Linux"
        (folder / "run.json").write_text(json.dumps(description, indent=2) + "\n")
        found = facts[name] = {"weights": measured(qs.load(folder))}
        if name in JUDGED:
            BANKS.mkdir(exist_ok=True)
            bank = tasks(name).bank(TASKS)
            bank.save(BANKS / f"{name}.safetensors")
            found["predictions"] = predictions(qs.load(folder), name)
            found["evaluation"] = evaluated(qs.evaluate(qs.load(folder), bank, TASKS))
        with tempfile.TemporaryDirectory() as temporary:
            copy = Path(temporary) / name
            shutil.copytree(folder, copy)
            if name in JUDGED:
                found["command"] = of_command(copy)
            longer = {**options, "steps": options["steps"] + LATER}
            recipe(name, **longer).train(copy, progress=False)
            found["later"] = measured(qs.load(copy, checkpoint="last"))
    facts["pretrained"] = {name: predictions(qs.pretrained(name), name) for name in SHIPPED}
    _write("runs.json", facts)


JUDGED = ("sinusoid-maml", "glyphs-protonet")
"""Those whose predictions and figures are kept, too."""
SHIPPED = ("drawings", "drawings-maml", "omniglot-maml", "omniglot-protonet")
"""Learners that come with the library."""


# Names -------------------------------------------------------------------------------------------------------------

KINDS = ("learner", "net", "rule", "differentiation", "outer", "objective", "tasks", "recipe")
LISTED = ("learners", "nets", "rules", "outer", "objectives", "tasks", "datasets", "recipes")
MODULES = ("datasets", "functional", "learners", "nets", "objectives", "optim", "outer", "recipes", "rules", "tasks")


def listed(kind: str) -> list[str]:
    """Return the names in the first column of `quickstudy list KIND`."""
    _, *found = re.findall(r"^  (\w\S*)", printed("list", kind), re.MULTILINE)  # the first is the column's own
    return found


def exports(module: ModuleType) -> list[str]:
    """Return what a module exports, without modules."""
    return sorted(name for name in module.__all__ if not isinstance(getattr(module, name), ModuleType))


def names() -> dict[str, Any]:
    """Return all registered names of each kind, those of comparisons and rows, and those that modules export."""
    exported = {name: importlib.import_module(f"quickstudy.{name}") for name in MODULES}
    return {
        "listed": {kind: listed(kind) for kind in LISTED},
        "registered": {kind: list(qs.registry.table(kind)) for kind in KINDS},
        "reproduced": list(qs.registry.table("reproduction")),
        "exported": {
            "quickstudy": sorted(qs.__all__),
            **{name: exports(module) for name, module in exported.items() if hasattr(module, "__all__")},
        },
    }


def write_names() -> None:
    """Write `names.json`."""
    _write("names.json", names())


# The command line --------------------------------------------------------------------------------------------------


def printed(*args: str) -> str:
    """Return what the command prints to standard output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = command(args)
    assert code == 0, f"quickstudy {' '.join(args)}: exit code {code}"
    return out.getvalue()


def options(*args: str) -> list[str]:
    """Return the options and positional arguments that the help of a command shows."""
    found: set[str] = set()
    for line in printed(*args, "--help").splitlines():
        # Explanations are indented; what stands at the left edge, of a box or of none, is an argument's name.
        shown = re.match(r"[│ ] (\S.*?)(?:\s{2,}|\s*│|\s*$)", line)
        if shown is not None:
            names = re.findall(r"(?<!\S)--?[a-z][a-z-]*", shown[1])
            found.update(names or [shown[1]])
    return sorted(found)


def commands() -> list[tuple[str, ...]]:
    """Return every subcommand, and `train` with every recipe."""
    listed = printed("--help").split("commands:\n")[1].split("\n\n")[0].splitlines()
    subcommands = [line.split()[0] for line in listed]
    assert "train" in subcommands
    others = [(name,) for name in subcommands if name != "train"]
    return [*others, *(("train", name) for name in qs.registry.table("recipe"))]


def write_options() -> None:
    """Write `options.json`."""
    _write("options.json", {" ".join(each): options(*each) for each in commands()})


# The demonstration -------------------------------------------------------------------------------------------------


def demonstrated(folder: Path, quick: bool) -> str:
    """Return what the demonstration prints."""
    return printed("demo", "--output", str(folder), *["--quick"] * quick)


def figures(text: str) -> dict[str, list[float]]:
    """Return the figures of a demonstration's table by learner: accuracy, interval, and both of the difference."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        if len(cells) == 6:
            _, name, _, accuracy, gap, _ = cells
            found[name] = [float(number) for number in re.findall(r"[-+]?\d+\.\d+", f"{accuracy} {gap}")]
    return found


def table(text: str) -> list[str]:
    """Return the lines of a demonstration's table, with its title."""
    lines = [line.rstrip() for line in text.splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith("┏")) - 1
    last = next(i for i, line in enumerate(lines) if line.startswith("└"))
    return lines[first : last + 1]


def write_demo(quick: bool = True) -> None:
    """Write one part of `demo.json`; the other stays."""
    path = HERE / "demo.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        text = demonstrated(Path(folder), quick)
    _write("demo.json", {**old, "quick" if quick else "full": {"machine": machine(), "table": table(text)}})


def write_full_demo() -> None:
    """Write the figures of the whole demonstration, which takes many minutes."""
    write_demo(quick=False)


def _write(name: str, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    # Lists of numbers or names in one line each.
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: "[" + re.sub(r",\s+", ", ", found[1]) + "]", text)
    assert json.loads(text) == json.loads(json.dumps(value))
    (HERE / name).write_text(text + "\n")


PARTS: dict[str, Callable[[], None]] = {
    "weights": write_weights,
    "runs": write_runs,
    "names": write_names,
    "options": write_options,
    "demo": write_demo,
    "full-demo": write_full_demo,
}

if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    torch.set_num_threads(1)
    asked = sys.argv[1:]
    if not asked or not set(asked) <= set(PARTS):
        sys.exit(f"usage: record.py PART ...; parts: {', '.join(PARTS)}")
    for part in asked:
        PARTS[part]()
