"""The four-block convolutional net of few-shot learning (Vinyals et al. 2016, section 4.1)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError, unknown_name
from quickstudy.operators.calls import conv_norm_pool
from quickstudy.registry import register

Norm = Literal["batch", "group", "layer", "none"]
NORMS = ("batch", "group", "layer", "none")


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return a normalisation layer: only 'batch' has statistics that depend on other rows."""
    if norm == "batch":
        return nn.BatchNorm2d(channels, track_running_stats=False)
    if norm == "group":
        # At least 8 channels a group: on a 1x1 map a group of one channel would have no variance.
        return nn.GroupNorm(
            max(g for g in (8, 4, 2, 1) if channels % g == 0 and (channels >= 8 * g or g == 1)), channels
        )
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    if norm == "none":
        return nn.Identity()
    raise unknown_name("norm", norm, NORMS)


class Conv4(nn.Module):
    """Blocks of 3x3 convolution, norm, ReLU and halving; optionally FiLM by a context and a linear head."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        outputs: int | None,
        norm: Norm,
        halve: Literal["pool", "stride"],
        size: int,
        flatten: bool,
        context: int,
        halvings: int,
    ) -> None:
        super().__init__()
        self.channels, self.size, self.context, self.flatten = channels, size, context, flatten
        self.halvings = halvings
        strides = [2 if halve == "stride" and i < halvings else 1 for i in range(4)]
        widths = [channels, hidden, hidden, hidden]
        self.convs = nn.ModuleList(nn.Conv2d(widths[i], hidden, 3, strides[i], 1) for i in range(4))
        self.norms = nn.ModuleList(norm_layer(norm, hidden) for _ in range(4))
        self.halve = halve
        edge = size
        for _ in range(halvings):
            edge = (edge + 1) // 2 if halve == "stride" else edge // 2
        if edge < 1:
            raise InputError(f"size={size} is too small for {halvings} halvings; use larger images")
        self.features = hidden * edge * edge
        self.film = nn.Linear(context, 2 * hidden) if context else None
        self.head = nn.Linear(self.features, outputs) if outputs is not None else nn.Identity()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map images (S, channels, size, size) to (S, outputs), (S, features) or (S, hidden, h, w)."""
        if x.ndim != 4 or x.shape[1] != self.channels or x.shape[2:] != (self.size, self.size):
            raise InputError(
                f"conv4 was built for images (rows, {self.channels}, {self.size}, {self.size}) but got "
                f"{tuple(x.shape)}; resize them, or build conv4(channels=..., size=...) to match"
            )
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            assert isinstance(conv, nn.Conv2d)
            # ReLU after pooling gives the same numbers for a quarter of the work.
            if self.halve != "pool" or i >= self.halvings:
                x = norm(conv(x))
            else:
                x = conv_norm_pool(x, conv, norm)
            if self.film is not None and i == 2:
                context = x.new_zeros(self.context) if context is None else context
                scale, shift = self.film(context).reshape(2, 1, -1, 1, 1)
                x = x * (1 + scale) + shift
            x = F.relu(x)
        return self.head(torch.flatten(x, 1)) if self.flatten else x


@register("net")
def conv4(
    channels: int = 1,
    hidden: int = 64,
    outputs: int | None = None,
    *,
    norm: Norm = "batch",
    halve: Literal["pool", "stride"] = "pool",
    size: int = 28,
    flatten: bool = True,
    context: int = 0,
    halvings: int = 4,
) -> Conv4:
    """Four convolution blocks, the standard few-shot backbone.

    Args:
        channels: input channels.
        hidden: filters per block (64 for Omniglot, 32 for MAML on miniImageNet).
        outputs: number of outputs of a linear head; None for an embedding of `features` numbers.
        norm: 'batch' (statistics by the learner's batch norm policy), 'group' or 'layer' (of each row alone), 'none'.
        halve: 'pool' (2x2 max-pooling) or 'stride' (strided convolutions, as MAML's on Omniglot; its code averages the
            last maps where this net flattens them).
        size: height and width of the images, in pixels.
        flatten: False gives feature maps (for Relation networks).
        context: size of a context vector that scales and shifts the third block's channels (CAVIA's FiLM layer, with
            1 + gamma for its scale gamma).
        halvings: blocks that halve their maps, the first ones (2 for Relation networks, which compare maps).

    Raises:
        InputError: images do not match at call time, a number is not positive, or the size is too small.
    """
    if norm not in NORMS:
        raise unknown_name("norm", norm, NORMS)
    if halve not in ("pool", "stride"):
        raise unknown_name("halve", halve, ("pool", "stride"))
    if min(channels, hidden, 1 if outputs is None else outputs) < 1 or context < 0:
        raise InputError(
            f"channels={channels}, hidden={hidden} and outputs={outputs} must be positive, and context={context} 0 or "
            "more"
        )
    if not 0 <= halvings <= 4:
        raise InputError(f"halvings must lie in 0..4, the number of blocks, not {halvings}")
    if outputs is not None and not flatten:
        raise InputError("outputs needs flatten=True: the head reads flat features")
    return Conv4(channels, hidden, outputs, norm, halve, size, flatten, context, halvings)
