"""Nets return one tensor with a row for each input, or a message that says what came instead."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import InputError

Named = namedtuple("Named", "logits features")


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


RETURNED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "pair": (lambda x: (x, x), r"tuple of Tensor, Tensor.*returns net\(inputs\)\[0\]"),
    "list": (lambda x: [x], r"list of Tensor"),
    "named": (lambda x: Named(x, x), r"Named of logits, features.*net\(inputs\)\.logits"),
    "dict": (lambda x: {"logits": x}, r"dict of 'logits'.*net\(inputs\)\['logits'\]"),
    "dataclass": (Output, r"Output of logits, loss.*net\(inputs\)\.logits"),
    "none": (lambda x: None, "None; end its forward with a return"),
    "number": (lambda x: x.mean(), r"\(\) for \d+ rows"),
    "one-row": (lambda x: x.mean(0, keepdim=True), r"\(1, 8\) for \d+ rows"),
    "columns-first": (lambda x: x.T, r"\(8, \d+\) for \d+ rows"),
    "complex": (lambda x: torch.complex(x, x), "complex numbers"),
    "integers": (lambda x: x.argmax(1, keepdim=True), r"torch\.int64; return numbers before any argmax"),
}
LEARNERS: dict[str, Callable[[nn.Module], Any]] = {
    "MAML": qs.learners.MAML,
    "Reptile": qs.learners.Reptile,
    "ProtoMAML": qs.learners.ProtoMAML,
    "ProtoNet": qs.learners.ProtoNet,
    "MANN": lambda net: qs.learners.MANN(net, 3, features=8),
    "InContext": lambda net: qs.learners.InContext(net, 3, 8),
    "FineTune": lambda net: qs.learners.FineTune(net, classes=5),
    "EnsembleMAML": qs.learners.EnsembleMAML,
}


class Net(nn.Module):
    features = 8

    def __init__(self, returned: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.returned = nn.Linear(6, 8), returned

    def forward(self, x: Tensor) -> Any:
        return self.returned(torch.relu(self.layer(x)))


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("name", RETURNED)
def test_wrong_outputs_are_refused_in_one_line(name: str, learner: str) -> None:
    returned, words = RETURNED[name]
    torch.manual_seed(0)
    support = qs.Examples(torch.randn(9, 6), torch.arange(9) % 3)
    with pytest.raises(InputError, match=rf"the net \(Net\) must return .*not .*{words}") as caught:
        LEARNERS[learner](Net(returned)).adapt(support)
    assert "\n" not in str(caught.value)


def test_maps_are_refused_where_features_are_needed() -> None:
    support = qs.Examples(torch.randn(9, 6), torch.arange(9) % 3)
    for rows, mend in ((lambda x: x.unflatten(1, (2, 4)), r"\.flatten\(1\)"), (lambda x: x[:, 0], r"\.unsqueeze\(1\)")):
        with pytest.raises(InputError, match=rf"features \(rows, D\), not .*{mend}"):
            qs.learners.ProtoNet(Net(rows)).adapt(support)


def test_meta_training_and_the_classifier_refuse_alike() -> None:
    x, y = torch.randn(60, 6), torch.arange(60) % 12
    tasks = qs.tasks.FewShot(qs.datasets.arrays(x.numpy(), y.numpy()), ways=3, shots=1, queries=2)
    for learner in (qs.learners.MAML(Net(lambda x: (x, x))), qs.learners.ProtoNet(Net(lambda x: (x, x)))):
        with pytest.raises(InputError, match="must return"):
            qs.meta_train(learner, tasks, steps=1, meta_batch=2, progress=False)
        with pytest.raises(InputError, match="must return"):
            qs.evaluate(learner, tasks, tasks=2)
        with pytest.raises(InputError, match="must return"):
            qs.FewShotClassifier(learner).fit(x.numpy(), y.numpy())
