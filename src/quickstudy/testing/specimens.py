"""A tiny instance of every learner, and tiny tasks. A new learner needs a line here.

The map of the axes (`quickstudy.cli.axes`) and the project's tests are made from these. Tests of your own outer
optimisers and objectives can use them, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from quickstudy import batching, nets, rules, tasks
from quickstudy.core import Examples, Learner, Task
from quickstudy.learners import (
    ADML,
    ANIL,
    BMAML,
    CAVIA,
    CNP,
    DARTS,
    DNC,
    FOMAML,
    IMAML,
    L2O,
    MAML,
    MANN,
    MMAML,
    NP,
    PLATIPUS,
    SNAIL,
    VERSA,
    AttentiveNP,
    AttributeSets,
    AuxiliaryLosses,
    BaselinePlusPlus,
    CausalInContext,
    DatasetDistillation,
    EnsembleMAML,
    ExactGP,
    FineTune,
    GibbsClassifier,
    HyperNetwork,
    HyperParameters,
    InContext,
    LaplaceHead,
    LearnedAugmentation,
    LearnedLoss,
    LogisticRegressionOnFeatures,
    MatchingNet,
    MetaNet,
    MetaSGD,
    MetaWeightNet,
    NearestNeighbour,
    Plastic,
    ProtoMAML,
    ProtoNet,
    RecurrentLearner,
    RelationNet,
    Reptile,
    Ridge,
    Siamese,
    Simulated,
    Transducer,
)
from quickstudy.problem import Optimizee, Problem

WAYS, FEATURES = 3, 4

Net = Callable[..., nn.Module]
"""Takes outputs (None for an embedding), context and flatten; returns a net."""
Build = Callable[..., Learner]
"""Takes a Net, outputs and the batch norm policy as batch_norm."""

# Names are registered ones, with a variant after a dash.
CLASSIFICATION: dict[str, Build] = {
    "ADML": lambda net, n, **o: ADML(net(outputs=n), lr=0.1, steps=2, **o),
    "ANIL": lambda net, n, **o: ANIL(net(outputs=n), lr=0.1, steps=2, **o),
    "BMAML": lambda net, n, **o: BMAML(net(outputs=n), particles=2, lr=0.1, steps=1, **o),
    "AttributeSets": lambda net, n, **o: AttributeSets(width=6),
    "AuxiliaryLosses": lambda net, n, **o: _reconstructing(net, n, 256 if net is conv4 else FEATURES, **o),
    "BaselinePlusPlus": lambda net, n, **o: BaselinePlusPlus(net(), classes=7, steps=3, **o),
    "CAVIA": lambda net, n, **o: CAVIA(net(outputs=n, context=3), lr=0.5, steps=2, **o),
    "DARTS": lambda net, n, **o: DARTS(nets.dense_cells(net(), 8, n, nodes=2), steps=2, **o),
    "DARTS-batch": lambda net, n, **o: DARTS(nets.dense_cells(net(), 8, n, nodes=2), steps=3, batch=4, **o),
    "DNC": lambda net, n, **o: DNC(net(), n, hidden=5, slots=6, width=3, read_heads=2, **o),
    "EnsembleMAML": lambda net, n, **o: EnsembleMAML(net(outputs=n), particles=2, lr=0.1, steps=1, **o),
    "FOMAML": lambda net, n, **o: FOMAML(net(outputs=n), lr=0.1, steps=2, **o),
    "FineTune": lambda net, n, **o: FineTune(net(), classes=7, steps=3, **o),
    "FineTune-all": lambda net, n, **o: FineTune(net(), classes=7, steps=2, adapts="all", optimizer="sgd", **o),
    "GibbsClassifier": lambda net, n, **o: GibbsClassifier(net(), n, 8, **o),
    "HyperNetwork": lambda net, n, **o: HyperNetwork(net(), n, 8, width=6, **o),
    "HyperNetwork-low": lambda net, n, **o: HyperNetwork(
        net(), n, 8, model=nets.mlp(8, (6, 8), n), width=6, rank=1, **o
    ),
    "HyperParameters": lambda net, n, **o: HyperParameters(net(outputs=n), l1=1e-3, steps=3, **o),
    "HyperParameters-batch": lambda net, n, **o: HyperParameters(net(outputs=n), steps=3, batch=4, **o),
    "IMAML": lambda net, n, **o: IMAML(net(outputs=n), lr=0.1, steps=3, **o),
    "LaplaceHead": lambda net, n, **o: LaplaceHead(net(), n, 8, samples=3, newton=3, **o),
    "LearnedLoss": lambda net, n, **o: LearnedLoss(net(outputs=n), hidden=(4,), steps=2, **o),
    "LogisticRegressionOnFeatures": lambda net, n, **o: LogisticRegressionOnFeatures(net(), classes=7, steps=20, **o),
    "MAML": lambda net, n, **o: MAML(net(outputs=n), lr=0.1, steps=2, **o),
    "MMAML": lambda net, n, **o: MMAML(net(outputs=n, context=3), n, embedding=net(), width=6, lr=0.1, steps=2, **o),
    "MANN": lambda net, n, **o: MANN(net(), n, hidden=5, slots=8, width=3, heads=2, **o),
    "MatchingNet": lambda net, n, **o: MatchingNet(net(), **o),
    "MatchingNet-context": lambda net, n, **o: MatchingNet(net(), full_context=True, reads=2, **o),
    "MetaNet": lambda net, n, **o: MetaNet(net(), n, 8, width=5, hidden=4, **o),
    "MetaSGD": lambda net, n, **o: MetaSGD(net(outputs=n), lr=0.1, steps=1, **o),
    "NearestNeighbour": lambda net, n, **o: NearestNeighbour(),
    "PLATIPUS": lambda net, n, **o: PLATIPUS(net(outputs=n), samples=2, lr=0.1, steps=1, **o),
    "Plastic": lambda net, n, **o: Plastic(net(), n, 8, **o),
    "Plastic-neuromodulated": lambda net, n, **o: Plastic(net(), n, 8, rule=nets.Neuromodulated(8, n), **o),
    "Plastic-oja": lambda net, n, **o: Plastic(net(), n, 8, rule=nets.Oja(), activation="tanh", **o),
    "ProtoMAML": lambda net, n, **o: ProtoMAML(net(), lr=0.05, steps=2, **o),
    "ProtoMAML-first": lambda net, n, **o: ProtoMAML(net(), lr=0.05, steps=2, first_order=True, **o),
    "ProtoNet": lambda net, n, **o: ProtoNet(net(), **o),
    "ProtoNet-cosine": lambda net, n, **o: ProtoNet(net(), distance="cosine", **o),
    "RecurrentLearner": lambda net, n, **o: RecurrentLearner(net(), n, hidden=6, **o),
    "RecurrentLearner-gru": lambda net, n, **o: RecurrentLearner(net(), n, cell="gru", hidden=6, **o),
    "RelationNet": lambda net, n, **o: RelationNet(net(flatten=False), channels=8, hidden=4, norm="batch", **o),
    "Reptile": lambda net, n, **o: Reptile(net(outputs=n), lr=0.05, steps=3, batch=4, test_steps=3, **o),
    "Reptile-sgd": lambda net, n, **o: Reptile(
        net(outputs=n), lr=0.1, steps=2, batch=None, test_steps=None, optimizer="sgd", **o
    ),
    "CausalInContext": lambda net, n, **o: CausalInContext(net(), n, 8, width=8, depth=2, heads=2, **o),
    "InContext": lambda net, n, **o: InContext(net(), n, 8, width=8, depth=2, heads=2, **o),
    "InContext-random": lambda net, n, **o: InContext(net(), n, 8, width=8, depth=2, heads=2, labels="random", **o),
    "SNAIL": lambda net, n, **o: SNAIL(net(), n, 8, filters=4, length=9, **o),
    "VERSA": lambda net, n, **o: VERSA(net(), n, 8, width=6, samples=3, **o),
    "Siamese": lambda net, n, **o: Siamese(net(), **o),
    "Siamese-triplet": lambda net, n, **o: Siamese(net(), objective="triplet", normalise=False, **o),
}

REGRESSION = {name: CLASSIFICATION[name] for name in ("BMAML", "EnsembleMAML", "LaplaceHead", "PLATIPUS", "VERSA")}
REGRESSION |= {
    name: CLASSIFICATION[name]
    for name in (
        "ADML",
        "ANIL",
        "CAVIA",
        "DARTS",
        "DARTS-batch",
        "FOMAML",
        "HyperParameters",
        "HyperParameters-batch",
        "IMAML",
        "LearnedLoss",
        "MAML",
        "MMAML",
        "MetaSGD",
        "Reptile",
        "Reptile-sgd",
    )
}
REGRESSION |= {
    name: CLASSIFICATION[name]
    for name in (
        "CausalInContext",
        "DNC",
        "HyperNetwork",
        "HyperNetwork-low",
        "InContext",
        "MANN",
        "MetaNet",
        "Plastic",
        "Plastic-oja",
        "RecurrentLearner",
        "RecurrentLearner-gru",
        "SNAIL",
    )
}
# Learners of regression alone, which build their own nets.
REGRESSION |= {
    "AttentiveNP": lambda net, n, **o: AttentiveNP(outputs=n, width=6, heads=2, samples=3),
    "AttributeSets": lambda net, n, **o: AttributeSets(width=6),
    "AuxiliaryLosses": lambda net, n, **o: _reconstructing(net, n, 1, **o),
    "CNP": lambda net, n, **o: CNP(outputs=n, width=6),
    "ExactGP": lambda net, n, **o: ExactGP(length_scales=(0.5, 1.5)),
    "NP": lambda net, n, **o: NP(outputs=n, width=6, samples=3),
    "Ridge": lambda net, n, **o: Ridge(),
    "Simulated": lambda net, n, **o: Simulated(net(outputs=n), Ridge(), net()),
    "Transducer": lambda net, n, **o: Transducer(nets.NTMCell(1, 5, 6, 3, 2, 2), n),
    "Transducer-dnc": lambda net, n, **o: Transducer(nets.DNCCell(1, 5, 6, 3), n),
    "Transducer-gru": lambda net, n, **o: Transducer(nets.GRUCell(1, 5), n),
}

# Learners of optimisation problems, which bring their own nets.
PROBLEMS: dict[str, Callable[[], Learner]] = {
    "DatasetDistillation": lambda: DatasetDistillation((FEATURES,), WAYS, shots=2, steps=2),
    "L2O": lambda: L2O(rules.LSTMRule(hidden=3, layers=1), steps=3),
    "L2O-adam": lambda: L2O(rules.Adam(0.1), steps=3),
    "L2O-batch": lambda: L2O(rules.Adam(0.1), steps=5, batch=4),
    "LearnedAugmentation": lambda: LearnedAugmentation(nets.Jitter(), steps=3),
    "LearnedAugmentation-batch": lambda: LearnedAugmentation(nets.Jitter(), rules.Adam(0.1), steps=3, batch=4),
    "MetaWeightNet": lambda: MetaWeightNet(nets.LossWeights(4), steps=3),
    "MetaWeightNet-batch": lambda: MetaWeightNet(nets.LossWeights(4), rules.Adam(0.1), steps=3, batch=4),
}


def mlp(outputs: int | None = None, context: int = 0, flatten: bool = True, inputs: int = FEATURES) -> nn.Module:
    """Return a tiny perceptron; it has no feature maps, so `flatten` makes no difference."""
    return nets.mlp(inputs, (6, 8), outputs, context)


def _reconstructing(net: Net, outputs: int, size: int, **options: Any) -> AuxiliaryLosses:
    """Return a learner with one auxiliary loss, of predicting the `size` numbers of an input."""
    return AuxiliaryLosses(net(outputs=outputs + size), outputs, {"inputs": size}, steps=3, **options)


def conv4(outputs: int | None = None, context: int = 0, flatten: bool = True) -> nn.Module:
    """Return a tiny conv4 with batch norm, for images of 16 pixels."""
    return nets.conv4(1, 8, outputs, size=16, flatten=flatten, context=context)


def classification_task(shots: int = 3, queries: int = 2, shape: tuple[int, ...] = (FEATURES,)) -> Task:
    """Return a task of three ways with a little structure."""
    generator = torch.Generator().manual_seed(11)
    centres = torch.randn(WAYS, *shape, generator=generator)

    def rows(count: int) -> Examples:
        labels = torch.arange(WAYS).repeat(count)
        return Examples(centres[labels] + 0.5 * torch.randn(len(labels), *shape, generator=generator), labels)

    return Task(rows(shots), rows(queries))


def regression_task(shots: int = 6, queries: int = 5) -> Task:
    """Return one sinusoid."""
    task = tasks.Sinusoid(shots=shots, queries=queries).batch(3, 1)
    return batching.select(task, 0)  # type: ignore[no-any-return]


def problem_task(ways: int | None = WAYS) -> Task:
    """Return a problem of classification, or of regression where ways is None."""
    net = mlp(WAYS if ways else 1, inputs=FEATURES if ways else 1)
    generator = torch.Generator().manual_seed(12)
    start = {
        name: torch.randn(value.shape, generator=generator) / value[0].numel() ** 0.5
        for name, value in net.named_parameters()
    }

    def problem(rows: Examples) -> Problem:
        return Problem(Optimizee(rows.inputs, net), rows.labels, start, rows.mask, rows.ways)

    task = classification_task() if ways else regression_task()
    return Task(problem(task.support), problem(task.query))
