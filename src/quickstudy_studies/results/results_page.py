"""The page of results and its ledger: tables of rows that were measured, by subject, and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from quickstudy_studies.results.omniglot_rows import METHODS, SETTINGS
from quickstudy_studies.results.results_tables import (
    Found,
    failures,
    figures,
    folds,
    grid,
    making,
    presentations,
    shortfalls,
)

SHORT = """\
Means over runs and test tasks; ± is the half-width of the 95 % interval for new tasks and new runs, of one run for new
tasks alone. Published figures stand in brackets. Rows marked `--quick` train for minutes on a CPU. Every row, with how
it was made and where it departs from its paper, stands in the [ledger](results/ledger.md)."""

HEAD = """\
Every figure here was written by `quickstudy reproduce NAME --seeds RUNS`, with the row's name and number of runs, by
the version and commit that is named. Means are over runs and test tasks; ± is the half-width of the 95 % interval for
new tasks and new runs. **Of one run it is for new tasks alone**, and another run may lie further off. Few-shot rows of
one setting share their test tasks; of sequences some take the first ones alone. The published figure stands beside it
where there is one. Of accuracy more is better, of a squared error (mse) less.

Notes in letters say for each row what its settings and weights were chosen on, which is never what is reported, and
where it departs from its paper. Rows with `--quick` train for minutes on a CPU. Outer steps x tasks stand beside those
of the paper where it or its authors' code says so; how many minutes theirs took is not known. Minutes are of one core,
the median of the runs, on machines that may have done other work meanwhile. The gap is the accuracy on new tasks of
training classes, of the drawings that were trained on, less that on new classes; policies of batch norm are explained
in [choosing](../guide/choosing.md).

Omniglot here is a copy with 16,833 of the 19,280 background drawings, 12 to 20 a class, reduced to 32x32 and then
28x28. With all drawings other tasks are drawn, and figures differ a little. Few-shot tests are of Vinyals' 172
validation classes and their turned copies ('Vinyals-val'), where papers report on other classes, mostly 423: "better"
and "worse" say where a figure lies, and half a point may be the classes. Unless a note says otherwise, few-shot rows
meta-train with five queries a class and an outer rate that falls along a cosine, Reptile's along a line."""

FEW_SHOT = {f"{method.recipe}{method.suffix}-{setting}": None for method in METHODS for setting in SETTINGS}
SUBJECTS: dict[str, tuple[str, str, Callable[[Sequence[Found]], str] | None]] = {
    "The Omniglot challenge": (
        r"omniglot-challenge.*",
        "Twenty characters of one alphabet, drawn once each, are recognised in another hand; people are wrong"
        " in 4.5 % (Lake et al. 2019). Each fold holds out other alphabets; [challenge](../studies/challenge.md)"
        " shows each of them, and what small1 and small2 are. Published errors are of ten other alphabets,"
        " with 30 alphabets to train on / with five: Bayesian program learning 3.3 / 4.2 %, RCN 7.3, Siamese"
        " ConvNet 8.0, ConvNet 13.5 / 23.2, Prototypical network 13.7 / 30.1.",
        folds,
    ),
    "Sequences": (
        r".*-presentation-\d+",
        "Drawings of five classes come one by one, each class ten times; each is to be named before its label is shown."
        " MANN, LSTM, DNC and SNAIL read on; a Prototypical network and MAML, meta-trained on few-shot tasks, adapt"
        " anew to all that came before, in fewer sequences, as one is 50 adaptations. Before its first label a class"
        " cannot be known, and training leaves that drawing out, so the first column is no better than chance. The LSTM"
        " of minutes does not look yet, it counts: each class comes ten times, and it names the one seen least so far,"
        " which is right more often at second presentations than at later ones. A row is of one presentation;"
        " `quickstudy reproduce sequences` draws all of them; [memory](../studies/memory.md) trains longer.",
        presentations,
    ),
    "Across domains": (
        r".+-to-.+",
        "5-way 1-shot, meta-trained on one kind of drawings, tested on another. The kind is new, the letters are not"
        " all: scripts that both have (Hebrew, Georgian, Cyrillic, Arabic letters) are in training or validation of one"
        " and in the test of the other. The learner `drawings` of [pretrained](../guide/pretrained.md) leaves those"
        " out.",
        None,
    ),
    "Double MNIST": (r"double-mnist-.*", "5-way 1-shot, where a class is a pair of digits.", None),
    "Sinusoids": (
        r"sinusoid-.*",
        "Squared errors. Papers differ in how they draw and count: Li et al. 2017 measure MAML after one step at 1.13,"
        " Finn et al. 2017 at 0.67, so what Meta-SGD's figure says is the order of the two.",
        None,
    ),
    "Two modes": (
        r"two-modes-.*",
        "Sinusoids and lines; squared errors, of which 0.09 is noise. Longer trainings stand in"
        " [modes](../studies/modes.md).",
        None,
    ),
}
"""Of each section but few-shot Omniglot: names of its rows, what it is about, and its small table."""
SEQUENCES = "Sequences"
FEW = ("Omniglot, few shots", "Omniglot, few shots, in minutes on a CPU")
"""Titles of few-shot Omniglot: as long as the tables say, and with `--quick`."""
NONE = "No row has been measured yet."


def page(rows: Iterable[Found]) -> str:
    """Return the small tables alone."""
    text = [SHORT]
    few_shot, subjects, _ = _parted(rows)
    for title, own in few_shot.items():
        text += [f"## {title}", grid(own)] if own else []
    for title, own in subjects.items():
        small = SUBJECTS[title][2]
        text += [f"## {title}", small(own)] if small and own else []
        text += ["![Accuracy by presentation of a class](images/sequences.png)"] if title == SEQUENCES and own else []
    return "\n\n".join(filter(None, text if len(text) > 1 else [*text, NONE]))


def ledger(rows: Iterable[Found]) -> str:
    """Return every row that was measured, and how it was made."""
    text = [HEAD]
    few_shot, subjects, others = _parted(rows)
    for quick, (title, own) in enumerate(few_shot.items()):
        if own:
            command = "quickstudy reproduce NAME-SETTING" + " --quick" * quick
            told = f"`{command} --seeds RUNS`, with names, settings and runs as below."
            text += [f"## {title}", told, figures(own), shortfalls(own), failures(own), making(own)]
    for title, own in {**subjects, "Others": others}.items():
        about = SUBJECTS[title][1] if title in SUBJECTS else ""
        text += [f"## {title}", about, figures(own), shortfalls(own), failures(own), making(own)] if own else []
    return "\n\n".join(filter(None, text if len(text) > 1 else [*text, NONE]))


def _parted(rows: Iterable[Found]) -> tuple[dict[str, list[Found]], dict[str, list[Found]], list[Found]]:
    """Return the rows of few-shot Omniglot by title, those of each subject, and all others."""
    known = {(row["row"], row["quick"]): row for row in rows}
    few_shot = {
        title: [known.pop((name, quick)) for name in FEW_SHOT if (name, quick) in known]
        for quick, title in zip((False, True), FEW, strict=True)
    }
    subjects = {}
    for title, (pattern, _, _) in SUBJECTS.items():
        names = sorted(key for key in known if re.fullmatch(pattern, key[0]))
        subjects[title] = [known.pop(key) for key in names]
    return few_shot, subjects, [known[key] for key in sorted(known)]
