"""The demonstration: meta-train on some writing systems, then learn characters of others from one example each."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from quickstudy.core import Learner
from quickstudy.datasets.base import ClassData
from quickstudy.evaluation import Report, compare, interval95
from quickstudy.learners import LogisticRegressionOnFeatures, NearestNeighbour
from quickstudy.recipes.baselines import GlyphsBaselinePlusPlus, GlyphsFineTune
from quickstudy.recipes.few_shot import FewShotRecipe
from quickstudy.recipes.metric import GlyphsProtoNet
from quickstudy.recipes.optimization import GlyphsMAML
from quickstudy.storage import checkpoint as ckpt

META_LEARNED = ("ProtoNet", "MAML")
LABELS = {
    "ProtoNet": "Prototypical network",
    "MAML": "MAML",
    "FineTune": "Fine-tuning",
    "BaselinePlusPlus": "Baseline++",
    "LogisticRegression": "Logistic regression",
    "NearestNeighbour": "Nearest neighbour",
}


def recipes(quick: bool) -> dict[str, FewShotRecipe]:
    """Return the recipes to train: meta-learners, and baselines without meta-learning on the same data."""
    if quick:
        chosen: dict[str, FewShotRecipe] = {
            "ProtoNet": GlyphsProtoNet(hidden=QUICK_FILTERS, steps=QUICK_STEPS),
            # Its steps are cheaper, so it takes more of them, for at least as long.
            "FineTune": GlyphsFineTune(hidden=QUICK_FILTERS, steps=4 * QUICK_STEPS),
        }
    else:
        chosen = {
            "ProtoNet": GlyphsProtoNet(steps=600),
            "MAML": GlyphsMAML(steps=1500),
            "FineTune": GlyphsFineTune(steps=600),
            "BaselinePlusPlus": GlyphsBaselinePlusPlus(steps=600),
        }
    for recipe in chosen.values():
        recipe.validate_every = max(1, recipe.steps // (2 if quick else 4))
    return chosen


QUICK_STEPS, QUICK_FILTERS, QUICK_TASKS = 150, 16, 300
"""What `demo --quick` takes: outer steps of each training, filters in each block of the net, and test tasks."""


class Stages:
    """How long each part of the demonstration took."""

    def __init__(self) -> None:
        self.begun = self.last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def done(self, name: str) -> None:
        """Note that a part has ended."""
        now = time.monotonic()
        self.seconds[name], self.last = now - self.last, now

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        return f"Time: {self.last - self.begun:.0f} s in all ({parts})"


def main(run_dir: Path, quick: bool = False) -> int:
    """Train, evaluate on scripts never seen, write a report; return an exit code.

    Args:
        run_dir: folder for the runs and the report. An interrupted demonstration continues where it stopped.
        quick: a small net, one meta-learner beside two baselines, few steps and tasks: a minute in place of several.
    """
    console, stages = Console(), Stages()
    console.print("[bold]Learning to learn characters[/bold]: rendering letters from the fonts inside matplotlib ...")
    chosen = recipes(quick)
    plan = chosen["ProtoNet"].plan()
    train, validation, test = chosen["ProtoNet"].splits()
    for part, data in (("meta-training", train), ("validation", validation), ("test", test)):
        console.print(f"  {part:14} {len(data.classes):5} characters of {_scripts(data)}")
    stages.done("data")
    learners: dict[str, Learner] = {}
    for name, recipe in chosen.items():
        console.print(f"[bold]{LABELS[name]}[/bold]: {_what(name)} ({recipe.steps} steps)")
        learners[name] = recipe.train(run_dir / name.lower()).learner
        stages.done(LABELS[name])
    # The same pretrained net serves both baselines.
    logistic = LogisticRegressionOnFeatures(chosen["FineTune"].net(), len(train.classes))
    logistic.load_state_dict(learners["FineTune"].state_dict())
    learners["LogisticRegression"] = logistic
    learners["NearestNeighbour"] = NearestNeighbour()
    tasks = QUICK_TASKS if quick else 1000
    console.print(f"Evaluating all of them on the same {tasks} five-way one-shot tasks of the test scripts ...")
    reports, _ = compare(learners, plan.test, tasks, curve_steps=0)
    stages.done("evaluation")
    _print(console, reports)
    page = run_dir / "report.html"
    from quickstudy.reports.report import write_comparison

    write_comparison(
        {LABELS[name]: report for name, report in reports.items()},
        {LABELS[name]: run_dir / name.lower() for name in chosen},
        page,
        title="Characters of unseen scripts from one example each",
    )
    stages.done("report")
    ckpt.write_json(run_dir / "results.json", {name: report.to_json() for name, report in reports.items()})
    console.print(f"The report, with episodes, curves and calibration: [bold]{page.resolve()}[/bold]")
    console.print(f"The numbers: {(run_dir / 'results.json').resolve()}")
    console.print(str(stages))
    return 0


def _scripts(data: ClassData) -> str:
    return ", ".join(sorted({value.title() for value in data.attributes["script"]}))


def _what(name: str) -> str:
    if name in META_LEARNED:
        return "meta-training on tasks made of the training scripts"
    return "ordinary training on all characters of the training scripts at once"


def _print(console: Console, reports: dict[str, Report]) -> None:
    meta = {name: reports[name] for name in META_LEARNED if name in reports}
    best = max(meta, key=lambda name: meta[name].mean)
    table = Table(title=f"5-way 1-shot, unseen scripts, {len(reports[best].values)} tasks, 95 % intervals")
    for column in ("learner", "meta-learned", "accuracy", "behind by"):
        table.add_column(column, no_wrap=True)
    for name, report in sorted(reports.items(), key=lambda item: -item[1].mean):
        gap = reports[best].values - report.values
        table.add_row(
            LABELS[name],
            "yes" if name in META_LEARNED else "no",
            f"{report.mean:.3f} ± {report.interval:.3f}",
            "" if name == best else f"{gap.mean():+.3f} ± {interval95(gap):.3f}",
        )
    console.print(table)
    others = {name: report for name, report in reports.items() if name not in META_LEARNED}
    rival = max(others, key=lambda name: others[name].mean)
    wrong = {name: f"{100 * (1 - reports[name].mean):.1f} %" for name in (best, rival, "NearestNeighbour")}
    console.print(
        f"The last column says how far each is behind {LABELS[best]}, paired task by task. Batch statistics are those "
        "of the support, where there are any."
    )
    raw = "" if rival == "NearestNeighbour" else f", nearest neighbour on raw pixels {wrong['NearestNeighbour']}"
    console.print(
        f"{LABELS[best]} gets {wrong[best]} of the answers wrong. {LABELS[rival]}, the best without meta-learning, "
        f"gets {wrong[rival]} wrong{raw}."
    )
