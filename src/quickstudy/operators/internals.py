"""All private names of PyTorch that the library uses. A test says that each exists."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "AnyBatchNorm",
    "AnyConvolution",
    "AnyNorm",
    "OpOverload",
    "TorchDispatchMode",
    "compile_graph",
    "direct_call",
    "in_transform",
    "make_fx",
    "own_buffers",
    "own_parameters",
    "unwrapped",
    "weight_norm",
    "with_module",
]

Module = TypeVar("Module", bound=nn.Module)

AnyBatchNorm = nn.modules.batchnorm._BatchNorm
"""Batch normalisation of any number of dimensions."""
AnyConvolution = nn.modules.conv._ConvNd
"""A convolution of any number of dimensions, transposed or not."""
AnyNorm = nn.modules.batchnorm._NormBase
"""Batch and instance normalisation."""
OpOverload = torch._ops.OpOverload
"""An operator of a recorded graph."""
weight_norm = torch._weight_norm
"""What `torch.nn.utils.weight_norm` calls."""


def in_transform(tensor: Tensor) -> bool:
    """Return whether a tensor is seen from inside a transform, such as vmap or grad, where it has no values."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor that a transform's tensor wraps."""
    return torch._C._functorch.get_unwrapped(tensor)


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return a module's own parameters, not those of modules in it; they may stand under two names."""
    return module._parameters


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """Return a module's own buffers, not those of modules in it."""
    return module._buffers


def with_module(module: Module, name: str, other: nn.Module) -> Module:
    """Return a shallow copy of a module that has another one under a name; all else is shared."""
    made = copy.copy(module)
    made._modules = {**module._modules, name: other}
    return made


def direct_call(operator: Any) -> Any:
    """Return what an operator of a recorded graph calls, without the Python function around it."""
    return operator._op


def compile_graph(graph: torch.fx.GraphModule, tensors: list[Any]) -> Any:
    """Return a recorded graph compiled by Inductor."""
    return torch._inductor.compile(graph, tensors)
