"""All private names of PyTorch that the library uses. A test says that each exists."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._subclasses import FakeTensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

__all__ = [
    "AnyBatchNorm",
    "AnyConvolution",
    "AnyInstanceNorm",
    "AnyNorm",
    "OpOverload",
    "TorchDispatchMode",
    "base_of",
    "compile_graph",
    "direct_call",
    "example_of",
    "has_values",
    "in_transform",
    "in_transforms",
    "left_aligned",
    "level",
    "make_fx",
    "own_buffers",
    "own_forward_hooks",
    "own_modules",
    "own_parameters",
    "own_pre_hooks",
    "pack_padded",
    "plain",
    "plainly",
    "set_own",
    "storage_of",
    "transforming",
    "unwrapped",
    "weight_norm",
    "with_module",
    "without_graph",
]

Module = TypeVar("Module", bound=nn.Module)

AnyBatchNorm = nn.modules.batchnorm._BatchNorm
"""Batch normalisation of any number of dimensions."""
AnyConvolution = nn.modules.conv._ConvNd
"""A convolution of any number of dimensions, transposed or not."""
AnyInstanceNorm = nn.modules.instancenorm._InstanceNorm
"""Instance normalisation of any number of dimensions."""
AnyNorm = nn.modules.batchnorm._NormBase
"""Batch and instance normalisation."""
OpOverload = torch._ops.OpOverload
"""An operator of a recorded graph."""
weight_norm = torch._weight_norm
"""What `torch.nn.utils.weight_norm` calls."""
left_aligned = torch._nested_tensor_from_mask_left_aligned
"""What transformer layers ask before they take their path for evaluation alone."""
pack_padded = torch._VF._pack_padded_sequence
"""What `torch.nn.utils.rnn.pack_padded_sequence` calls."""


def in_transform(tensor: Tensor) -> bool:
    """Return whether a tensor is seen from inside a transform, such as vmap or grad, where it has no values."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def in_transforms() -> bool:
    """Return whether any transform, such as vmap or grad, is active."""
    return bool(torch._C._are_functorch_transforms_active())


def level() -> int:
    """Return how many transforms, such as vmap or grad, this thread is inside of."""
    return torch._C._functorch.maybe_current_level() or 0


def transforming() -> bool:
    """Return whether this thread is inside a transform, such as vmap or grad, or records operations."""
    return level() > 0 or torch._C._len_torch_dispatch_stack() > 0


def without_graph(tensor: Tensor) -> Tensor:
    """Return a tensor of no transform without its history, also within a transform."""
    with temporarily_clear_interpreter_stack(), _disable_current_modes():
        return tensor.detach()


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor that a transform's tensor wraps."""
    return torch._C._functorch.get_unwrapped(tensor)


def example_of(tensor: Tensor) -> Tensor:
    """Return a plain tensor of the values that one seen from inside transforms has, in vmap for the first example."""
    dims = []
    while in_transform(tensor):
        dims.append(torch._C._functorch.maybe_get_bdim(tensor))
        tensor = unwrapped(tensor)
    for dim in reversed(dims):
        tensor = tensor if dim < 0 else tensor.select(dim, 0)
    return tensor.detach()


def plainly() -> Any:
    """Return a context in which no transform is active."""
    return torch._functorch.pyfunctorch.temporarily_clear_interpreter_stack()


def plain(tensor: Tensor) -> Tensor:
    """Return the tensor of all tasks that lies below all transforms."""
    while in_transform(tensor):
        tensor = unwrapped(tensor)
    return tensor


def has_values(tensor: Tensor) -> bool:
    """Return whether the tensor below all transforms has values to look at, rather than being traced."""
    return not (torch.compiler.is_compiling() or isinstance(plain(tensor), FakeTensor))


def storage_of(tensor: Tensor) -> int:
    """Return a number for the memory that a tensor lies in; tensors of the same memory have the same."""
    return int(plain(tensor).untyped_storage()._cdata)


def base_of(tensor: Tensor) -> Tensor | None:
    """Return the tensor that a tensor is a view of, outside of all transforms, or None."""
    while in_transform(tensor):
        tensor = unwrapped(tensor)
    return tensor._base


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return a module's own parameters, not those of modules in it; they may stand under two names."""
    return module._parameters


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """Return a module's own buffers, not those of modules in it."""
    return module._buffers


def own_modules(module: nn.Module) -> dict[str, nn.Module | None]:
    """Return the modules right in a module, by name; one may stand under several."""
    return module._modules


def own_forward_hooks(module: nn.Module) -> dict[int, Any]:
    """Return the hooks that are called after a module's forward."""
    return module._forward_hooks


def own_pre_hooks(module: nn.Module) -> dict[int, Any]:
    """Return the hooks that are called before a module's forward."""
    return module._forward_pre_hooks


def set_own(module: nn.Module, parameters: dict[str, Any], buffers: dict[str, Any]) -> None:
    """Let a module read its own parameters and buffers from these dictionaries."""
    module.__dict__["_parameters"], module.__dict__["_buffers"] = parameters, buffers


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
