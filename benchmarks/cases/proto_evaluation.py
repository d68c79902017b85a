"""Evaluation of a trained prototypical network on 1,000 test tasks."""

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
    images, labels = generate(2000)
    net = qs.nets.conv4()
    with_running_statistics(net)
    net = seeded(net, context)
    with torch.no_grad():
        net.train()(images[::5].to(context.device, context.dtype) / 255)
    return Evaluation(images, labels, episodes=setting["tasks"], at_once=0, net=net.eval())


CASE = Case(
    title="Prototypical network: Conv4-64, 28x28, evaluation of 5-way 1-shot tasks with 15 queries",
    unit="evaluation",
    problem=problem,
    settings=({"tasks": 1000},),
    quick=({"tasks": 100},),
    implementations={
        "easyfsl": Implementation("peers.easyfsl_evaluation"),
        "easyfsl, 2 worker processes": Implementation("peers.easyfsl_evaluation", {"workers": 2}),
        "quickstudy": Implementation("ours_evaluation", ours=True),
        # The library's default. Its accuracy is another one: batch norm's statistics come from the support.
        "quickstudy, support statistics": Implementation(
            "ours_evaluation", {"policy": "support"}, ours=True, exact=False, checks="nothing"
        ),
    },
    small=lambda setting: {"tasks": 20},
)
