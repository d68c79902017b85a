"""The pendulum and the cart-pole, against scipy's integrator, energy, and what motion can tell."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from quickstudy.functional.physics import GRAVITY, SYSTEMS, advance, rollout

VALUES = {"mass": 1.3, "length": 0.7, "friction": 0.3, "cart": 1.5, "pole": 0.4}


def parameters(system, **changed):
    names = SYSTEMS[system].parameters
    return {name: torch.tensor({**VALUES, **changed}[name], dtype=torch.float64) for name in names}


def pendulum_by_hand(t, y, u):
    m, l, b = VALUES["mass"], VALUES["length"], VALUES["friction"]  # noqa: E741
    return [y[1], (u - b * y[1] - m * GRAVITY * l * np.sin(y[0])) / (m * l * l)]


def cart_pole_by_hand(t, y, u):
    """The two equations of motion, as a linear system in both accelerations."""
    big, m, l, b = VALUES["cart"], VALUES["pole"], VALUES["length"], VALUES["friction"]  # noqa: E741
    s, c = np.sin(y[2]), np.cos(y[2])
    left = [[big + m, m * l * c], [m * l * c, 4 / 3 * m * l * l]]
    x, q = np.linalg.solve(left, [u - b * y[1] + m * l * s * y[3] ** 2, m * GRAVITY * l * s])
    return [y[1], x, y[3], q]


@pytest.mark.parametrize(
    ("system", "by_hand", "start"),
    [("pendulum", pendulum_by_hand, [2.0, -1.0]), ("cart-pole", cart_pole_by_hand, [0.1, 0.3, 0.5, -1.0])],
)
def test_trajectories_are_those_of_scipy(system, by_hand, start):
    forces = torch.tensor([2.0, -3.0, 0.5, 1.0], dtype=torch.float64)
    rate, state = SYSTEMS[system].rate, torch.tensor(start, dtype=torch.float64)
    found = rollout(rate, parameters(system), state, forces, duration=0.2, dt=0.005)
    theirs, at = [], np.array(start)
    for u in forces.tolist():
        at = solve_ivp(by_hand, (0, 0.2), at, args=(u,), rtol=1e-11, atol=1e-12).y[:, -1]
        theirs.append(at)
    np.testing.assert_allclose(found.numpy(), np.stack(theirs), atol=2e-7)


@pytest.mark.parametrize("system", SYSTEMS)
def test_energy_stays_without_friction_and_goes_with_it(system):
    free, rubbed = parameters(system, friction=0.0), parameters(system)
    kind, zero = SYSTEMS[system], torch.zeros((), dtype=torch.float64)
    state = torch.tensor([1.0, 2.0, 0.4, 3.0][: kind.states], dtype=torch.float64)
    before = kind.energy(free, state)
    after = kind.energy(free, advance(kind.rate, free, state, zero, 5.0, 0.005))
    assert float(after) == pytest.approx(float(before), rel=1e-6)
    assert kind.energy(rubbed, advance(kind.rate, rubbed, state, zero, 5.0, 0.005)) < before - 0.1


@pytest.mark.parametrize("system", SYSTEMS)
def test_derivatives_are_finite_differences_and_batches_are_loops(system):
    kind, generator = SYSTEMS[system], torch.Generator().manual_seed(0)
    states = torch.randn(3, kind.states, dtype=torch.float64, generator=generator)
    forces = torch.randn(3, 4, dtype=torch.float64, generator=generator)

    def path(values, state, force):
        return rollout(kind.rate, dict(zip(kind.parameters, values, strict=True)), state, force, 0.1)

    values = torch.stack(list(parameters(system).values()))
    candidates = torch.stack([values, 1.2 * values])
    assert torch.autograd.gradcheck(path, (values.requires_grad_(), states.requires_grad_(), forces))
    together = torch.func.vmap(torch.func.vmap(path, (None, 0, 0)), (0, None, None))(candidates, states, forces)
    alone = torch.stack([torch.stack([path(v, s, f) for s, f in zip(states, forces, strict=True)]) for v in candidates])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(path(candidates[1], states, forces), alone[1])


@pytest.mark.parametrize(
    ("system", "hidden"),
    # Logarithms of parameters that change together without a trace, where nothing drives the system.
    [("pendulum", {"mass": 1, "friction": 1}), ("cart-pole", {"cart": 1, "pole": 1, "friction": 1})],
)
def test_which_combinations_motion_tells(system, hidden):
    kind, generator = SYSTEMS[system], torch.Generator().manual_seed(1)
    states = torch.randn(50, kind.states, dtype=torch.float64, generator=generator)

    def moved(logs, force):
        return advance(kind.rate, dict(zip(kind.parameters, logs.exp(), strict=True)), states, force, 0.1)

    at = torch.stack(list(parameters(system).values())).log()
    for drive, rank in ((1.0, len(at)), (0.0, len(at) - 1)):
        force = drive * torch.randn(50, dtype=torch.float64, generator=generator)
        jacobian = torch.autograd.functional.jacobian(lambda logs, u=force: moved(logs, u), at).flatten(0, 1)
        _, sizes, ways = torch.linalg.svd(jacobian, full_matrices=False)
        assert int((sizes > 1e-6 * sizes[0]).sum()) == rank
    way = torch.tensor([float(hidden.get(name, 0)) for name in kind.parameters], dtype=torch.float64)
    assert float((ways[-1] @ way / way.norm()).abs()) == pytest.approx(1, abs=1e-6)
