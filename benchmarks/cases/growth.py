"""Growth: time and memory of a MAML outer step against inner steps, tasks, ways and parameters, one at a time."""

import quickstudy as qs
from benchmarks.case import Case, Context, Implementation, Setting
from benchmarks.implementations import ours
from benchmarks.peers.problems import MAML, images, seeded

BASE = {"steps": 1, "tasks": 4, "ways": 5, "filters": 32}
AXES = {
    "steps": (1, 2, 4, 8, 16),
    "tasks": (1, 4, 16, 32),
    "ways": (2, 5, 10, 20),
    "filters": (8, 16, 32, 64, 128),
}


def problem(setting: Setting, context: Context) -> MAML:
    net = seeded(qs.nets.conv4(hidden=setting["filters"], outputs=setting["ways"]), context)
    episodes = images(context, setting["tasks"], setting["ways"], shots=1, queries=5, shape=(1, 28, 28))
    return MAML(net, episodes, lr=0.1, steps=setting["steps"])


CASE = Case(
    title="Growth: MAML, Conv4, 28x28, 1 shot, 5 queries, second order",
    unit="outer step",
    problem=problem,
    settings=tuple({"axis": axis, **BASE, axis: value} for axis, values in AXES.items() for value in values),
    quick=tuple({"axis": "steps", **BASE, "filters": 8, "steps": steps} for steps in (1, 4)),
    implementations={"higher": Implementation("peers.higher_maml"), "quickstudy": ours()},
    small=lambda setting: {"axis": "steps", "steps": 2, "tasks": 2, "ways": 5, "filters": 8},
    curves=True,
)
