"""Long inner loops: MAML with many steps, whose states are all kept, or every so many-th and the others made again."""

from functools import partial

from benchmarks.case import Case
from benchmarks.implementations import ours
from benchmarks.peers.problems import conv4_maml

CASE = Case(
    title="Long unrolls: MAML, Conv4-64, 28x28, 5-way 1-shot, second order",
    unit="outer step",
    problem=partial(conv4_maml, lr=0.01, queries=1),
    settings=({"tasks": 2, "steps": 25}, {"tasks": 2, "steps": 100}),
    quick=({"tasks": 2, "steps": 25},),
    implementations={
        "quickstudy, plain unroll": ours(checkpoint=0, compile=False),
        "quickstudy": ours(compile=False),
    },
    small=lambda setting: {"tasks": 2, "steps": 12},
)
