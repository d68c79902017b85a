"""MAML on images of Omniglot's size: Conv4-64, whose convolutions are most of the work."""

from functools import partial

from benchmarks.case import Case, Implementation
from benchmarks.implementations import MAML_RIVALS, ours
from benchmarks.peers.problems import conv4_maml

CASE = Case(
    title="Omniglot MAML: Conv4-64, 28x28, 5-way 1-shot, 15 queries",
    unit="outer step",
    problem=partial(conv4_maml, lr=0.4, queries=15),
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
