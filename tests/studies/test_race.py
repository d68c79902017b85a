"""A race is what a plain loop of training does, lane by lane."""

import math

import pytest
import torch
from torch import nn

from quickstudy_studies.learned_optimizer.held_out import PROBLEMS
from quickstudy_studies.learned_optimizer.race import Contender, Track, race

BY_NAME = {each.name: each for each in PROBLEMS}


def plain(problem, make, seed, steps, schedule=lambda done: 1.0, rate=1.0):
    """Train in an ordinary loop; return the loss on all rows at the beginning and the end."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = problem.net()
    inputs, labels = problem.data()
    rows = torch.arange(len(labels)).expand(steps, -1)
    if problem.batch is not None:
        draw = torch.Generator().manual_seed(1000 + seed)
        rows = torch.randint(len(labels), (steps, problem.batch), generator=draw)
    optimizer = make(net.parameters())
    criterion = nn.MSELoss() if labels.is_floating_point() else nn.CrossEntropyLoss()
    # Batch statistics of all rows together would differ from those of the race's parts; such nets are left out.
    losses = [criterion(net(inputs), labels).item()]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(step / steps)
        optimizer.zero_grad()
        criterion(net(inputs[rows[step]]), labels[rows[step]]).backward()
        optimizer.step()
    return [*losses, criterion(net(inputs), labels).item()]


@pytest.mark.parametrize("name", ["iris-deep", "linnerud-deep", "descriptions-transformer", "shapes-layernorm"])
def test_lanes_go_the_way_of_torch_optim(name):
    problem = BY_NAME[name]
    contenders = [
        Contender("SGD", lambda p, lr, steps: torch.optim.SGD(p, lr), (0.1,)),
        Contender("AdamW", lambda p, lr, steps: torch.optim.AdamW(p, lr, fused=True), (0.001, 0.01)),
        Contender("cosine", lambda p, lr, steps: torch.optim.Adam(p, lr, fused=True), (0.01,), lambda done: 1 - done),
    ]
    marks, (sgd, adamw, cosine) = race(problem, contenders, seeds=2, steps=3, points=1)
    assert marks == [0, 3]
    for seed in range(2):
        for track, at, make, rate, schedule in (
            (sgd, 0, torch.optim.SGD, 0.1, lambda done: 1.0),
            (adamw, 1, torch.optim.AdamW, 0.01, lambda done: 1.0),
            (cosine, 0, torch.optim.Adam, 0.01, lambda done: 1 - done),
        ):
            expected = plain(problem, make, seed, 3, schedule, rate)
            assert track.losses[at][seed] == pytest.approx(expected, rel=2e-4)
            assert expected[0] != expected[1]


def test_the_learned_optimiser_is_the_class_that_users_have(momentum):
    from quickstudy_studies.learned_optimizer.comparison import SHIPPED

    peer = Contender("peer", lambda p, lr, steps: torch.optim.SGD(p, 0.01 * lr, momentum=0.9), (0.01,))
    _, (learned, told, other) = race(BY_NAME["cancer-deep"], [*SHIPPED, peer], seeds=1, steps=4, points=4)
    assert learned.losses[0][0] == pytest.approx(other.losses[0][0], rel=1e-5)
    assert told.losses == learned.losses


def test_divergence_is_infinite_and_loses():
    bad = Contender("SGD", lambda p, lr, steps: torch.optim.SGD(p, lr), (1e-4, 1e6))
    _, (track,) = race(BY_NAME["rosenbrock"], [bad], seeds=1, steps=5, points=1)
    assert track.losses[1][0][-1] == math.inf
    assert track.best == 0


def test_the_best_rate_is_by_the_median_of_the_ends():
    track = Track("x", (0.1, 0.2), [[[5.0, 1.0], [5.0, 2.0], [5.0, 9.0]], [[5.0, 1.5], [5.0, 1.0], [5.0, math.inf]]])
    assert track.final(0) == 2.0
    assert track.best == 1
    assert track.curve(1) == [5.0, 1.5]


def test_every_problem_can_be_run_and_is_where_it_says_it_is():
    assert len(BY_NAME) == 20
    assert sum(each.long for each in PROBLEMS) == 8
    contender = Contender("Adam", lambda p, lr, steps: torch.optim.Adam(p, lr), (1e-2,))
    for problem in PROBLEMS:
        _, (track,) = race(problem, [contender], seeds=1, steps=3, points=1)
        begun, ended = track.losses[0][0]
        assert math.isfinite(ended), problem.name
        assert ended != begun, problem.name
