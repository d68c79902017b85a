"""Growth: time and memory of a MAML outer step against inner steps, tasks, ways and parameters, one at a time."""

from functools import partial

from benchmarks.case import Case, Implementation
from benchmarks.implementations import ours
from benchmarks.peers.problems import conv4_maml

BASE = {"steps": 1, "tasks": 4, "ways": 5, "filters": 32}
AXES = {
    "steps": (1, 2, 4, 8, 16),
    "tasks": (1, 4, 16, 32),
    "ways": (2, 5, 10, 20),
    "filters": (8, 16, 32, 64, 128),
}


CASE = Case(
    title="Growth: MAML, Conv4, 28x28, 1 shot, 5 queries, second order",
    unit="outer step",
    problem=partial(conv4_maml, lr=0.1, queries=5),
    settings=tuple({"axis": axis, **BASE, axis: value} for axis, values in AXES.items() for value in values),
    quick=tuple({"axis": "steps", **BASE, "filters": 8, "steps": steps} for steps in (1, 4)),
    implementations={"higher": Implementation("peers.higher_maml"), "quickstudy": ours()},
    small=lambda setting: {"axis": "steps", "steps": 2, "tasks": 2, "ways": 5, "filters": 8},
    curves=True,
)
