"""Where an inner loop starts that does not learn its start: what is meta-learned lies elsewhere."""

from __future__ import annotations

import copy
from typing import ClassVar

from torch import Tensor, nn

from quickstudy.core import Examples
from quickstudy.functional import random
from quickstudy.inner.adapted import AllParameters, Theta
from quickstudy.nets.initialisation import initialise
from quickstudy.operators.calls import Given


class FixedStart(AllParameters):
    """All parameters that require a gradient, from the values they have now, which are never learned.

    Args:
        net: is copied.
    """

    own: ClassVar[bool] = False

    def __init__(self, net: nn.Module) -> None:
        super().__init__(copy.deepcopy(net))
        self._adapted = tuple(super().names())
        self.net.requires_grad_(False)

    def names(self) -> list[str]:
        """Names of the adapted parameters."""
        return list(self._adapted)

    def learned_now(self) -> None:
        """Keep the names, which are fixed."""


class DrawnStart(FixedStart):
    """All parameters that require a gradient, drawn anew from a key as PyTorch draws them (`nets.initialisation`)."""

    drawn = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        # In a tuple, so that it is no submodule: of it only layers and shapes are used.
        self._structure = (copy.deepcopy(net),)

    def structure(self) -> nn.Module:
        """Return the net as it was given; of its parameters only shapes count."""
        return self._structure[0]

    def initial(self, support: Examples, given: Given = None, key: Tensor | None = None) -> Theta:
        """Return the parameters drawn for a task."""
        like = dict(self.net.named_parameters())
        key = random.key(0, next(iter(like.values())).device) if key is None else key
        drawn = initialise(self._structure[0], random.fold_in(key, 11))
        return {name: drawn[name].to(like[name].dtype) for name in self.names()}
