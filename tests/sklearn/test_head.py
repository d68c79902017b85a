import time

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import one_hot

import quickstudy as qs
from quickstudy.core import Examples
from quickstudy.errors import InputError
from quickstudy.operators import trees
from quickstudy.sklearn import head

DATA = {"wine": load_wine, "iris": load_iris, "cancer": load_breast_cancer, "digits": load_digits}


def draw(name, shots, seed):
    X, y = DATA[name](return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(y))
    support = np.concatenate([order[y[order] == label][:shots] for label in np.unique(y)])
    rest = np.setdiff1d(order, support)
    return X[support], y[support], X[rest], y[rest]


def blobs(rows=6, features=5, ways=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(ways), rows)
    return rng.normal(size=(ways, features))[y] * 2 + rng.normal(size=(len(y), features)), y


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("shots", [1, 5])
def test_no_worse_than_logistic_regression(name, shots):
    gains = []
    for seed in range(12):
        X, y, Q, z = draw(name, shots, seed)
        rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)
        gains.append(qs.FewShotClassifier().fit(X, y).score(Q, z) - rival.score(Q, z))
    assert np.mean(gains) > -1.96 * np.std(gains, ddof=1) / len(gains) ** 0.5 - 1e-9


@pytest.mark.parametrize("name", DATA)
def test_probabilities_are_calibrated(name):
    sure, right = [], []
    for seed in range(20):
        X, y, Q, z = draw(name, 5, seed)
        found = qs.FewShotClassifier().fit(X, y).predict_proba(Q)
        sure.append(found.max(1))
        right.append(found.argmax(1) == z)
    sure, right = np.concatenate(sure), np.concatenate(right)
    bins = np.minimum((sure * 10).astype(int), 9)
    error = sum(abs(sure[bins == b].sum() - right[bins == b].sum()) for b in range(10)) / len(sure)
    assert error < 0.06


class TestRowsLeftOut:
    """The closed forms, beside fitting again without each row."""

    def test_gaussians(self):
        X, y = blobs()
        x, labels = torch.from_numpy(X), torch.from_numpy(y)
        means = torch.stack([x[labels == c].mean(0) for c in range(3)])
        _, _, logits = head._gaussians(x, labels, means, False)
        residuals = x - means[labels]
        level = residuals.square().sum() / (len(x) - 3) / 5
        for i in range(len(x)):
            keep = torch.arange(len(x)) != i
            moved = torch.stack([x[keep & (labels == c)].mean(0) for c in range(3)])
            left = x[keep] - moved[labels[keep]]
            for at, shrinkage in enumerate(head.SHRINKAGES):
                # The number of degrees of freedom and the level are those of all rows.
                covariance = (1 - shrinkage) * left.T @ left / (len(x) - 3) + shrinkage * level * torch.eye(5)
                apart = x[i] - moved
                expected = -0.5 * (apart @ torch.linalg.inv(covariance) * apart).sum(1)
                torch.testing.assert_close(logits[at, i], expected)

    def test_kernels(self):
        X, y = blobs()
        squares, labels = torch.cdist(*[torch.from_numpy(X)] * 2).square() / 9, torch.from_numpy(y)
        _, logits = head._kernels(squares, labels, 3)
        targets = one_hot(labels, 3).double()
        targets -= targets.mean(0)
        for i in range(len(X)):
            keep = torch.arange(len(X)) != i
            for at, (width, penalty) in enumerate((w, p) for w in head.WIDTHS for p in head.PENALTIES):
                kernel = torch.exp(-squares / (2 * width))
                inner = kernel[keep][:, keep] + penalty * torch.eye(len(X) - 1)
                expected = kernel[i, keep] @ torch.linalg.solve(inner, targets[keep])
                torch.testing.assert_close(logits[at, i], expected)


def test_a_method_alone_is_linear_discriminant_analysis():
    X, y = blobs()
    x, labels = torch.from_numpy(X), torch.from_numpy(y)
    view, _, _ = head._fit_view(torch.tensor([1.0, 0, 0]), x, labels, 3, False)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=None).fit(X, y)
    # Its covariance is divided by S, and this one by S - N; shrinking 0.01 of the way moves little.
    ours = head._of_view(view, x)[0].numpy()
    theirs = lda.decision_function(X)
    ours, theirs = (each - each.mean(1, keepdims=True) for each in (ours, theirs))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("shots", [1, 4])
@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1.0, 1e12, 1e150])
def test_scale(shots, scale):
    for features in (3, 80):
        X, y = blobs(shots, features)
        wanted = qs.FewShotClassifier().fit(X, y).predict_proba(X)
        np.testing.assert_allclose(qs.FewShotClassifier().fit(X * scale, y).predict_proba(X * scale), wanted, atol=1e-8)


@pytest.mark.parametrize(
    "X",
    [
        np.arange(6.0)[:, None],  # one feature
        np.ones((6, 4)),  # nothing but constants
        np.ones((6, 80)),
        np.repeat([[1.0, 2.0], [3.0, 5.0]], 3, 0),  # copies
        np.repeat(np.eye(2, 200), 3, 0),
        np.random.default_rng(0).normal(size=(6, 2000)),
    ],
    ids=["one", "constant", "many constant", "copies", "many copies", "wide"],
)
@pytest.mark.parametrize("y", [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 1, 2, 3, 4, 5]])
def test_odd_supports(X, y):
    clf = qs.FewShotClassifier().fit(X, y)
    found = clf.predict_proba(X)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1)
    if (X == 1).all():
        np.testing.assert_allclose(found, 1 / len(set(y)), atol=1e-6)
    assert np.isfinite(clf.score_samples(X)).all()
    np.testing.assert_array_equal(qs.FewShotClassifier().fit(X, y).predict_proba(X), found)


def test_the_order_of_rows_does_not_matter():
    X, y = blobs(4, 80)
    order = np.random.default_rng(1).permutation(len(y))
    wanted = qs.FewShotClassifier().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(qs.FewShotClassifier().fit(X[order], y[order]).predict_proba(X), wanted, atol=1e-8)


def test_it_is_quick():
    X, y = blobs(5, 384, 77)
    start = time.process_time()
    qs.FewShotClassifier().fit(X, y)
    assert time.process_time() - start < 6  # 0.7 s where nothing else runs


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.coo_array, sparse.dok_array, sparse.lil_matrix])
def test_sparse_matrices_are_refused_with_what_to_do(kind):
    X, y = blobs()
    with pytest.raises(InputError, match=r"sparse matrix.*toarray"):
        qs.FewShotClassifier().fit(kind(X), y)
    clf = qs.FewShotClassifier().fit(X, y)
    with pytest.raises(InputError, match=r"sparse matrix.*toarray"):
        clf.predict(kind(X))


def test_state_is_a_pytree_of_tensors():
    X, y = blobs(3, 60)
    state = head.SupportHead().adapt(Examples(torch.from_numpy(X), y))
    assert all(isinstance(leaf, torch.Tensor) for leaf in trees.leaves(state))
