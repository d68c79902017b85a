"""Training steps of prototypical networks on images of Omniglot's size (Snell et al. 2017, section 3.1)."""

import quickstudy as qs
from benchmarks.case import Case, Context, Setting
from benchmarks.implementations import PROTO_RIVALS, ours
from benchmarks.peers.problems import Proto, images, seeded


def problem(setting: Setting, context: Context) -> Proto:
    shape = (1, 28, 28)
    episodes = images(context, setting["tasks"], setting["ways"], setting["shots"], setting["queries"], shape)
    return Proto(seeded(qs.nets.conv4(), context), episodes)


CASE = Case(
    title="Prototypical network: Conv4-64, 28x28, training",
    unit="outer step",
    problem=problem,
    settings=(
        {"tasks": 1, "ways": 60, "shots": 5, "queries": 5},
        {"tasks": 16, "ways": 5, "shots": 1, "queries": 15},
    ),
    quick=({"tasks": 1, "ways": 60, "shots": 5, "queries": 5},),
    implementations={
        **PROTO_RIVALS,
        "quickstudy": ours(),
        "quickstudy bf16": ours("bfloat16"),
    },
)
