"""MAML at miniImageNet's size: Conv4-32 on 84x84 colour images, the paper's net and steps."""

import quickstudy as qs
from benchmarks.case import Case, Context, Setting
from benchmarks.implementations import MAML_RIVALS, ours
from benchmarks.peers.problems import MAML, images, seeded


def problem(setting: Setting, context: Context) -> MAML:
    net = seeded(qs.nets.conv4(3, 32, outputs=5, size=84), context)
    episodes = images(context, setting["tasks"], ways=5, shots=1, queries=15, shape=(3, 84, 84))
    return MAML(net, episodes, lr=0.01, steps=setting["steps"])


CASE = Case(
    title="miniImageNet-sized MAML: Conv4-32, 84x84, 5-way 1-shot, 15 queries",
    unit="outer step",
    problem=problem,
    settings=({"tasks": 4, "steps": 5},),
    quick=({"tasks": 2, "steps": 1},),
    implementations={
        **MAML_RIVALS,
        "quickstudy": ours(),
        "quickstudy bf16": ours("bfloat16"),
    },
)
