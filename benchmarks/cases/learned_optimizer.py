"""Training a learned optimiser (Andrychowicz et al. 2016): an unroll of 20 steps on quadratics, or on small nets."""

import torch
from torch import nn

from benchmarks.case import Case, Context, Implementation, Setting
from benchmarks.peers.learned_optimizer import Unroll
from quickstudy.functional import random
from quickstudy.rules import LSTMRule

PIXELS, HIDDEN, WAYS, ROWS, BATCH = 16, 4, 10, 64, 32


def problem(setting: Setting, context: Context) -> Unroll:
    tasks, steps, where = setting["tasks"], setting["steps"], (context.device, context.dtype)
    keys = random.fold_in(random.key(1), torch.arange(tasks))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rule = LSTMRule().to(*where)
        if setting["problem"] == "quadratics":
            net = nn.Sequential(nn.Linear(10, 1, bias=False))
            support = query = torch.randn(tasks, 10, 10).to(*where), torch.randn(tasks, 10, 1).to(*where)
            picked = torch.arange(10).expand(tasks, steps, 10)
        else:
            net = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.Sigmoid(), nn.Linear(HIDDEN, WAYS))
            labels = torch.arange(ROWS + BATCH) % WAYS
            centres = torch.rand(tasks, WAYS, PIXELS)
            pixels = ((centres[:, labels] + torch.rand(tasks, len(labels), PIXELS)) / 2).to(*where)
            labels = labels.expand(tasks, -1).to(context.device)
            support, query = (pixels[:, :ROWS], labels[:, :ROWS]), (pixels[:, ROWS:], labels[:, ROWS:])
            # As `L2O` takes them: a random order of the rows, again and again.
            order = random.permutation(keys, ROWS)
            picked = order[:, torch.arange(steps * BATCH) % ROWS].unflatten(1, (steps, BATCH))
        start = {name: (0.3 * torch.randn(tasks, *p.shape)).to(*where) for name, p in net.named_parameters()}
    net, keys, picked = net.to(*where), keys.to(context.device), picked.to(context.device)
    return Unroll(rule, net, start, support, query, keys, picked)


CASE = Case(
    title="Learned optimiser: LSTM of 2 layers of 20 for each coordinate, first order",
    unit="outer step",
    problem=problem,
    settings=tuple({"problem": name, "tasks": 256, "steps": 20} for name in ("quadratics", "nets")),
    quick=({"problem": "quadratics", "tasks": 256, "steps": 20},),
    implementations={
        "plain loop": Implementation("peers.learned_optimizer", {"how": "loop"}),
        "batched by hand": Implementation("peers.learned_optimizer", {"how": "batched"}),
        "JAX jit": Implementation("peers.jax_learned_optimizer", compiles=True),
        "quickstudy": Implementation("ours_learned_optimizer", ours=True),
        "quickstudy compiled": Implementation(
            "ours_learned_optimizer", {"compile": True}, ours=True, compiles=True, quick=False
        ),
    },
    small=lambda setting: {**setting, "tasks": 2, "steps": 3},
)
