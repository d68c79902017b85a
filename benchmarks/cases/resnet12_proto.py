"""A deeper backbone: ResNet-12 on 84x84 colour images, prototypical training."""

import quickstudy as qs
from benchmarks.case import Case, Context, Setting
from benchmarks.implementations import PROTO_RIVALS, ours
from benchmarks.peers.problems import Proto, images, seeded


def problem(setting: Setting, context: Context) -> Proto:
    episodes = images(context, setting["tasks"], ways=5, shots=1, queries=setting["queries"], shape=(3, 84, 84))
    return Proto(seeded(qs.nets.resnet12(), context), episodes)


CASE = Case(
    title="Prototypical network: ResNet-12, 84x84, 5-way 1-shot, training",
    unit="outer step",
    problem=problem,
    settings=({"tasks": 1, "queries": 3},),
    quick=({"tasks": 1, "queries": 1},),
    implementations={**PROTO_RIVALS, "quickstudy": ours(), "quickstudy bf16": ours("bfloat16")},
)
