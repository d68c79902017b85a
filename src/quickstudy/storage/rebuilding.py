"""How large would an object be that a file describes? It is built without memory first, and compared with its weights.

A description of a few bytes may ask for any amount of memory; a file of weights cannot, as it holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from quickstudy.errors import CheckpointError
from quickstudy.registry import build

Item = TypeVar("Item", bound=nn.Module)
TIMES, SPARE = 64, 10**7
"""How many numbers a constructor may handle: so many for each of the weights, and so many besides."""
CALLS, SPARE_CALLS = 100, 10_000
"""How many calls of PyTorch a constructor may make: so many for each tensor of weights, and so many besides."""


class Bounded(TorchFunctionMode):
    """Counts calls of PyTorch and the numbers that they give, and stops a constructor that makes too many.

    Args:
        numbers: most numbers.
        calls: most calls.
    """

    def __init__(self, numbers: int, calls: int) -> None:
        super().__init__()
        self.numbers, self.calls = numbers, calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call, and count."""
        result = func(*args, **(kwargs or {}))
        self.calls -= 1
        if isinstance(result, Tensor):
            self.numbers -= result.numel()
        if self.calls < 0 or self.numbers < 0:
            raise CheckpointError("it asks for far more than the weights beside it hold; restore both from a copy")
        return result


class NoLarger(TorchFunctionMode):
    """Stops, before it has taken the memory, what asks for more floating numbers in all than so many.

    Args:
        numbers: most numbers.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call, unless it asks for too much."""
        kwargs = kwargs or {}
        if func in MAKERS:
            given = {name: value for name, value in kwargs.items() if name not in ("generator", "out", "pin_memory")}
            empty = func(*args, **{**given, "device": "meta"})
            self.numbers -= empty.numel() if empty.is_floating_point() else 0
            if self.numbers < 0:
                raise CheckpointError("its options ask for far more than the weights beside it hold")
        return func(*args, **kwargs)


MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.rand, torch.randn}
"""The functions of PyTorch that take memory by a size."""


def rebuilt(
    description: Any,
    base: type[Item],
    weights: Mapping[str, Tensor],
    source: Path,
    check: Callable[[Item], None],
) -> Item:
    """Build an object that a file describes, once it is known that it needs no more memory than its weights.

    Torch's random state is left as it was: whatever is drawn gives way to the weights.

    Args:
        description: what `registry.describe` returned.
        base: the class that it must be of.
        weights: its state dict.
        source: the file that holds the description, for messages.
        check: raises CheckpointError where the object, built without memory, is not the one of the weights.

    Raises:
        CheckpointError: it cannot be built, is of another class, or is not the one of the weights.
    """
    numbers = sum(value.numel() for value in weights.values())
    bounded = Bounded(TIMES * numbers + SPARE, CALLS * len(weights) + SPARE_CALLS)
    with torch.device("meta"), bounded:
        check(_built(description, base, source))
    with torch.random.fork_rng(devices=[]):
        return _built(description, base, source)


def _built(description: Any, base: type[Item], source: Path) -> Item:
    try:
        item = build(description)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    if not isinstance(item, base):
        kind = type(item).__name__
        raise CheckpointError(
            f"{source} describes no {base.__name__.lower()}: it holds a {kind}, which is not a {base.__name__}"
        )
    return item
