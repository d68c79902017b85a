"""The initialisation of PyTorch's layers, drawn from keys, for many tasks at once, whatever was drawn before.

`torch.nn` draws a layer's parameters from a global generator, one layer and one net at a time. Here they are a pure
function of a key, so a batch of problems gets its initial parameters in a few operations on tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.nets.recurrent import GRUCell, LSTMCell
from quickstudy.operators.internals import AnyConvolution, AnyNorm

_AFFINE = (
    AnyNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def initialise(net: nn.Module, keys: Tensor, scale: Tensor | float = 1.0) -> dict[str, Tensor]:
    """Return parameters of a net, by name, with the laws of its layers' `reset_parameters`, but drawn from keys.

    Linear, convolutional and bilinear layers: uniform in +-1 / sqrt(fan-in), biases too (He et al. 2015 with PyTorch's
    gain, a = sqrt(5)). Recurrent layers and cells: uniform in +-1 / sqrt(hidden). Embeddings: standard normal, zero at
    the padding index. Norms: one and zero. PReLU: its constant.

    Args:
        net: the net. Only its structure matters, and it is not changed. Parameters without `requires_grad` are left
            out.
        keys: (...) one key per initialisation, (T,) for T tasks.
        scale: factor of random draws, but not of the constants of norms; one number, or of the keys' shape.

    Returns:
        Each parameter as (..., *its shape), of its dtype.

    Raises:
        InputError: a layer has parameters of its own, and their law is not known here.
    """
    modules = dict(net.named_modules())
    found: dict[str, Tensor] = {}
    uniform: dict[str, tuple[Tensor, float]] = {}
    scale = torch.as_tensor(scale, device=keys.device)
    scale = scale.to(torch.get_default_dtype()).expand(keys.shape)
    for number, (name, value) in enumerate(net.named_parameters()):
        if not value.requires_grad:
            continue
        where, _, own = name.rpartition(".")
        module = modules[where]
        if isinstance(module, _AFFINE):
            found[name] = _constant(keys, value, 1.0 if own == "weight" else 0.0)
        elif isinstance(module, nn.PReLU):
            found[name] = _constant(keys, value, module.init)
        elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
            drawn = random.normal(random.fold_in(keys, number + 1), *value.shape, dtype=value.dtype)
            if module.padding_idx is not None:
                drawn[..., module.padding_idx, :] = 0
            found[name] = drawn * _over(scale, value)
        else:
            uniform[name] = value, _bound(module, where)
    if uniform:
        # One draw for all: of a small net's many parameters most of the time would be calls.
        sizes = [value.numel() for value, _ in uniform.values()]
        drawn = 2 * random.uniform(random.fold_in(keys, 0), sum(sizes)) - 1
        for (name, (like, bound)), part in zip(uniform.items(), torch.split(drawn, sizes, -1), strict=True):
            shaped = part.reshape(*keys.shape, *like.shape).to(like.dtype)
            found[name] = shaped * (bound * _over(scale, like))
    return {name: found[name] for name, _ in net.named_parameters() if name in found}


def _over(scale: Tensor, value: Tensor) -> Tensor:
    """Return scales (...) such that they broadcast against (..., *shape)."""
    return scale.to(value.dtype).reshape(*scale.shape, *(1,) * value.ndim)


def _constant(keys: Tensor, value: Tensor, number: float) -> Tensor:
    return torch.full((*keys.shape, *value.shape), number, dtype=value.dtype, device=keys.device)


def _bound(module: nn.Module, where: str) -> float:
    """Return the bound of a layer's uniform law."""
    if isinstance(module, nn.Bilinear):
        return 1 / math.sqrt(module.weight.shape[1])
    if isinstance(module, nn.Linear | AnyConvolution):
        return 1 / math.sqrt(math.prod(module.weight.shape[1:]))
    if isinstance(module, _RECURRENT):
        return 1 / math.sqrt(module.hidden_size)
    if isinstance(module, GRUCell | LSTMCell):
        return 1 / math.sqrt(module.outputs)
    place = f"'{where}', a {type(module).__name__}," if where else f"the net itself, a {type(module).__name__},"
    raise InputError(
        f"{place} has parameters of its own, and how they begin is not known; build the net of torch.nn's linear, "
        "convolutional, recurrent, embedding and norm layers"
    )
