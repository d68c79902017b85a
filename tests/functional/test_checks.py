"""What rows and labels may be, and that the shape of labels is one class a row."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.core import prediction_loss
from quickstudy.errors import InputError
from quickstudy.evaluation import find_metric
from quickstudy.functional import random
from quickstudy.functional.checks import as_array, as_tensor, flat_rows, takes
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp

X, Y = torch.randn(6, 4), torch.arange(6) % 3
MAPS = torch.zeros(6, 2, 2).long()


@pytest.mark.parametrize(
    ("labels", "ways", "said"),
    [
        (Y[:, None], None, r"labels \(6, 1\) are a column; .*labels\[:, 0\]"),
        (Y[:, None], 3, "are a column"),
        (Y[:, None].numpy(), None, "are a column"),
        ((Y > 0)[:, None], None, "are a column"),
        (F.one_hot(Y), None, r"labels \(6, 3\) are one-hot; .*labels\.argmax\(1\)"),
        (F.one_hot(Y), 3, "are one-hot"),
        (F.one_hot(Y % 2), 2, "are one-hot"),
        (F.one_hot(Y).bool(), None, "are one-hot"),
        (torch.randint(0, 2, (6, 3), generator=torch.Generator().manual_seed(0)), None, "several integers a row"),
        (torch.stack([Y, Y], 1), None, "several integers a row"),
        (torch.zeros(6, 0).long(), None, "no number in a row"),
        (torch.zeros(6, 2, 0).long(), None, "no number in a row"),
        ([[1], [1, 2], [1], [1], [1], [1]], None, "expected numbers, got list for labels"),
        (["a"] * 6, None, "number yours"),
        (Y + 1j, None, "integers 0..N-1, or real targets, not torch.complex64"),
        (Y.float(), 3, "targets of regression; give classes as integers"),
        (Y.float() + 0.5, 3, "targets of regression"),
        (Y - 1, None, r"labels lie in -1\.\.1"),
        (Y, 2, r"labels lie in 0\.\.2 but a task of 2 ways"),
        (Y * 10**9, None, "says that there are 2000000001 classes"),
        (Y, 2.5, "ways must be a whole number"),
        (Y, 0, "ways must be at least 1"),
        (Y, True, "ways must be a whole number"),
        (Y.to_sparse(), None, "labels: a tensor of layout"),
        (Y.to("meta"), None, "labels: a tensor on 'meta'"),
        (torch.tensor(1), None, "single number"),
        (Y[:5], None, "the first dimensions must agree"),
    ],
    ids=str,
)
def test_labels_that_are_not_one_class_a_row(labels: Any, ways: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        qs.Examples(X, labels, ways=ways)


def test_labels_that_are_right() -> None:
    for labels, ways in ((Y, 3), (Y, np.int64(3)), (Y, torch.tensor(3)), (Y.to(torch.uint8), None), (Y.tolist(), None)):
        assert qs.Examples(X, labels, ways=ways).ways == 3
    for targets in (Y.float(), Y.float()[:, None], F.one_hot(Y).float()):
        assert qs.Examples(X, targets).ways is None
    assert qs.Examples(X, MAPS, ways=2).labels.shape == (6, 2, 2), "the classes of pixels"
    assert qs.Examples(X, torch.tensor([[0, 1, 1]] * 6), ways=2).ways == 2, "rows of bits"


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_every_learner_refuses_several_labels_a_row(name: str) -> None:
    """They pass as rows of symbols, or as the classes of pixels, and no learner here reads such."""
    learner, key = CLASSIFICATION[name](mlp, WAYS), random.key(0)
    for labels in (torch.tensor([[0, 1, 2], [2, 1, 1]] * 3), (torch.arange(24) % 3).reshape(6, 2, 2)):
        support = qs.Examples(X, labels, ways=WAYS)
        with pytest.raises(InputError):
            learner.loss(learner.learn(support, key), support)


@pytest.mark.parametrize(
    ("outputs", "labels", "fits"),
    [
        ((6, 3), (6,), True),
        ((6, 3, 2, 2), (6, 2, 2), True),
        ((6, 3), (6, 1), False),
        ((6, 3), (5,), False),
        ((6,), (6,), False),
        ((6, 3, 2), (6, 3), False),
        ((1, 3), (6,), False),
    ],
)
def test_each_label_has_its_own_logits(outputs: tuple[int, ...], labels: tuple[int, ...], fits: bool) -> None:
    rows = qs.Examples(torch.zeros(labels[0], 1), torch.zeros(labels).long(), ways=3, check=False)
    if fits:
        assert float(prediction_loss(torch.zeros(outputs), rows)) == pytest.approx(np.log(3))
    else:
        with pytest.raises(InputError, match="do not fit labels"):
            prediction_loss(torch.zeros(outputs), rows)


FITTING = [((6, 1), (6,)), ((6,), (6, 1)), ((6, 2), (6, 2)), ((6, 2), (6, 1, 2))]
OTHERS = [((6, 6), (6,)), ((6, 1), (6, 6)), ((6, 2), (12,)), ((1, 6), (6,)), ((), (6,))]


@pytest.mark.parametrize(("outputs", "targets"), [*FITTING, *OTHERS])
def test_targets_are_never_broadcast(outputs: tuple[int, ...], targets: tuple[int, ...]) -> None:
    """A column beside a vector would be compared each with each."""
    g = torch.Generator().manual_seed(0)
    found, wanted = torch.randn(outputs, generator=g), torch.randn(targets, generator=g)
    rows = qs.Examples(torch.zeros(targets[0], 1), wanted, check=False)
    query = qs.Examples(torch.zeros(1, targets[0], 1), wanted[None], check=False)
    judges = {name: find_metric(name).of for name in ("mse", "mae", "rmse", "smape")}
    if (outputs, targets) in FITTING:
        expected = (found.flatten() - wanted.flatten()).square().mean()
        torch.testing.assert_close(prediction_loss(found, rows), expected)
        torch.testing.assert_close(judges["mse"](found[None], query)[0].float(), expected)
        return
    with pytest.raises(InputError, match="do not fit targets"):
        prediction_loss(found, rows)
    for judge in judges.values():
        with pytest.raises(InputError, match="targets"):
            judge(found[None], query)


def test_the_loss_of_relations_counts_all_classes_of_the_support() -> None:
    """A query of the first class alone has one class fewer, which must not be compared with every score."""
    learner = CLASSIFICATION["RelationNet"](mlp, WAYS)
    state = learner.adapt(qs.Examples(X, Y))
    query = qs.Examples(X[:2], torch.zeros(2).long())
    scores = torch.sigmoid(learner.predict(state, query.inputs))
    expected = (scores - torch.tensor([1.0, 0.0, 0.0])).square().sum(1).mean()
    torch.testing.assert_close(learner.loss(state, query), expected)


def test_metrics_of_classes_refuse_logits_of_other_rows() -> None:
    query = qs.Examples(torch.zeros(2, 6, 1), torch.zeros(2, 6).long(), ways=3, check=False)
    assert find_metric("accuracy").of(torch.zeros(2, 6, 3), query).tolist() == [1, 1]
    for shape in ((2, 5, 3), (2, 6), (2, 6, 3, 2), (1, 6, 3)):
        with pytest.raises(InputError, match="do not fit labels"):
            find_metric("accuracy").of(torch.zeros(shape), query)


def test_arrays_of_every_order_are_read_as_they_are() -> None:
    x = np.arange(6.0).reshape(2, 3)
    read_only = x.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (
            x,
            x.astype(">f8"),
            np.asfortranarray(x),
            x[::-1][::-1],
            read_only,
            [*torch.tensor(x)],
        ):
            assert as_tensor(value).tolist() == x.tolist()
        assert as_tensor(x[::-1]).tolist() == x[::-1].tolist()
    kept = np.ones(3, np.float32)
    assert as_tensor(kept).data_ptr() == kept.ctypes.data, "not copied without need"
    assert as_array(torch.ones(2).bfloat16()).dtype == np.float32
    assert as_array(np.ones(2, np.longdouble)).dtype == np.float64
    assert as_array(torch.tensor([1j]).conj()).tolist() == [-1j]


def test_lists_within_dicts_are_arrays_too() -> None:
    rows = qs.Examples({"a": [[1.0], [2.0]], "b": (np.zeros((2, 3)), torch.tensor([[1], [2]]))}, [0, 1])
    assert rows.inputs["a"].shape == (2, 1)
    assert rows.inputs["b"][1].tolist() == [[1], [2]]


def test_rows_of_one_number() -> None:
    assert flat_rows(torch.ones(3)).shape == (3, 1)
    assert flat_rows(torch.ones(3, 2, 2)).shape == (3, 4)
    for wrong in (torch.ones(()), {"a": torch.ones(2)}, None):
        with pytest.raises(InputError, match="one tensor are needed"):
            flat_rows(wrong)
    support = qs.Examples(torch.tensor([0.0, 1.0, 2.0]), [0, 1, 1])
    nearest = qs.learners.NearestNeighbour()
    assert nearest.predict(nearest.adapt(support), torch.tensor([0.1, 5.0])).argmax(1).tolist() == [0, 1]


@pytest.mark.parametrize("augment", [lambda x: x, lambda: None, lambda x, keys, more: x, "flip", 3])
def test_what_augments_takes_inputs_and_keys(augment: Any) -> None:
    data = qs.datasets.arrays(np.zeros((20, 2)), np.arange(20) % 4)
    options: dict[Any, dict[str, Any]] = {
        qs.tasks.FewShot: {"ways": 2},
        qs.tasks.Sequential: {"ways": 2, "presentations": 2},
        qs.tasks.Supervised: {},
    }
    for make, own in options.items():
        with pytest.raises(InputError, match=r"augment must be a function \(inputs, keys\) -> inputs"):
            make(data, **own, augment=augment)
    assert takes(lambda x, keys=None: x, 2) is None
    assert takes(nn.Identity(), 1) is None


@pytest.mark.parametrize("wrong", [lambda x, keys: x[:, :1], lambda x, keys: None, lambda x, keys: (x, x)])
def test_what_is_augmented_stays_as_many_rows(wrong: Any) -> None:
    data = qs.datasets.arrays(np.zeros((20, 2)), np.arange(20) % 4)
    with pytest.raises(InputError, match="it must return as many rows of as many tensors"):
        qs.tasks.FewShot(data, 2, 2, 2, augment=wrong).batch(0, 2)


def test_objectives_of_another_arity_are_refused() -> None:
    def loss(learner: Any, task: Any) -> Tensor:
        return torch.zeros(())

    data = qs.datasets.arrays(np.zeros((20, 2)), np.arange(20) % 4)
    with pytest.raises(InputError, match=r"an objective must be a function \(learner, task, key\) -> loss, and loss\("):
        qs.meta_train(qs.learners.ProtoNet(mlp()), qs.tasks.FewShot(data, 2, 1, 2), objective=loss, steps=1)


def test_threads_check_at_the_same_time() -> None:
    """No filter of warnings, nor anything else of the process, is changed meanwhile."""
    before, wrong = list(warnings.filters), []

    def run() -> None:
        for _ in range(200):
            qs.Examples(np.zeros((3, 2))[::-1], [0, 1, 0])
            wrong.extend([1] if warnings.filters != before else [])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
