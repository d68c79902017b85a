"""MAML on images of Omniglot's size: Conv4-64, whose convolutions are most of the work."""

import quickstudy as qs
from benchmarks.case import Case, Context, Implementation, Setting
from benchmarks.implementations import MAML_RIVALS, ours
from benchmarks.peers.problems import MAML, images, seeded


def problem(setting: Setting, context: Context) -> MAML:
    net = seeded(qs.nets.conv4(outputs=5), context)
    episodes = images(context, setting["tasks"], ways=5, shots=1, queries=15, shape=(1, 28, 28))
    return MAML(net, episodes, lr=0.4, steps=setting["steps"], first_order=setting["order"] == "first order")


CASE = Case(
    title="Omniglot MAML: Conv4-64, 28x28, 5-way 1-shot, 15 queries",
    unit="outer step",
    problem=problem,
    settings=(
        *({"tasks": tasks, "steps": steps, "order": "second order"} for steps in (1, 5) for tasks in (16, 32)),
        *({"tasks": 16, "steps": steps, "order": "first order"} for steps in (1, 5)),
    ),
    quick=({"tasks": 16, "steps": 1, "order": "second order"},),
    implementations={
        **MAML_RIVALS,
        "naive vmap": Implementation(
            "peers.naive_vmap",
            unless=lambda s: "its memory and time grow with both" if s["tasks"] > 16 or s["steps"] > 1 else None,
        ),
        "quickstudy": ours(),
        "quickstudy bf16": ours("bfloat16"),
    },
)
