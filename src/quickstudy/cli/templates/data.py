"""clouds, a data set in one file. Change what it reads, then try it:

python clouds.py                                                            look at it
quickstudy train protonet --import clouds.py --data clouds --steps 200
quickstudy train maml --import clouds.py --data clouds --steps 200
"""

from __future__ import annotations

import torch

import quickstudy as qs
from quickstudy.registry import register


@register("dataset")
def clouds(classes: int = 30, each: int = 20, width: int = 8, seed: int = 0) -> qs.datasets.ClassData:
    """Return points (M, width) around a centre for each class; replace them by what your files hold.

    Args:
        classes: number of classes.
        each: points per class.
        width: numbers per point.
        seed: seed of centres and points.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(each)
    centres = torch.randn(classes, width, generator=generator)
    inputs = centres[labels] + 0.5 * torch.randn(len(labels), width, generator=generator)
    return qs.datasets.ClassData(inputs, labels, tuple(f"cloud {i}" for i in range(classes)), name="clouds")


if __name__ == "__main__":
    print(clouds())
