"""MAML at miniImageNet's size: Conv4-32 on 84x84 colour images, the paper's net and steps."""

from functools import partial

from benchmarks.case import Case
from benchmarks.implementations import MAML_RIVALS, ours
from benchmarks.peers.problems import conv4_maml

CASE = Case(
    title="miniImageNet-sized MAML: Conv4-32, 84x84, 5-way 1-shot, 15 queries",
    unit="outer step",
    problem=partial(conv4_maml, lr=0.01, queries=15, channels=3, hidden=32, size=84),
    settings=({"tasks": 4, "steps": 5},),
    quick=({"tasks": 2, "steps": 1},),
    implementations={
        **MAML_RIVALS,
        "quickstudy": ours(),
        "quickstudy bf16": ours("bfloat16"),
    },
)
