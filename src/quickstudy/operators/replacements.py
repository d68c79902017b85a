"""Operators of PyTorch that are wrong, slow or missing under vmap and second derivatives, written out.

`calls.call` puts them in place, and its head says why each is there. Each takes the same arguments as the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from quickstudy.operators import convolution, grouping, pooling, recurrent
from quickstudy.operators.internals import (
    has_values,
    in_transform,
    left_aligned,
    pack_padded,
    plain,
    weight_norm,
)


def _layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    output = F.layer_norm(input, normalized_shape, eps=eps)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    # One example's own statistics, whatever running averages the layer may keep: those would leak between tasks.
    var, mean = torch.var_mean(input, tuple(range(2, input.ndim)), correction=0, keepdim=True)
    output = (input - mean) * torch.rsqrt(var + eps)
    shape = (1, -1) + (1,) * (input.ndim - 2)
    if weight is not None:
        output = output * weight.reshape(shape)
    return output if bias is None else output + bias.reshape(shape)


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    gaps = (x1.unsqueeze(-2) - x2.unsqueeze(-3)).abs()
    if p == math.inf:
        return gaps.amax(-1)
    total = gaps.pow(p).sum(-1)
    # The root has no derivative at 0: take the subgradient 0 there, as torch.cdist does.
    positive = total > 0
    return torch.where(positive, torch.where(positive, total, 1.0).pow(1 / p), 0.0)


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    if input.ndim != 2 or offsets is not None or max_norm is not None:
        raise NotImplementedError("embedding_bag under vmap needs inputs (rows, bag) without offsets or max_norm")
    rows = _looked_up(input, weight)
    keep = torch.ones_like(input, dtype=torch.bool) if padding_idx is None else input != padding_idx
    if mode == "max":
        # A bag of padding alone is zero, as in torch.
        found = rows.masked_fill(~keep.unsqueeze(-1), -math.inf).amax(1)
        return torch.where(keep.any(1, keepdim=True), found, 0.0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    total = (rows * keep.unsqueeze(-1)).sum(1)
    return total if mode == "sum" else total / keep.sum(1, keepdim=True).clamp_min(1)


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    # Gradients are dense, as sparse ones cannot be batched. They are the same numbers.
    rows = _looked_up(input, weight, scale_grad_by_freq)
    if max_norm is not None:
        # PyTorch writes the shorter vectors into the weight, which is shared by tasks; gradients know nothing of it.
        norm = rows.detach().norm(norm_type, -1, keepdim=True)
        shorter = torch.where(norm > max_norm, max_norm / (norm + 1e-7), 1.0)
        rows = rows + (rows.detach() * (shorter - 1))
    if padding_idx is None:
        return rows
    # The padding vector is read but gets no gradient.
    return torch.where((input == padding_idx % len(weight)).unsqueeze(-1), rows.detach(), rows)


def _looked_up(input: Tensor, weight: Tensor, scale_grad_by_freq: bool = False) -> Tensor:
    """Return the rows of a table at indices; the batching rule lets those beyond the table read other tasks'."""
    if not in_transform(weight) or input.is_floating_point():
        return F.embedding(input, weight, scale_grad_by_freq=scale_grad_by_freq)
    known = (input >= 0) & (input < len(weight))
    if has_values(input) and input.device.type == "cpu":
        if not bool(plain(known).all()):
            raise IndexError(f"an index lies outside of the table's rows, 0..{len(weight) - 1}")
        return F.embedding(input, weight, scale_grad_by_freq=scale_grad_by_freq)
    # Nobody can look at values that are traced or far away: so the loss becomes NaN, which is noticed.
    rows = F.embedding(torch.where(known, input, 0), weight, scale_grad_by_freq=scale_grad_by_freq)
    return torch.where(known.unsqueeze(-1), rows, math.nan)


def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    output = torch.einsum("...i,oij,...j->...o", input1, weight, input2)
    return output if bias is None else output + bias


def _hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    return F.relu6(input + 3) / 6


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    others = [other for other in range(v.ndim) if other != dim % v.ndim]
    return v * (g / v.square().sum(others, keepdim=True).sqrt())


def _attention(*args: Any, **kwargs: Any) -> Any:
    # Inside this function no mode is active, so choose the kernel here; `need_weights` avoids fused ones too.
    with sdpa_kernel(SDPBackend.MATH):
        return F.multi_head_attention_forward(*args, **kwargs)


def _scaled_dot_product(*args: Any, **kwargs: Any) -> Any:
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(*args, **kwargs)


REPLACEMENTS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.conv2d: convolution.conv2d,
    F.max_pool2d: pooling.max_pool2d,
    torch.max_pool2d: pooling.max_pool2d,
    F.layer_norm: _layer_norm,
    F.group_norm: grouping.group_norm,
    F.instance_norm: _instance_norm,
    torch.cdist: _cdist,
    F.embedding: _embedding,
    F.embedding_bag: _embedding_bag,
    F.bilinear: _bilinear,
    F.hardsigmoid: _hardsigmoid,
    weight_norm: _weight_norm,
    # Nested tensors are for evaluation without gradients alone, and have no batching rules.
    left_aligned: lambda *args, **kwargs: False,
    F.multi_head_attention_forward: _attention,
    F.scaled_dot_product_attention: _scaled_dot_product,
    pack_padded: recurrent.pack_padded,
    torch.lstm: recurrent.lstm,
    torch.gru: recurrent.gru,
    torch.rnn_tanh: recurrent.rnn_tanh,
    torch.rnn_relu: recurrent.rnn_relu,
    torch.lstm_cell: recurrent.lstm_cell,
    torch.gru_cell: recurrent.gru_cell,
    torch.rnn_tanh_cell: recurrent.rnn_tanh_cell,
    torch.rnn_relu_cell: recurrent.rnn_relu_cell,
}
"""The replacement of each operator."""
