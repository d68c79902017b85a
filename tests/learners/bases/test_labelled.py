"""Bases of learners that embed rows and read them with their labels."""

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.learners.bases.labelled import LabelledLearner


def learner(net: nn.Module | None = None, features: int | None = 3) -> LabelledLearner:
    return LabelledLearner(net, 4, features, "support")


def test_reads_features_one_hot_labels_real_rows_and_present_classes() -> None:
    inputs, mask = torch.arange(12.0).reshape(4, 3), torch.tensor([True, True, True, False])
    rows = learner().read(Examples(inputs, torch.tensor([0, 2, 0, 1]), ways=3, mask=mask))
    assert torch.equal(rows.features, inputs)
    expected = [[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]  # the last row is padding
    assert rows.labels.tolist() == expected
    assert torch.equal(rows.real, mask)
    assert rows.present.tolist() == [True, False, True]


@pytest.mark.parametrize(("net", "features"), [(None, None), (nn.Linear(3, 2), None), (None, 0)])
def test_the_size_of_the_embedding_must_be_known(net: nn.Module | None, features: int | None) -> None:
    with pytest.raises(InputError, match="features="):
        learner(net, features)


def test_another_size_than_the_one_given_is_refused() -> None:
    with pytest.raises(InputError, match="the net gives 3 features, not 5"):
        learner(features=5).read(Examples(torch.zeros(2, 3), torch.tensor([0, 1])))


def test_on_features_is_the_same_learner_without_its_net() -> None:
    net = nn.Linear(3, 5)
    whole = qs.learners.MatchingNet(net)
    support = Examples(torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]))
    queries = torch.randn(4, 3)
    rest = whole.on_features()
    embedded = Examples(net(support.inputs).detach(), support.labels)
    answers = rest.predict(rest.adapt(embedded), net(queries).detach())
    torch.testing.assert_close(answers, whole.predict(whole.adapt(support), queries).detach())
    assert whole.net is net
    assert not list(rest.net.parameters())
