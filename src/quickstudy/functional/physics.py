"""A pendulum and a cart-pole as pure functions: batched over leading dimensions, differentiable, without contacts.

Pendulum, a mass m at the end of a massless rod of length l, angle q from hanging, viscous friction b, torque u:

    m l^2 q'' = u - b q' - m g l sin q

Cart-pole (Barto, Sutton & Anderson 1983, section 6), cart M, uniform pole m of half-length l, angle q from upright,
viscous friction b of the cart, force u, from the Lagrangian (as corrected by Florian 2007):

    (M + m) x'' + m l cos q q'' = u - b x' + m l sin q q'^2
    m l cos q x'' + 4/3 m l^2 q'' = m g l sin q

Units are SI: kg, m, s, N, N m, rad. Only what the equations determine can be learned from motion. A pendulum that
nothing drives shows g / l and b / (m l^2), so b / m but neither b nor m; a known torque shows 1 / (m l^2) too, and with
it all three. A cart-pole that nothing drives shows m / M, b / M and l; a known force shows all four.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

GRAVITY = 9.81
Parameters = Mapping[str, Tensor]
"""Physical parameters by name, each of a shape that broadcasts against the batch."""
Rate = Callable[[Parameters, Tensor, Tensor], Tensor]


def pendulum(parameters: Parameters, state: Tensor, force: Tensor) -> Tensor:
    """Return (..., 2) time derivatives of states (..., 2), angle and angular velocity, under torques (...)."""
    angle, speed = state.unbind(-1)
    mass, length, friction = (parameters[name] for name in ("mass", "length", "friction"))
    acceleration = (force - friction * speed) / (mass * length.square()) - GRAVITY / length * torch.sin(angle)
    return torch.stack([speed, acceleration], -1)


def pendulum_energy(parameters: Parameters, state: Tensor) -> Tensor:
    """Return (...) energies of states (..., 2), in J."""
    angle, speed = state.unbind(-1)
    mass, length = parameters["mass"], parameters["length"]
    return mass * length * (length * speed.square() / 2 - GRAVITY * torch.cos(angle))


def cart_pole(parameters: Parameters, state: Tensor, force: Tensor) -> Tensor:
    """Return (..., 4) time derivatives of states (..., 4), position, velocity, angle, its velocity, under forces."""
    _, velocity, angle, speed = state.unbind(-1)
    cart, pole, length, friction = (parameters[name] for name in ("cart", "pole", "length", "friction"))
    sine, cosine, total = torch.sin(angle), torch.cos(angle), cart + pole
    push = (force - friction * velocity + pole * length * sine * speed.square()) / total
    turning = (GRAVITY * sine - cosine * push) / (length * (4 / 3 - pole * cosine.square() / total))
    return torch.stack([velocity, push - pole * length * cosine * turning / total, speed, turning], -1)


def cart_pole_energy(parameters: Parameters, state: Tensor) -> Tensor:
    """Return (...) energies of states (..., 4), in J."""
    _, velocity, angle, speed = state.unbind(-1)
    cart, pole, length = (parameters[name] for name in ("cart", "pole", "length"))
    sine, cosine = torch.sin(angle), torch.cos(angle)
    across, down = velocity + length * cosine * speed, length * sine * speed
    moving = cart * velocity.square() + pole * (across.square() + down.square() + length.square() * speed.square() / 3)
    return moving / 2 + pole * GRAVITY * length * cosine


class System(NamedTuple):
    """A system: its name, its motion, and where it starts."""

    parameters: tuple[str, ...]
    rate: Rate
    energy: Callable[[Parameters, Tensor], Tensor]
    spread: tuple[float, ...]
    """Half-ranges of the states that it is looked at in, and of the force."""

    @property
    def states(self) -> int:
        """Numbers in a state."""
        return len(self.spread) - 1


SYSTEMS = {
    "pendulum": System(("mass", "length", "friction"), pendulum, pendulum_energy, (3.0, 8.0, 3.0)),
    "cart-pole": System(
        ("cart", "pole", "length", "friction"), cart_pole, cart_pole_energy, (1.0, 4.0, 3.0, 6.0, 10.0)
    ),
}


def rk4(rate: Rate, parameters: Parameters, state: Tensor, force: Tensor, dt: float) -> Tensor:
    """Return states (..., n) after one step of the classical Runge-Kutta method; the error of a step is O(dt^5)."""
    k1 = rate(parameters, state, force)
    k2 = rate(parameters, state + dt / 2 * k1, force)
    k3 = rate(parameters, state + dt / 2 * k2, force)
    k4 = rate(parameters, state + dt * k3, force)
    return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def advance(
    rate: Rate, parameters: Parameters, state: Tensor, force: Tensor, duration: float = 0.1, dt: float = 0.025
) -> Tensor:
    """Return states (..., n) after `duration` under forces (...) that stay as they are, by steps of at most dt."""
    # A tenth of a step too many does not matter; one too few by rounding would.
    steps = max(1, round(duration / dt + 0.4))
    for _ in range(steps):
        state = rk4(rate, parameters, state, force, duration / steps)
    return state


def rollout(
    rate: Rate, parameters: Parameters, state: Tensor, forces: Tensor, duration: float = 0.1, dt: float = 0.025
) -> Tensor:
    """Return trajectories (..., L, n), without their start, from states (..., n) under forces (..., L), each kept up
    for `duration`."""
    trajectory = []
    for force in forces.unbind(-1):
        state = advance(rate, parameters, state, force, duration, dt)
        trajectory.append(state)
    return torch.stack(trajectory, -2)
