"""Calling any net as a pure function: right under vmap, right for second derivatives, explicit about batch statistics.

`call` runs a user's `torch.nn.Module`, unchanged, inside a function mode that replaces what PyTorch gets wrong or lacks
when a net is adapted in an inner loop and mapped over tasks:

- Batch, layer and instance norm with adapted affine weights, whose second-order gradients are silently wrong under
  vmap: normalised without affine weights, then scaled and shifted by hand.
- Batch norm's running statistics, which would leak between tasks: never read or written. Statistics come from the
  rows at hand, or from those that an earlier call returned (see `BatchNormPolicy`).
- LSTM, GRU and RNN layers, which have no batching rule: written out (`operators.recurrent`).
- Fused attention, which has no second derivative: the maths kernel.
- `cdist`, hard sigmoid and embedding bags, which have no second derivative: written out.
- Embeddings with a padding index, whose second-order gradients are silently wrong under vmap, too.
- Instance norm's running averages: read under the policy 'frozen', and never written.
- Bilinear layers and weight norm, which have no batching rule and would run task by task: written out.

The module stays as it is: adapted parameters are seen by this thread alone (`operators.substitution`). What a forward
leaves on its modules in a transform, or with adapted parameters, is put back; in other calls it stays, as in plain
PyTorch (`operators.traces`). Buffers that it changes in place are copies (`operators.writes`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

from quickstudy.errors import InputError, QuickstudyError, unknown_name
from quickstudy.operators import convolution, pooling, trees
from quickstudy.operators.conv_moments import conv_maxima_moments
from quickstudy.operators.layer_errors import raise_named, without_checkpoints
from quickstudy.operators.layouts import Layouts
from quickstudy.operators.norms import BATCH_NORMS, found, uses_batch_statistics
from quickstudy.operators.precision import matmul_dtype
from quickstudy.operators.replacements import REPLACEMENTS
from quickstudy.operators.substitution import exchanged, in_turn
from quickstudy.operators.writes import Buffers, in_place

__all__ = [
    "BATCH_NORMS",
    "BatchNormPolicy",
    "Given",
    "Statistics",
    "batch_statistics",
    "call",
    "check_policy",
    "conv_norm_pool",
    "given_by",
    "uses_batch_statistics",
]

BatchNormPolicy = Literal["support", "transductive", "frozen"]
"""Source of batch norm's statistics when queries are predicted.

'support' takes them from the support rows, so that no query affects another. 'transductive' takes them from the query
rows, so that queries see each other. 'frozen' takes the running averages of a pretrained net, for support and queries
alike, and never changes them."""

Statistics = tuple[tuple[Tensor, Tensor], ...]
"""(mean, variance), each (channels,), of every batch norm call in the order in which the net made them."""

Given = Statistics | Literal["frozen"] | None
"""Batch statistics to use: those of an earlier call, the net's running averages, or None for those of the rows."""


def check_policy(policy: BatchNormPolicy) -> None:
    """Raise InputError if a batch norm policy is unknown."""
    if policy not in get_args(BatchNormPolicy):
        raise unknown_name("batch norm policy", policy, get_args(BatchNormPolicy))


def given_by(policy: str, statistics: Statistics | None = None) -> Given:
    """Return `call`'s argument `given` under a policy. For queries pass the support's statistics, for the support none.

    Args:
        policy: a `BatchNormPolicy`, or 'none' for a net without batch norm.
        statistics: batch statistics that a call on the support returned.
    """
    if policy == "frozen":
        return "frozen"
    return statistics if policy == "support" else None


def keeps_none(net: nn.Module) -> bool:
    """Return whether a batch norm layer of a net keeps no running averages."""
    return any(isinstance(module, BATCH_NORMS) and module.running_mean is None for module in net.modules())


_MATMULS = {F.linear, torch.matmul, torch.bmm, torch.conv1d, torch.conv2d, torch.conv3d}


def _lowered(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype) -> Any:
    """Return what an operator makes of arguments in another dtype, in their own."""
    dtypes = [leaf.dtype for leaf in trees.leaves((args, kwargs)) if isinstance(leaf, Tensor)]

    def lower(leaf: Tensor) -> Tensor:
        return leaf.to(dtype) if leaf.is_floating_point() else leaf

    args, kwargs = trees.map_only(Tensor, lower, (args, kwargs))
    return func(*args, **kwargs).to(dtypes[0])


def call(
    net: nn.Module,
    inputs: Any,
    params: dict[str, Tensor] | None = None,
    given: Given = None,
    mask: Tensor | None = None,
    extra: tuple[Any, ...] = (),
) -> tuple[Any, Statistics]:
    """Run a net on one task's rows as a pure function.

    Args:
        net: any module. Its parameters are used where `params` has none of that name.
        inputs: a tensor, a tuple (positional arguments) or a dict (keyword arguments) of tensors, rows first.
        params: adapted parameters by name.
        given: batch statistics to use; None takes them from these rows, 'frozen' the layers' running averages.
        mask: (S,) rows that count in batch statistics.
        extra: further positional arguments.

    Returns:
        The net's output, and the batch statistics that were used.

    Raises:
        UnsupportedLayerError: a layer cannot be batched over tasks; the message names it.
        InputError: a layer does not take inputs of this shape or dtype (the message names it), or they are arrays.
    """
    if isinstance(inputs, np.ndarray):
        raise InputError("inputs are a NumPy array, but nets take tensors; pass torch.as_tensor(inputs)")
    args: tuple[Any, ...] = (*inputs, *extra) if isinstance(inputs, tuple) else (inputs, *extra)
    kwargs: dict[str, Any] = {}
    if isinstance(inputs, dict):
        args, kwargs = extra, inputs
    layouts = Layouts(net)
    try:
        with exchanged(net, params) if params else in_turn(net) as scope:
            mode = _Corrections(Buffers(net, given == "frozen", scope), given, mask, layouts)
            with _alone(net), mode, without_checkpoints():
                output = net(*args, **kwargs)
    except Exception as error:
        if torch.compiler.is_compiling() or isinstance(error, (QuickstudyError, torch.OutOfMemoryError)):
            raise
        if layouts.may_help():
            return layouts.again(lambda: call(net, inputs, params, given, mask, extra))
        raise_named(net, args, kwargs, params, error, layouts.failed)
        raise
    if mode.used:
        found(net)
    return output, tuple(mode.used)


def _alone(net: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Keep norms from taking statistics of other processes' rows, which are of other tasks."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return _NOTHING
    return _unsynchronised([each for each in net.modules() if isinstance(each, nn.SyncBatchNorm) and each.training])


_NOTHING = contextlib.nullcontext()


@contextlib.contextmanager
def _unsynchronised(norms: list[nn.SyncBatchNorm]) -> Iterator[None]:
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True


class _Corrections(TorchFunctionMode):
    """Replaces the operators named at the head of this file. `used` collects batch statistics."""

    def __init__(self, buffers: Buffers, given: Given, mask: Tensor | None, layouts: Layouts) -> None:
        super().__init__()
        self.buffers, self.layouts = buffers, layouts
        self.given = given
        self.mask = mask
        self.used: list[tuple[Tensor, Tensor]] = []
        self.matmul_dtype = matmul_dtype.get()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if in_place(func) or kwargs.get("out") is not None:
            self.layouts.check(func, args, kwargs)
            return self.buffers.change(func, args, kwargs)
        args, kwargs = self.buffers.resolved(args, kwargs)
        if self.matmul_dtype is not None and func in _MATMULS:
            if func is torch.conv2d:
                return self.layouts.of_maps(convolution.conv2d(*args, **kwargs, products=self.matmul_dtype))
            return _lowered(func, args, kwargs, self.matmul_dtype)
        if func is F.batch_norm:
            return self._batch_norm(*args, **kwargs)
        if func is torch.batch_norm:
            return self._batch_norm(*args[:8])
        if func is F.instance_norm and self.given == "frozen":
            return self._instance_norm(*args, **kwargs)
        if func is conv_norm_pool:
            return self.layouts.of_maps(self._conv_norm_pool(*args))
        return self.layouts.run(func, args, kwargs)

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if self.buffers.owns(weight) and running_mean is not None and running_var is not None:
            mean, var = running_mean, running_var  # of a layer that is frozen by design
        else:
            # Where no layer keeps none, the net standardises something else so, such as a convolution's weight.
            own = self.given == "frozen" and running_mean is None and not keeps_none(self.layouts.net)
            if self.given is None or own:
                mean, var = batch_statistics(input, self.mask)
            else:
                mean, var = self._given(running_mean, running_var)
            self.used.append((mean, var))
        return _normalised(input, mean, var, weight, bias, eps)

    def _instance_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if running_mean is None or running_var is None:
            rest = (running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
            return REPLACEMENTS[F.instance_norm](input, *rest)  # type: ignore[no-any-return]
        return _normalised(input, running_mean, running_var, weight, bias, eps)

    def _conv_norm_pool(self, x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
        # A maximum commutes with what never decreases: pool first, and norm a quarter of the numbers. Where the
        # norm's scale is negative the sign moves into the convolution. The convolution's bias cancels with the mean.
        sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0).to(norm.weight.dtype)
        bias = torch.zeros_like(sign) if conv.bias is None else conv.bias
        kernel = conv.weight * sign.reshape(-1, 1, 1, 1)
        maxima, mean, var = self._maxima_and_moments(x, kernel, conv)
        if self.given is not None:
            mean, var = self._given(norm.running_mean, norm.running_var)
            mean = (mean - bias) * sign
        self.used.append((mean * sign + bias, var))
        scale = norm.weight * sign * torch.rsqrt(var + norm.eps)
        shift = norm.bias - mean * scale
        return (maxima * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)).to(x.dtype)

    def _given(self, mean: Tensor | None, var: Tensor | None) -> tuple[Tensor, Tensor]:
        assert self.given is not None
        if isinstance(self.given, tuple):
            return self.given[len(self.used)]
        if mean is None or var is None:
            raise InputError(
                "batch norm policy 'frozen' needs running averages, and this net's batch norm keeps none "
                "(track_running_stats=False); use batch_norm='support', or a net trained with running averages"
            )
        return mean, var

    def _maxima_and_moments(self, x: Tensor, kernel: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Tensor, Tensor]:
        args = (conv.stride, conv.padding, conv.dilation, conv.groups)
        shape = convolution.shape_of(x, kernel, *args, self.matmul_dtype)
        if shape is not None and self.mask is None:
            return conv_maxima_moments(x, kernel, shape, pooling.Windows(shape.outputs(), (2, 2), (2, 2)))
        y = convolution.conv2d(x, kernel, None, *args, products=self.matmul_dtype)
        return pooling.max_pool2d(y, 2), *batch_statistics(y, self.mask)


def conv_norm_pool(x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Return 2x2 max-pooled, normed convolutions of x (S, C, H, W); inside `call` faster than one by one."""
    if isinstance(norm, nn.BatchNorm2d) and has_torch_function((x,)):
        return handle_torch_function(conv_norm_pool, (x,), x, conv, norm)
    return F.max_pool2d(norm(conv(x)), 2)


def batch_statistics(input: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance, each (C,), of input (S, C, ...) over the rows where mask (S,) is True."""
    dims = (0, *range(2, input.ndim))
    if mask is None or len(mask) != len(input):
        return pooling.moments(input)
    weights = mask.to(input.dtype).reshape(-1, *(1,) * (input.ndim - 1))
    count = weights.sum().clamp_min(1) * math.prod(input.shape[2:])
    mean = (input * weights).sum(dims, keepdim=True) / count
    var = ((input - mean).square() * weights).sum(dims) / count
    # Without any row (the beginning of a stream) features stay as they are, rather than grow in every layer.
    var = torch.where(mask.any(), var, torch.ones_like(var))
    return mean.reshape(-1), var


def _normalised(
    input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    shape = (1, -1) + (1,) * (input.ndim - 2)
    scale = torch.rsqrt(var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    if bias is not None:
        shift = shift + bias
    # Statistics of narrow numbers are in 32 bits.
    return (input * scale.reshape(shape) + shift.reshape(shape)).to(input.dtype)
