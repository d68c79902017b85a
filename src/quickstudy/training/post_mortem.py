"""Why did training stop? The tasks whose loss or gradient is not finite are found, saved and named."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.errors import NonFiniteError
from quickstudy.outer.base import Outer
from quickstudy.problem import Optimizee
from quickstudy.storage.run_folder import RunFolder
from quickstudy.tasks.base import TaskDistribution


def stop_non_finite(
    step: int,
    outer: Outer,
    meta_loss: MetaLoss,
    stream: TaskDistribution,
    batch: Task,
    keys: Tensor,
    losses: Tensor,
    folder: RunFolder | None,
) -> NoReturn:
    """Save the tasks that a step failed on, and the weights before it; all processes do so together.

    Args:
        step: number of the step.
        outer: whose estimate was not finite.
        meta_loss: the learner and its objective.
        stream: what tasks are drawn from.
        batch: T tasks of this process.
        keys: (T,).
        losses: (ranks * T,) of the tasks of all processes.
        folder: where to save them; None saves nothing.

    Raises:
        NonFiniteError: always.
    """
    lasting, ranks = outer.tasks_in_progress(batch), meta_loss.ranks
    bad = (~torch.isfinite(losses)).nonzero().squeeze(1).tolist()
    if not bad and lasting is None:
        # Every loss is finite, so some gradient is not.
        own = [ranks.rank * len(keys) + i for i in _without_gradient(outer, meta_loss, batch, keys)]
        bad = ranks.gather(torch.tensor(own, dtype=torch.long)).tolist()
    where = "no run_dir was given, so they were not saved"
    if folder is not None:
        name = f"nonfinite-{step}.safetensors"
        where = f"they are saved with the weights in {folder.path / name}"
        # Drawn anew, as they may be another process's.
        culprits = stream.draw(torch.tensor(bad or [0]) + step * len(losses))
        if lasting is not None and ranks.size == 1:
            culprits = batching.select(lasting, torch.tensor(bad or [0]))
        content = {
            "step": step,
            "tasks": {
                part: {"inputs": _tensors(rows.inputs), "labels": rows.labels, "mask": rows.mask}
                for part, rows in (("support", culprits.support), ("query", culprits.query))
            },
            "learner": dict(meta_loss.learner.state_dict()),
        }
        folder.save(name, content)
    ranks.wait()
    raise NonFiniteError(
        f"step {step}: the loss or meta-gradient of tasks {bad} of the meta-batch is NaN or infinite; "
        f"{where}. Checkpoints hold the last good weights. Try a smaller inner or outer lr, or outer clip=10"
    )


def _without_gradient(outer: Outer, meta_loss: MetaLoss, batch: Task, keys: Tensor) -> list[int]:
    """Return which of T tasks have no finite gradient, looking at them one by one."""
    alone, found = meta_loss.alone(), []
    for i in range(len(keys)):
        meta_loss.learner.zero_grad(set_to_none=True)
        outer.estimate(alone, batching.select(batch, slice(i, i + 1)), keys[i : i + 1])
        grads = [p.grad for p in meta_loss.learner.parameters() if p.grad is not None]
        if not bool(torch.isfinite(torch.nn.utils.get_total_norm(grads))):
            found.append(i)
    return found


def _tensors(inputs: Any) -> Any:
    """Return inputs without the net that a problem's inputs come with."""
    return inputs.inputs if isinstance(inputs, Optimizee) else inputs
