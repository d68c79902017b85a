"""Simulators that are learned: the parts, and hidden parameters found again."""

import pytest
import torch

import quickstudy as qs
from quickstudy import batching
from quickstudy.errors import InputError
from quickstudy.functional.physics import SYSTEMS

REAL = {"mass": 1.3, "length": 0.7, "friction": 0.3}


def test_monomials_are_products_of_scaled_inputs():
    net = qs.nets.Monomials((1.0, 2.0), degree=2, angles=(0,))
    x = torch.tensor([[0.3, 4.0]])
    s, c, v = float(torch.sin(x[0, 0])), float(torch.cos(x[0, 0])), 2.0
    expected = [a * b for a, b in [(v, v), (v, s), (v, c), (v, 1), (s, s), (s, c), (s, 1), (c, c), (c, 1), (1, 1)]]
    torch.testing.assert_close(net(x), torch.tensor([expected]))
    assert net.features == 10
    for wrong in ({"scale": (1.0, 0.0)}, {"scale": (1.0,), "degree": 0}, {"scale": (1.0,), "angles": (1,)}):
        with pytest.raises(InputError):
            qs.nets.Monomials(**wrong)
    with pytest.raises(InputError, match="not the 2 inputs"):
        net(torch.zeros(1, 3))


def test_the_simulator_of_the_real_parameters_is_the_real_system():
    for system, kind in SYSTEMS.items():
        real = {name: 0.5 + 0.2 * i for i, name in enumerate(kind.parameters)}
        motion = qs.tasks.Motion(system, real, trajectories=2, length=3, noise=0.0)
        task = batching.select(motion.batch(5, 1), 0)
        simulator = qs.nets.Simulator(system, real)
        for rows in (task.support, task.query):
            torch.testing.assert_close(simulator(rows.inputs), rows.labels, atol=2e-5, rtol=1e-4)
            # Each row of a trajectory begins where the one before ended.
            path, steps = rows.inputs[:, : kind.states].reshape(2, 3, -1), rows.labels.reshape(2, 3, -1)
            torch.testing.assert_close(path[:, 1:], path[:, :-1] + steps[:, :-1])
        assert simulator.values == pytest.approx(real)


def test_what_was_measured_of_the_support_is_not_looked_at():
    task = batching.select(qs.tasks.Motion("pendulum", REAL, 2).batch(0, 1), 0)
    features = qs.nets.Monomials(SYSTEMS["pendulum"].spread, 2, (0,))
    learner = qs.learners.Simulated(qs.nets.Simulator("pendulum"), qs.learners.Ridge(), features)
    other = qs.Examples(task.support.inputs, 0 * task.support.labels)
    torch.testing.assert_close(learner.adapt(task.support), learner.adapt(other))
    with pytest.raises(InputError, match="answers"):
        learner.adapt(qs.Examples(task.support.inputs, task.support.labels[:, :1]))
    with pytest.raises(InputError, match="regression"):
        learner.adapt(qs.Examples(task.support.inputs, torch.arange(20) % 2))
    with pytest.raises(InputError, match="would learn nothing"):
        qs.learners.Simulated(qs.nets.Simulator("pendulum"), qs.learners.FOMAML(torch.nn.Linear(3, 2)))


@pytest.mark.parametrize("how", ["gradient", "evolution", "cma"])
def test_hidden_parameters_of_a_pendulum_are_found(how):
    pytest.importorskip("cmaes") if how == "cma" else None
    outer, steps = {
        "gradient": (qs.outer.Gradient(0.1, schedule="cosine"), 100),
        "evolution": (qs.outer.EvolutionStrategies(12, 0.05, lr=0.1, schedule="cosine"), 100),
        "cma": (qs.outer.CMAES(0.3), 60),
    }[how]
    features = qs.nets.Monomials(SYSTEMS["pendulum"].spread, 3, (0,))
    simulator = qs.nets.Simulator("pendulum", {"mass": 0.7, "length": 1.2, "friction": 0.8})
    learner = qs.learners.Simulated(simulator, qs.learners.Ridge(1e-3), features)
    motion = qs.tasks.Motion("pendulum", REAL)
    qs.meta_train(learner, motion, outer, steps=steps, meta_batch=3, progress=False, compile=False)
    assert simulator.values == pytest.approx(REAL, rel=0.1)


def test_only_what_is_learned_changes_and_nonsense_is_refused():
    simulator = qs.nets.Simulator("cart-pole", learned=("pole",))
    assert [name for name, value in simulator.named_parameters() if value.requires_grad] == ["log.pole"]
    with pytest.raises(InputError, match="did you mean 'length'"):
        qs.nets.Simulator("pendulum", {"lenght": 1.0})
    with pytest.raises(InputError, match="positive"):
        qs.nets.Simulator("pendulum", {"mass": 0.0})
    with pytest.raises(InputError, match="a state and a force"):
        qs.nets.Simulator("pendulum")(torch.zeros(2, 5))
    for options in ({"system": "pendulums"}, {"parameters": {"cart": 1.0}}, {"length": 0}, {"noise": -1.0}):
        with pytest.raises(InputError):
            qs.tasks.Motion(**options)
    # The description of a run does not tell what is hidden, but other real parameters are other tasks.
    motion, other = qs.tasks.Motion("pendulum", REAL), qs.tasks.Motion("pendulum")
    assert "1.3" not in str(motion.describe())
    assert motion.fingerprint != other.fingerprint
