"""Sinusoid regression with MAML (Finn et al. 2017, section 5.1): a net so small that overheads decide."""

import quickstudy as qs
from benchmarks.case import Case, Context, Implementation, Setting
from benchmarks.implementations import LIMIT, MAML_RIVALS, ours
from benchmarks.peers.problems import MAML, Episodes, seeded


def problem(setting: Setting, context: Context) -> MAML:
    net = seeded(qs.nets.mlp(1, (40, 40), outputs=1), context)
    task = qs.tasks.Sinusoid(shots=10, queries=10).batch(0, setting["tasks"])
    support, query = (
        (rows.inputs.to(context.device, context.dtype), rows.labels.to(context.device, context.dtype))
        for rows in (task.support, task.query)
    )
    return MAML(net, Episodes(support, query), lr=0.01, steps=setting["steps"])


CASE = Case(
    title="Sine MAML: MLP 40-40, 10 shots, second order",
    unit="outer step",
    problem=problem,
    settings=tuple({"tasks": 25, "steps": steps} for steps in (1, 5, 10)),
    quick=({"tasks": 25, "steps": 5},),
    implementations={
        **MAML_RIVALS,
        "naive vmap": Implementation("peers.naive_vmap"),
        **LIMIT,
        "quickstudy": ours(),
        "quickstudy compiled": ours(compile=True),
        "quickstudy compiled, meta_train": ours(via="meta_train", compile=True),
    },
)
