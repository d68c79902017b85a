"""A small run in a process of its own, for `test_interruption.py` to kill: python interrupted_run.py FOLDER."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import quickstudy as qs
from tests.helpers.blobs import make_blobs

STEPS = 150


class Net(nn.Sequential):
    """Draws dropout from torch's generator, which has to be restored too."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 3))


def main(folder: Path) -> None:
    qs.training.loop.CHECKPOINT_SECONDS = 0.03
    train, held = make_blobs().split(fractions=(0.7, 0.3))
    torch.manual_seed(1)
    learner = qs.learners.Reptile(Net(), lr=0.05, steps=4, batch=4, test_steps=2)
    step = qs.training.loop.Trainer._step

    def tell(trainer: Any) -> float:
        (folder.parent / "started").touch()
        return step(trainer)

    qs.training.loop.Trainer._step = tell
    qs.meta_train(
        learner,
        qs.tasks.FewShot(train, ways=3, shots=(2, 3), queries=2),
        qs.outer.Reptile(0.3, "adam", schedule="cosine"),
        qs.tasks.FewShot(held, ways=3, shots=2, queries=3),
        steps=STEPS,
        meta_batch=3,
        run_dir=folder,
        validate_every=10,
        validation_tasks=20,
        log_every=1,
        progress=False,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
