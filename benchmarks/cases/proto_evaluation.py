"""Evaluation of a trained prototypical network on 1,000 test tasks.

Data of the size of Omniglot's usual test classes (Vinyals et al. 2016): 423, and four times as many with rotations.
Where batch norm is frozen an image has one embedding, so how often it is drawn decides what can be saved.
"""

import torch
from torch import nn

import quickstudy as qs
from benchmarks.case import Case, Context, Implementation, Setting
from benchmarks.peers.images import Evaluation, generate
from benchmarks.peers.problems import seeded


def with_running_statistics(module: nn.Module) -> None:
    """Give each batch norm running statistics, as nets that easyfsl's users train have."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(child.num_features, momentum=None))
        else:
            with_running_statistics(child)


def problem(setting: Setting, context: Context) -> Evaluation:
    images, labels = generate(setting["images"])
    net = qs.nets.conv4()
    with_running_statistics(net)
    net = seeded(net, context)
    with torch.no_grad():
        net.train()(images[:400].to(context.device, context.dtype) / 255)
    return Evaluation(images, labels, episodes=setting["tasks"], at_once=0, net=net.eval())


CASE = Case(
    title="Prototypical network: Conv4-64, 28x28, evaluation of 5-way 1-shot tasks with 15 queries",
    unit="evaluation",
    problem=problem,
    settings=({"tasks": 1000, "images": 423 * 20}, {"tasks": 1000, "images": 4 * 423 * 20}),
    quick=({"tasks": 100, "images": 2000},),
    implementations={
        "easyfsl": Implementation("peers.easyfsl_evaluation"),
        "easyfsl, 2 worker processes": Implementation(
            "peers.easyfsl_evaluation",
            {"workers": 2},
            unless=lambda s: "as with fewer images" if s["images"] > 10_000 else None,
        ),
        "quickstudy": Implementation("ours_evaluation", ours=True),
        # The library's default. Its accuracy is another one: batch norm's statistics come from the support.
        "quickstudy, support statistics": Implementation(
            "ours_evaluation", {"policy": "support"}, ours=True, exact=False, checks="nothing"
        ),
    },
    small=lambda setting: {**setting, "tasks": 20},
)
