"""One-way few-shot segmentation: which pixels belong to the class of the support (Shaban et al. 2017, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from quickstudy.core import Examples
from quickstudy.datasets.base import ClassData
from quickstudy.errors import InputError
from quickstudy.registry import register
from quickstudy.tasks.data.few_shot import FewShot
from quickstudy.tasks.rows import Augment, examples


@register("tasks")
class Segmentation(FewShot):
    """Tasks of one class: K support images with masks, query images to be segmented.

    Labels are (rows, height, width), 1 inside the class and 0 outside, so a net needs outputs (rows, 2, height, width).
    The metric is the foreground's intersection over union, over all query pixels of a task.

    Args:
        data: examples with `targets`, such as `datasets.pascal5i`.
        shots: support images.
        queries: query images.
        seed: the stream's seed.
        augment: changes inputs only, so it must keep pixels where they are.

    Raises:
        InputError: data without masks, or too few examples.
    """

    metric = "iou"

    def __init__(
        self,
        data: ClassData,
        shots: int = 1,
        queries: int = 1,
        seed: int = 0,
        augment: Augment | None = None,
    ) -> None:
        if data.targets is None:
            raise InputError(f"{data.name} has no masks (ClassData.targets), so nothing can be segmented; use FewShot")
        super().__init__(data, 1, shots, queries, seed, augment=augment)

    def _examples(self, rows: Tensor, part: int, padded: bool) -> Examples:
        flat = rows.reshape(len(rows), -1)
        found = examples(self.data, flat, torch.zeros_like(flat), 2, padded, self.augment, part)
        assert self.data.targets is not None
        masks = self.data.targets[flat.clamp_min(0)].long()
        return Examples(found.inputs, masks, found.mask, 2, check=False)
