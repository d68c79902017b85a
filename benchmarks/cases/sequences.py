"""Learners that read sequences, at the sizes of Santoro et al. 2016: 20x20 pixels, 50 steps, 16 sequences."""

import torch

import quickstudy as qs
from benchmarks.case import Case, Context, Implementation, Setting
from benchmarks.peers.sequences import Sequences

WAYS, PIXELS = 5, 400
LEARNERS = {
    "MANN": lambda: qs.learners.MANN(None, WAYS, features=PIXELS),
    "LSTM": lambda: qs.learners.RecurrentLearner(None, WAYS, features=PIXELS),
}


def problem(setting: Setting, context: Context) -> Sequences:
    random = torch.Generator().manual_seed(1)
    tasks, rows = setting["tasks"], setting["rows"]
    labels = torch.rand(tasks, rows, generator=random).argsort(1) % WAYS
    centres = torch.rand(tasks, WAYS, PIXELS, generator=random)
    inputs = centres[torch.arange(tasks).unsqueeze(1), labels]
    inputs = (inputs + torch.rand(inputs.shape, generator=random)) / 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        learner = LEARNERS[setting["cell"]]()
    return Sequences(
        learner.to(context.device, context.dtype),
        inputs.to(context.device, context.dtype),
        labels.to(context.device),
        WAYS,
    )


CASE = Case(
    title="Sequences: 400 pixels, 5 ways, controller of 200, memory of 128 slots",
    unit="outer step",
    problem=problem,
    settings=tuple({"cell": cell, "tasks": 16, "rows": 50} for cell in LEARNERS),
    quick=({"cell": "MANN", "tasks": 16, "rows": 50},),
    implementations={
        "plain PyTorch": Implementation("peers.sequences"),
        "quickstudy": Implementation("ours_sequences", ours=True),
    },
)
