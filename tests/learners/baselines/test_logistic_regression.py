import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.learners import LogisticRegressionOnFeatures


def test_a_finished_backbone_needs_no_number_of_classes():
    torch.manual_seed(0)
    net = nn.Linear(4, 8)  # without the attribute `features` that a pretraining head needs
    rows = qs.Examples(torch.randn(6, 4), torch.arange(6) % 3)
    learner = LogisticRegressionOnFeatures(net)
    assert learner.predict(learner.adapt(rows), rows.inputs).shape == (6, 3)
    net.features = 8
    trained = LogisticRegressionOnFeatures(net, classes=5)
    torch.testing.assert_close(
        trained.predict(trained.adapt(rows), rows.inputs), learner.predict(learner.adapt(rows), rows.inputs)
    )
    with pytest.raises(InputError, match="without a pretraining head"):
        learner.classify(rows)
