"""Every pair of rows of a class as a one-shot task of its own.

Laenen & Bertinetto 2021, "On Episodes, Prototypical Networks, and Few-Shot Learning", shows that episodes waste
distances: of rows that are embedded anyway, only those between support and query are compared. Here every row i of a
task, of support and query alike, is asked for by every other row j of its class, against all other classes:

    loss = mean over (i, j) of -log  e^-d(i, j) / (e^-d(i, j) + sum over classes c of mean over k in c of e^-d(i, k))

with d as in the learner's logits. Departure: the paper's loss (neighbourhood components analysis, Goldberger et al.
2005) sums over j within the logarithm, so that one near row of a class is enough; each pair by itself is what one-shot
tasks ask. Batch statistics, if a net has any, are those of all rows of a task in training, and by the learner's policy
in the test; nets without them (group norm) see no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.core import Embeds, Examples, Learner, Task, masked_mean
from quickstudy.functional.classes import absent
from quickstudy.objectives.base import joined, objective
from quickstudy.registry import register


def refuses(learner: Learner) -> str | None:
    """Need embeddings that are compared."""
    if isinstance(learner, Embeds) and learner.compares_rows:
        return None
    return f"{type(learner).__name__} compares no embeddings; use the objective query_loss"


@register("objective", why="one-shot performance, from every distance")
@objective(refuses=refuses)
def all_pairs(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Return the mean loss over the ordered pairs of rows of one class, for a learner that compares embeddings."""
    assert isinstance(learner, Embeds)
    rows = joined(task.support, task.query)
    features, _ = learner.embed_support(rows)
    count = len(rows)
    compare = learner.on_features()
    # Each row as a class of its own: the logits are those of all rows against all rows.
    alone = Examples(features, torch.arange(count, device=features.device), rows.mask, count, check=False)
    logits = compare.predict(compare.adapt(alone), features)
    shown = rows.counted
    both = shown & shown.unsqueeze(1)
    same = (rows.labels == rows.labels.unsqueeze(1)) & both
    # The mean over a class's rows is their sum, each with the weight of one by their number.
    weighted = logits - same.sum(1).clamp_min(1).to(logits.dtype).log()
    others = weighted.masked_fill(same | ~both, absent(weighted.dtype)).logsumexp(1, keepdim=True)
    losses = torch.logaddexp(logits, others) - logits
    pairs = same & ~torch.eye(count, dtype=torch.bool, device=features.device)
    return masked_mean(losses.flatten(), pairs.flatten())
