"""Calling a function with other values of a module's parameters, however the function reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class Owner(nn.Module):
    """Calls a function; `functional_call` on it exchanges the parameters of `module` that the function reads."""

    def __init__(self, function: Callable[..., Any], module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.function = function

    def forward(self, *args: Any) -> Any:
        """Return the function's result."""
        return self.function(*args)


def with_parameters(module: nn.Module, values: dict[str, Tensor], function: Callable[..., Any], *args: Any) -> Any:
    """Return function(*args), with these values in place of the module's parameters of those names."""
    named = {f"module.{name}": value for name, value in values.items()}
    return functional_call(Owner(function, module), named, args)
