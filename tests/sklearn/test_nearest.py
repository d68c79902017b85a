from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn

import quickstudy as qs
from quickstudy.errors import InputError
from quickstudy.learners import MAML, ProtoNet
from quickstudy.nets import mlp


@pytest.fixture(scope="module")
def digits():
    """Ten rows of each of six digits, rows of all ten, and which of these are of the six."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    support = np.concatenate([order[y[order] == digit][:10] for digit in range(6)])
    rest = np.setdiff1d(order, support)
    return X[support], y[support], X[rest], y[rest]


@pytest.mark.parametrize("learner", [None, ProtoNet(nn.Identity())], ids=["default", "protonet"])
def test_unknown_digits_are_far_from_the_support(digits, learner):
    X, y, Q, z = digits
    clf = qs.FewShotClassifier(learner).fit(X, y)
    assert roc_auc_score(z < 6, clf.score_samples(Q)) > 0.9
    # The support itself is not novel.
    np.testing.assert_allclose(clf.score_samples(X), 0, atol=1e-6)


def test_a_learner_without_an_embedding_scores_by_probability(digits):
    X, y, Q, _ = digits
    torch.manual_seed(0)
    clf = qs.FewShotClassifier(MAML(mlp(64, (16,), 6), lr=0.01, steps=5)).fit(X, y)
    np.testing.assert_allclose(clf.score_samples(Q), np.log(clf.predict_proba(Q).max(1)), rtol=1e-6)
    with pytest.raises(InputError, match="MAML embeds no rows"):
        clf.nearest(Q)


def test_nearest_is_the_nearest_scaled_row(digits):
    X, y, Q, _ = digits
    index, distance = qs.FewShotClassifier().fit(X, y).nearest(Q)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (Q, X)]
    expected = np.linalg.norm(unit[0][:, None] - unit[1], axis=2)
    np.testing.assert_array_equal(index, expected.argmin(1))
    among = np.linalg.norm(unit[1][:, None] - unit[1], axis=2) + np.diag(np.full(len(X), np.inf))
    np.testing.assert_allclose(distance, expected.min(1) / np.sort(among.min(1))[(len(X) - 1) // 2])


@pytest.mark.parametrize(
    ("labels", "reject", "word"),
    [
        (np.arange(6), None, -1),
        (np.arange(6), 99, 99),
        (np.arange(6), "unknown", "unknown"),
        (np.array(list("abcdef")), None, "none of these"),
        (np.array(list("abcdef")), "?", "?"),
        (np.array(list("abcdef"), dtype=object), None, "none of these"),
        (np.array(list("abcdef")), 7, 7),
    ],
)
def test_a_threshold_rejects(digits, labels, reject, word):
    X, y, Q, _z = digits
    clf = qs.FewShotClassifier(threshold=-1.5, reject=reject).fit(X, labels[y])
    found, novel = clf.predict(Q), clf.score_samples(Q) < -1.5
    assert 0 < novel.sum() < len(Q)
    assert set(found[novel].tolist()) == {word}
    plain = qs.FewShotClassifier().fit(X, labels[y]).predict(Q)
    assert (found[~novel] == plain[~novel]).all()
    assert plain.dtype == np.asarray(labels).dtype


def test_words_that_would_mislead_are_refused(digits):
    X, y, Q, _ = digits
    with pytest.raises(InputError, match="reject=3"):
        qs.FewShotClassifier(threshold=-1, reject=3).fit(X, y).predict(Q)
    with pytest.raises(InputError, match="reject=-1"):
        qs.FewShotClassifier(threshold=-1).fit(X, y - 1).predict(Q)
    with pytest.raises(InputError, match="reject=None"):
        qs.FewShotClassifier(threshold=-1).fit(X, y > 2).predict(Q)


def test_threads_share_a_classifier(digits):
    X, y, Q, _ = digits
    clf = qs.FewShotClassifier(ProtoNet(mlp(64, (16,))), batch_size=50).fit(X, y)
    wanted = clf.predict_proba(Q)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: clf.predict_proba(Q), range(24)):
            np.testing.assert_array_equal(found, wanted)
        for other in pool.map(lambda _: qs.FewShotClassifier().fit(X, np.arange(len(y))), range(8)):
            assert len(other.classes_) == len(y)


def test_images_of_another_size_than_in_fit():
    letters = qs.datasets.glyphs().subset([0, 40, 80, 120])
    images = letters.inputs[letters.starts].repeat(1, 3, 1, 1).numpy()
    clf = qs.FewShotClassifier(pretrained="drawings").fit(images, list("abcd"))
    larger = images.repeat(2, 2).repeat(2, 3)
    assert clf.predict_proba(larger).shape == (4, 4)
    assert clf.predict(larger).tolist() == list("abcd")
    assert clf.nearest(larger)[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (np.matrix(np.eye(4)), "numpy.matrix"),
        (torch.eye(4).to(torch.float8_e4m3fn), "float8"),
        (torch.empty(4, 4, device="meta"), "meta"),
        (np.eye(4).astype("m8[s]"), "lengths of time"),
        (np.eye(4).astype("M8[s]"), "dates"),
        (np.eye(4) + 1j, "Complex"),
        (np.array([["a"] * 4] * 4), "numbers|numeric|convert"),
    ],
)
def test_odd_inputs_are_refused_in_a_line(X, says):
    clf = qs.FewShotClassifier().fit(np.eye(4), list("abab"))
    for call in (lambda: qs.FewShotClassifier().fit(X, list("abab")), lambda: clf.predict(X)):
        with pytest.raises(InputError, match=says):
            call()


def test_a_data_set_brings_its_labels():
    letters = qs.datasets.glyphs().subset([0, 40, 80])
    clf = qs.FewShotClassifier(pretrained="drawings").fit(letters)
    assert set(clf.classes_) == set(letters.classes)
    names = np.array(letters.classes)[letters.labels]
    assert clf.score(letters.inputs, names) > 0.9
    with pytest.raises(InputError, match="y is None"):
        clf.fit(letters.inputs)
