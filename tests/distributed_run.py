"""A small run for `test_distributed.py`: torchrun ... distributed_run.py FOLDER TASKS."""

import sys
from pathlib import Path

import torch

import quickstudy as qs
from conftest import make_blobs


def main(folder: Path, tasks: int) -> None:
    train, held = make_blobs().split(fractions=(0.7, 0.3))
    learner = qs.learners.MAML(qs.nets.mlp(4, (6,), 3), lr=0.1)
    with torch.no_grad():
        # Numbers that any process would choose: ranks must start alike.
        for parameter in learner.parameters():
            parameter.copy_(torch.linspace(-0.5, 0.6, parameter.numel()).reshape(parameter.shape))
    qs.meta_train(
        learner,
        qs.tasks.FewShot(train, ways=3, shots=(1, 2), queries=2),
        qs.outer.Gradient(0.1, "sgd", clip=1.0),
        qs.tasks.FewShot(held, ways=3, queries=2),
        steps=6,
        meta_batch=tasks,
        run_dir=folder,
        validate_every=3,
        validation_tasks=5,
        log_every=1,
        device="cpu",
        progress=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
