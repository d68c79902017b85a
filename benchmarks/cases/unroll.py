"""Long inner loops: MAML with many steps, whose states are all kept, or every so many-th and the others made again."""

import quickstudy as qs
from benchmarks.case import Case, Context, Setting
from benchmarks.implementations import ours
from benchmarks.peers.problems import MAML, images, seeded


def problem(setting: Setting, context: Context) -> MAML:
    net = seeded(qs.nets.conv4(outputs=5), context)
    episodes = images(context, setting["tasks"], ways=5, shots=1, queries=1, shape=(1, 28, 28))
    return MAML(net, episodes, lr=0.01, steps=setting["steps"])


CASE = Case(
    title="Long unrolls: MAML, Conv4-64, 28x28, 5-way 1-shot, second order",
    unit="outer step",
    problem=problem,
    settings=({"tasks": 2, "steps": 25}, {"tasks": 2, "steps": 100}),
    quick=({"tasks": 2, "steps": 25},),
    implementations={
        "quickstudy, plain unroll": ours(checkpoint=0, compile=False),
        "quickstudy": ours(compile=False),
    },
    small=lambda setting: {"tasks": 2, "steps": 12},
)
