"""The contract's checks find what they are there to find: each of these learners breaks one promise."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional.classes import class_means, one_hot
from quickstudy.learners import MAML, ProtoNet
from quickstudy.learners.metric.proto_net import Prototypes
from quickstudy.testing import CHECKS, check_learner
from quickstudy.testing.specimens import classification_task, mlp


class Counts(ProtoNet):
    """Changes its own weights when it predicts."""

    def predict(self, state: Prototypes, inputs: Any) -> Tensor:
        with torch.no_grad():
            next(self.parameters()).add_(0.1)
        return super().predict(state, inputs)


class Random(ProtoNet):
    """Draws from the global generator."""

    def adapt(self, support: Examples) -> Prototypes:
        state = super().adapt(support)
        return state._replace(means=state.means + torch.rand(()))


class WritesState(ProtoNet):
    """Changes the state when it predicts, after use."""

    def predict(self, state: Prototypes, inputs: Any) -> Tensor:
        logits = super().predict(state, inputs).clone()
        with torch.no_grad():
            state.present.fill_(True)
            state.means.mul_(1.0).add_(0.0).data[0] += 1
        return logits


class Centres(ProtoNet):
    """Looks at all queries together."""

    def predict(self, state: Prototypes, inputs: Any) -> Tensor:
        return super().predict(state, inputs - inputs.mean(0))


class FirstRow(ProtoNet):
    """Gives the first row more weight."""

    def adapt(self, support: Examples) -> Prototypes:
        state = super().adapt(support)
        return state._replace(means=state.means + 0.01 * support.inputs[0].mean())


class Floats(ProtoNet):
    """Returns single precision."""

    def predict(self, state: Prototypes, inputs: Any) -> Tensor:
        return super().predict(state, inputs).float()


class KeepsAside(ProtoNet):
    """Keeps part of what it learned on itself."""

    def adapt(self, support: Examples) -> Any:
        return [super().adapt(support), "aside"]

    def predict(self, state: Any, inputs: Any) -> Tensor:
        return super().predict(state[0], inputs)


class NotInStateDict(ProtoNet):
    """Learns something that its state dict does not hold."""

    def __init__(self) -> None:
        super().__init__(mlp())
        self.register_buffer("shift", torch.zeros(()), persistent=False)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {k: v for k, v in super().state_dict(*args, **kwargs).items() if "head" not in k and "body.0" not in k}

    def load_state_dict(self, weights: Any, *args: Any, **kwargs: Any) -> Any:
        return super().load_state_dict(weights, strict=False)


class CutsGradient(ProtoNet):
    """Detaches the prototypes."""

    def adapt(self, support: Examples) -> Prototypes:
        state = super().adapt(support)
        return state._replace(means=state.means.detach())


class IgnoresMask(ProtoNet):
    """Averages padding too."""

    def adapt(self, support: Examples) -> Prototypes:
        return super().adapt(Examples(support.inputs, support.labels, None, support.ways, check=False))


class BelievesAbsent(ProtoNet):
    """Takes a class without rows to be at the origin."""

    def adapt(self, support: Examples) -> Prototypes:
        state = super().adapt(support)
        return state._replace(present=torch.ones_like(state.present))


class FixedWays(ProtoNet):
    """Always answers for three ways."""

    def predict(self, state: Prototypes, inputs: Any) -> Tensor:
        return super().predict(state, inputs)[:, :3]


class Leaks(ProtoNet):
    """A batch's tasks see each other: under vmap the mean is of the wrong dimension."""

    def adapt(self, support: Examples) -> Prototypes:
        features, statistics = self.embed_support(support)
        weight = one_hot(support, features.dtype).sum()
        leak = torch.tensor(1.0 if torch._C._functorch.is_batchedtensor(features) else 0.0)
        return Prototypes(class_means(features, support) + leak + 0 * weight, torch.ones(3).bool(), statistics)


@pytest.mark.parametrize(
    ("learner", "check", "message"),
    [
        (Counts(mlp()), "prediction_repeats", "predicting twice"),
        (Random(mlp()), "prediction_repeats", "adapting twice"),
        (WritesState(mlp()), "prediction_repeats", r"predicting twice|changed the state"),
        (Centres(mlp()), "queries_independent", "query row 0 alone"),
        (FirstRow(mlp()), "support_order", "order of support rows"),
        (Leaks(mlp()), "batched_equals_looped", "predicted otherwise than alone"),
        (Floats(mlp()), "dtype_and_device", r"give outputs of \{torch.float32\}"),
        (KeepsAside(mlp()), "state_round_trip", r"the state holds \['str'\]"),
        (NotInStateDict(), "state_dict_round_trip", "same state dict"),
        (CutsGradient(mlp()), "meta_gradient", "is not the slope"),
        (IgnoresMask(mlp()), "padding", "change predictions"),
        (BelievesAbsent(mlp()), "absent_class", "probability above zero"),
        (FixedWays(mlp()), "ways", "raise InputError instead"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, qs.Learner) else "",
)
def test_finds_broken_promise(learner: qs.Learner, check: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        CHECKS[check](learner, classification_task())
    with pytest.raises(AssertionError):
        check_learner(learner, classification_task())


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))  # type: ignore[no-any-return]


def test_passes_a_net_with_attention() -> None:
    torch.manual_seed(0)
    check_learner(MAML(Attends(), lr=0.1, steps=2), classification_task(3, 2, (4, 4)))


def test_skips_by_name() -> None:
    check_learner(Centres(mlp()), classification_task(), skip=["queries_independent", "padding"])
    with pytest.raises(InputError, match="no check is named"):
        check_learner(ProtoNet(mlp()), classification_task(), skip=["nothing"])


def test_leaves_learner_as_it_was() -> None:
    learner = MAML(qs.nets.conv4(1, 8, 3, size=16))
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    task = classification_task(2, 1, (1, 16, 16))
    check_learner(learner, task)
    assert learner.training
    assert all(module.training for module in learner.modules())
    for name, value in learner.state_dict().items():
        assert torch.equal(value, before[name])
    assert isinstance(task, Task)
