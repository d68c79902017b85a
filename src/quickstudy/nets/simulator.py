"""A simulator as a net: trained physical parameters, and the motion of the system that they give."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.physics import SYSTEMS, advance
from quickstudy.registry import register


@register("net")
class Simulator(nn.Module):
    """Maps rows (S, n + 1), a state and a force, to the change of the state (S, n) under a constant force.

    The logarithms of the parameters are trained, so that parameters stay positive and steps are relative.

    Args:
        system: 'pendulum' or 'cart-pole' (`functional.physics`).
        parameters: initial values, by name; 1 for those that are not named.
        duration: time for which the force acts, in s.
        learned: names of the trained parameters; None for all.

    Raises:
        InputError: a system or parameter is unknown, or a number is not positive.
    """

    def __init__(
        self,
        system: str = "pendulum",
        parameters: Mapping[str, float] | None = None,
        duration: float = 0.1,
        learned: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        if system not in SYSTEMS:
            raise unknown_name("system", system, SYSTEMS)
        names, values = SYSTEMS[system].parameters, dict(parameters or {})
        for name in (*values, *(learned or ())):
            if name not in names:
                raise unknown_name(f"parameter of a {system}", name, names)
        for name, value in {**values, "duration": duration}.items():
            if not 0 < value < math.inf:
                raise InputError(f"{name} of a {system} must be positive, not {value}")
        self.system, self.duration = SYSTEMS[system], duration
        start = {name: torch.tensor(math.log(values.get(name, 1.0))) for name in names}
        self.log = nn.ParameterDict(
            {name: nn.Parameter(value, learned is None or name in learned) for name, value in start.items()}
        )

    @property
    def values(self) -> dict[str, float]:
        """The current values of the parameters."""
        return {name: math.exp(float(value.detach())) for name, value in self.log.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Return changes (S, n)."""
        if x.shape[-1] != self.system.states + 1:
            raise InputError(f"rows of {x.shape[-1]} numbers do not hold {self.system.states} of a state and a force")
        state, force = x[..., :-1], x[..., -1]
        parameters = {name: value.exp() for name, value in self.log.items()}
        return advance(self.system.rate, parameters, state, force, self.duration) - state
