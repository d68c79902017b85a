from __future__ import annotations

import copy
import pickle
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import quickstudy as qs
from quickstudy.errors import CheckpointError, InputError, NonFiniteError
from quickstudy.learners import (
    ADML,
    ANIL,
    CAVIA,
    FOMAML,
    IMAML,
    MAML,
    BaselinePlusPlus,
    FineTune,
    LogisticRegressionOnFeatures,
    MatchingNet,
    MetaSGD,
    NearestNeighbour,
    ProtoMAML,
    ProtoNet,
    RelationNet,
    Reptile,
    Siamese,
)
from quickstudy.nets import conv4, mlp
from tests.helpers.several import Both, Reader, pictures, sentences

LEARNERS = {
    "adml": lambda: ADML(mlp(4, (8,), 3)),
    "anil": lambda: ANIL(mlp(4, (8,), 3)),
    "baseline++": lambda: BaselinePlusPlus(mlp(4, (8,)), classes=5, steps=3),
    "cavia": lambda: CAVIA(mlp(4, (8,), 3, context=2)),
    "fine-tune": lambda: FineTune(mlp(4, (8,)), classes=5, steps=3, adapts="all"),
    "fomaml": lambda: FOMAML(mlp(4, (8,), 3)),
    "imaml": lambda: IMAML(mlp(4, (8,), 3), steps=3),
    "logistic": lambda: LogisticRegressionOnFeatures(mlp(4, (8,)), classes=5, steps=5),
    "maml": lambda: MAML(mlp(4, (8,), 3)),
    "matching": lambda: MatchingNet(mlp(4, (8,)), full_context=True),
    "maml without steps": lambda: MAML(mlp(4, (8,), 3), steps=0),
    "meta-sgd": lambda: MetaSGD(mlp(4, (8,), 3)),
    "nearest": NearestNeighbour,
    "proto-maml": lambda: ProtoMAML(mlp(4, (8,))),
    "protonet": lambda: ProtoNet(nn.Sequential(mlp(4, (8,)), nn.BatchNorm1d(8))),
    "relation": lambda: RelationNet(mlp(4, (8,)), channels=8),
    "reptile": lambda: Reptile(mlp(4, (8,), 3), batch=7),
    "siamese": lambda: Siamese(mlp(4, (8,))),
    "transductive": lambda: ProtoNet(nn.Sequential(mlp(4, (8,)), nn.BatchNorm1d(8)), batch_norm="transductive"),
}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


def noisy_digits():
    """Digits and as many columns of noise, which meta-training on some digits teaches a net to ignore for others."""
    X, y = load_digits(return_X_y=True)
    return np.c_[X / 16, np.random.default_rng(0).normal(size=X.shape)], y


@pytest.fixture(scope="module")
def digits():
    """Digits 5 to 9, which meta-training never sees."""
    X, y = noisy_digits()
    return X[y > 4], y[y > 4]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    X, y = noisy_digits()
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "protonet"
    qs.meta_train(
        ProtoNet(mlp(128, (32,))),
        qs.tasks.FewShot(qs.datasets.arrays(X[y < 5], y[y < 5]), ways=4, shots=5, queries=4),
        qs.outer.Gradient(lr=3e-3),
        steps=40,
        meta_batch=8,
        run_dir=folder,
        device="cpu",
        progress=False,
    )
    return folder


def balanced(shots):
    """Splits with few examples of each class to fit and many to score."""
    return StratifiedShuffleSplit(3, train_size=5 * shots, random_state=0)


def same(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


@parametrize_with_checks([qs.FewShotClassifier(), qs.FewShotClassifier(NearestNeighbour())])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def test_default_does_not_depend_on_units_and_takes_constant_features(iris):
    X, y = iris
    wanted = qs.FewShotClassifier().fit(X, y).predict_proba(X)
    other = np.c_[X * [1e-9, 1, 1e6, 1e12] + [0, 1e4, 0, 0], np.full(len(X), 0.1), np.full(len(X), 1e7)]
    np.testing.assert_allclose(qs.FewShotClassifier().fit(other, y).predict_proba(other), wanted, atol=1e-8)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_fits_predicts_clones_and_pickles(iris, name):
    X, y = iris
    torch.manual_seed(0)
    learner = LEARNERS[name]().train()
    before, modes = copy.deepcopy(learner), [module.training for module in learner.modules()]
    clf = qs.FewShotClassifier(learner, random_state=0).fit(X, y)
    probabilities = clf.predict_proba(X)
    assert probabilities.shape == (150, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(clf.predict(X), clf.classes_[probabilities.argmax(1)])
    # The learner is as it was.
    assert same(learner, before)
    assert [module.training for module in learner.modules()] == modes
    # Copies know the same; a clone learns the same again.
    for other in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf), clone(clf).fit(X, y)):
        np.testing.assert_array_equal(other.predict_proba(X), probabilities)
        assert same(other.learner, learner)
        assert other.learner is not learner
        assert other.learner.config.keys() == learner.config.keys()


def test_agrees_with_adapt_and_predict(iris):
    X, y = iris
    learner = MAML(mlp(4, (8,), 3), lr=0.1, steps=1, test_steps=5).eval()
    clf = qs.FewShotClassifier(learner).fit(X[::2], y[::2])
    labels = np.searchsorted(clf.classes_, y[::2])
    state = learner.adapt(qs.Examples(X[::2], labels))
    wanted = learner.predict(state, torch.as_tensor(X[1::2]).float()).detach().numpy()
    np.testing.assert_allclose(clf.decision_function(X[1::2]), wanted, rtol=1e-5, atol=1e-6)


def test_predicts_in_chunks_only_where_queries_are_independent(iris):
    X, y = iris
    for name, chunks in (("protonet", 30), ("transductive", 1)):
        clf = qs.FewShotClassifier(LEARNERS[name](), batch_size=5).fit(X, y)
        with mock.patch.object(clf.learner_, "predict", wraps=clf.learner_.predict) as predict:
            small = clf.predict_proba(X)
        assert predict.call_count == chunks
        np.testing.assert_allclose(clf.set_params(batch_size=1000).predict_proba(X), small, atol=1e-6)


def test_decision_function_of_two_classes_is_a_margin(iris):
    X, y = iris[0][:100], iris[1][:100]
    clf = qs.FewShotClassifier().fit(X, y)
    margin = clf.decision_function(X)
    assert margin.shape == (100,)
    np.testing.assert_allclose(1 / (1 + np.exp(-margin)), clf.predict_proba(X)[:, 1])


def test_random_state_decides_what_stochastic_learners_draw(iris):
    X, y = iris
    learner = Reptile(mlp(4, (8,), 3), lr=0.1, batch=2, test_steps=3)

    def outcome(seed):
        return qs.FewShotClassifier(learner, random_state=seed).fit(X, y).predict_proba(X)

    np.testing.assert_array_equal(outcome(1), outcome(1))
    np.testing.assert_array_equal(outcome(np.random.RandomState(1)), outcome(1))
    assert not np.array_equal(outcome(1), outcome(2))
    np.random.seed(3)
    assert not np.array_equal(outcome(None), outcome(None))


def test_from_run_classifies_digits_never_seen(run_dir, digits):
    X, y = digits
    clf = qs.FewShotClassifier.from_run(run_dir, batch_size=100)
    assert clf.batch_size == 100
    assert same(clf.learner, qs.load(run_dir))
    scores = cross_val_score(clf, X, y, cv=balanced(shots=5))
    torch.manual_seed(0)
    untrained = cross_val_score(qs.FewShotClassifier(ProtoNet(mlp(128, (32,)))), X, y, cv=balanced(shots=5))
    assert scores.mean() > untrained.mean() + 0.1


def test_from_run_takes_a_learner_of_ones_own_and_leaves_it(run_dir):
    own = ProtoNet(mlp(128, (32,)))
    before = copy.deepcopy(own)
    clf = qs.FewShotClassifier.from_run(str(run_dir), "last", learner=own)
    assert same(own, before)
    assert same(clf.learner, qs.load(run_dir))


def test_from_run_refuses_what_is_no_run(tmp_path, run_dir):
    with pytest.raises(CheckpointError, match="run_dir"):
        qs.FewShotClassifier.from_run(tmp_path / "none")
    with pytest.raises(InputError, match="did you mean 'best'"):
        qs.FewShotClassifier.from_run(run_dir, "bset")


def test_pipeline_and_grid_search(run_dir, digits):
    X, y = digits
    learners = [ProtoNet(mlp(128, (1,))), qs.load(run_dir)]
    search = GridSearchCV(
        make_pipeline(MinMaxScaler((0, 1)), qs.FewShotClassifier()),
        {"fewshotclassifier__learner": learners},
        cv=balanced(shots=3),
        error_score="raise",
    )
    search.fit(X, y)
    assert search.best_index_ == 1
    assert search.predict(X[:3]).shape == (3,)
    assert "ProtoNet" in repr(search.best_estimator_)


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "b", "a"],
        np.array(["b", "a", "b", "a"], dtype=object),
        [True, False, True, False],
        [7, -3, 7, -3],
        torch.tensor([1, 0, 1, 0]),
        [torch.tensor(1), torch.tensor(0), torch.tensor(1), torch.tensor(0)],
        pd.Series(["b", "a", "b", "a"]),
    ],
)
def test_any_labels(labels):
    X = [[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]]
    clf = qs.FewShotClassifier().fit(X, labels)
    assert clf.classes_.tolist() == sorted({getattr(label, "item", lambda v=label: v)() for label in labels})
    assert clf.score(X, np.asarray(labels)) == 1


def test_data_frames_name_their_columns(iris):
    X = pd.DataFrame(iris[0], columns=list("abcd"))
    clf = qs.FewShotClassifier().fit(X, iris[1])
    assert clf.feature_names_in_.tolist() == list("abcd")
    assert clf.n_features_in_ == 4
    with pytest.raises(InputError, match="feature names"):
        clf.predict(X[list("dcba")])


@pytest.mark.parametrize(
    "kind",
    [
        lambda X: torch.tensor(X, requires_grad=True),
        lambda X: torch.tensor(X).float(),
        lambda X: X.astype(">f8"),
        lambda X: X[::-1][::-1],
        lambda X: X.tolist(),
        lambda X: [torch.tensor(row) for row in X],
        lambda X: X.astype(np.float32),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_cast_to_the_learner(iris, kind, dtype):
    X, y = iris
    learner = ProtoNet(mlp(4, (8,))).to(dtype)
    wanted = qs.FewShotClassifier(learner).fit(X, y).predict_proba(X)
    found = qs.FewShotClassifier(learner).fit(kind(X), y)
    np.testing.assert_allclose(found.predict_proba(kind(X)), wanted, atol=1e-4)
    assert found.state_.means.dtype == dtype


def test_half_precision(iris):
    X, y = iris
    clf = qs.FewShotClassifier(ProtoNet(mlp(4, (8,))).bfloat16()).fit(torch.tensor(X).bfloat16(), y)
    assert clf.predict_proba(X).dtype == np.float64


@pytest.fixture
def pixels():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (8, 3, 16, 16), dtype=np.uint8), np.arange(8) % 2


class TestImages:
    def test_bytes_are_scaled_as_samplers_do(self, pixels):
        X, y = pixels
        learner = ProtoNet(conv4(3, 8, norm="group", size=16))
        clf = qs.FewShotClassifier(learner).fit(X, y)
        scaled = qs.FewShotClassifier(learner).fit(X / 255, y)
        np.testing.assert_allclose(clf.predict_proba(X), scaled.predict_proba(X / 255), atol=1e-6)
        np.testing.assert_allclose(clf.predict_proba(torch.tensor(X)), scaled.predict_proba(X / 255), atol=1e-6)
        assert clf.input_shape_ == (3, 16, 16)
        assert not hasattr(clf, "n_features_in_")

    def test_channels_may_come_last_or_be_left_out(self, pixels):
        X, y = pixels
        clf = qs.FewShotClassifier(ProtoNet(conv4(3, 8, size=16))).fit(X.transpose(0, 2, 3, 1), y)
        np.testing.assert_array_equal(clf.predict_proba(X.transpose(0, 2, 3, 1)), clf.predict_proba(X))
        grey = qs.FewShotClassifier(MAML(conv4(1, 8, 2, size=16))).fit(X[:, 0], y)
        np.testing.assert_array_equal(grey.predict_proba(X[:, 0]), grey.predict_proba(X[:, :1]))

    def test_default_flattens(self, pixels):
        X, y = pixels
        assert qs.FewShotClassifier().fit(X, y).score(X, y) == 1

    def test_refitting_to_images_forgets_the_features(self, pixels, iris):
        X, y = pixels
        clf = qs.FewShotClassifier().fit(*iris).fit(X, y)
        assert not hasattr(clf, "n_features_in_")
        with pytest.raises(InputError, match=r"rows of shape \(4,\).*fitted to rows of shape \(3, 16, 16\)"):
            clf.predict(iris[0])
        with pytest.raises(InputError, match="rows of shape"):
            qs.FewShotClassifier().fit(*iris).predict(X)

    def test_wrong_shapes(self, pixels):
        X, y = pixels
        clf = qs.FewShotClassifier(ProtoNet(conv4(3, 8, size=16)))
        with pytest.raises(InputError, match="conv4 was built for images"):
            clf.fit(X[:, :, :8], y)
        with pytest.raises(InputError, match="conv4 was built for images"):
            clf.fit(X, y).predict(X[:, :, :8])
        with pytest.raises(InputError, match="X has rows of shape"):
            clf.predict(X[:, :2])

    def test_values_are_checked(self, pixels):
        X, y = pixels[0] / 255, pixels[1]
        bad = X.copy()
        bad[3, 1, 2, 2] = np.nan
        clf = qs.FewShotClassifier(ProtoNet(conv4(3, 8, size=16)))
        with pytest.raises(InputError, match="X contains NaN"):
            clf.fit(bad, y)
        with pytest.raises(InputError, match="X contains NaN"):
            clf.fit(X, y).predict(bad)
        with pytest.raises(InputError, match="inconsistent numbers"):
            clf.fit(X, y[:-1])


def test_tokens_stay_integers():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(10, 4)

        def forward(self, tokens):
            return self.words(tokens).mean(1)

    X, y = np.array([[1, 2, 3], [4, 5, 6], [3, 1, 2], [5, 6, 4]]), list("abab")
    clf = qs.FewShotClassifier(ProtoNet(Bag())).fit(X, y)
    assert clf.score(X.astype(np.uint16), y) == 1
    with pytest.raises(InputError, match=r"\(4, 3\) of torch.float32: layer 'words' \(Embedding\)"):
        clf.predict(X / 2)
    with pytest.raises(InputError, match="index out of range"):
        clf.predict(X + 10)


class TestErrors:
    def test_one_class(self, iris):
        with pytest.raises(InputError, match="y holds only one class, 'setosa'"):
            qs.FewShotClassifier().fit(iris[0][:50], iris[1][:50])

    def test_more_classes_than_outputs(self, iris):
        with pytest.raises(InputError, match="the task has 3 ways; build it with outputs=3"):
            qs.FewShotClassifier(MAML(mlp(4, (8,), 2))).fit(*iris)

    def test_features_the_net_does_not_take(self, iris):
        with pytest.raises(InputError, match=r"does not take inputs \(150, 4\)"):
            qs.FewShotClassifier(ProtoNet(mlp(5, (8,)))).fit(*iris)

    def test_values(self, iris):
        X, y = iris
        with pytest.raises(InputError, match="X contains NaN"):
            qs.FewShotClassifier().fit(np.where(X < 1, np.nan, X), y)
        with pytest.raises(InputError, match=r"torch.float32, hold NaN or infinity, first in row 0"):
            qs.FewShotClassifier(ProtoNet(mlp(4, (8,)))).fit(X * 1e300, y)
        with pytest.raises(InputError, match="Unknown label type"):
            qs.FewShotClassifier().fit(X, X[:, 0])
        with pytest.raises(InputError, match="inconsistent numbers"):
            qs.FewShotClassifier().fit(X, y[1:])
        with pytest.raises(InputError, match="differ in shape"):
            qs.FewShotClassifier().fit([torch.zeros(2), torch.zeros(3)], [0, 1])
        with pytest.raises(InputError, match="sparse"):
            qs.FewShotClassifier().fit(torch.tensor(X).to_sparse(), y)
        with pytest.raises(InputError, match="mixes"):
            qs.FewShotClassifier().fit(X[:2], np.array(["a", 1], dtype=object))

    def test_shape(self, iris):
        clf = qs.FewShotClassifier().fit(*iris)
        with pytest.raises(InputError, match="expecting 4 features"):
            clf.predict(iris[0][:, :3])
        with pytest.raises(InputError, match="Reshape your data"):
            clf.predict(iris[0][0])

    def test_arguments(self, iris):
        with pytest.raises(InputError, match="from_run"):
            qs.FewShotClassifier("runs/maml").fit(*iris)
        with pytest.raises(InputError, match="learner must be"):
            qs.FewShotClassifier(ProtoNet).fit(*iris)
        with pytest.raises(InputError, match="batch_size"):
            qs.FewShotClassifier(batch_size=0).fit(*iris)
        with pytest.raises(InputError, match="device='gpu'"):
            qs.FewShotClassifier(device="gpu").fit(*iris)
        with pytest.raises(InputError, match="cannot be used to seed"):
            qs.FewShotClassifier(Reptile(mlp(4, (8,), 3)), random_state="x").fit(*iris)

    def test_not_fitted(self, iris):
        with pytest.raises(NotFittedError):
            qs.FewShotClassifier().predict(iris[0])

    def test_predictions_that_overflow(self, iris):
        X, y = iris[0].copy(), iris[1]
        clf = qs.FewShotClassifier(ProtoNet(nn.Identity())).fit(X, y)
        X[7] *= 1e200
        with pytest.raises(NonFiniteError, match="row 7 of X"):
            clf.predict(X)

    def test_learners_that_do_not_classify_rows(self, iris):
        class Odd(NearestNeighbour):
            def predict(self, state, inputs):
                return super().predict(state, inputs)[:, :, None]

        with pytest.raises(InputError, match="classifies rows"):
            qs.FewShotClassifier(Odd()).fit(*iris).predict(iris[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_fits_and_a_pickle_is_on_the_cpu(iris):
    X, y = iris
    clf = qs.FewShotClassifier(MAML(mlp(4, (8,), 3)), device="cuda").fit(X, y)
    wanted = clf.predict_proba(X)
    other = pickle.loads(pickle.dumps(clf)).set_params(device="cpu")
    assert all(p.device.type == "cpu" for p in other.learner_.parameters())
    np.testing.assert_allclose(other.predict_proba(X), wanted, atol=1e-5)
    assert next(clf.learner_.parameters()).device.type == "cuda"


def test_one_example_of_each_of_many_classes_is_no_reason_to_warn():
    X = np.arange(120.0).reshape(60, 2)
    assert qs.FewShotClassifier().fit(X, np.arange(60)).score(X, np.arange(60)) == 1


class TestSeveralArrays:
    @pytest.fixture
    def learner(self):
        torch.manual_seed(0)
        return qs.learners.ProtoNet(Reader())

    @pytest.fixture
    def texts(self):
        data = sentences()
        return {name: leaf.numpy() for name, leaf in data.inputs.items()}, np.array(data.classes)[data.labels.numpy()]

    def test_agrees_with_adapt_and_predict(self, learner, texts):
        X, y = texts
        clf = qs.FewShotClassifier(learner, batch_size=7).fit({k: v[::2] for k, v in X.items()}, y[::2])
        assert clf.input_shape_ == {"ids": (5,), "mask": (5,)}
        assert not hasattr(clf, "n_features_in_")
        inputs = {name: torch.from_numpy(leaf) for name, leaf in X.items()}
        support = qs.Examples({k: v[::2] for k, v in inputs.items()}, np.unique(y[::2], return_inverse=True)[1])
        with torch.no_grad():
            logits = learner.eval().predict(learner.adapt(support), inputs)
        np.testing.assert_allclose(clf.decision_function(X), logits.numpy(), rtol=1e-5, atol=1e-5)
        assert clf.predict(X).tolist() == [str(name) for name in clf.classes_[logits.argmax(1)]]
        again = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))

    def test_images_beside_numbers_are_scaled_as_in_training(self):
        data = pictures()
        pair = tuple(leaf.numpy() for leaf in data.inputs)
        clf = qs.FewShotClassifier(qs.learners.ProtoNet(Both())).fit(pair, data.labels.numpy())
        scaled = (pair[0].astype(np.float32) / 255, pair[1].astype(np.float64))
        np.testing.assert_allclose(clf.predict_proba(scaled), clf.predict_proba(pair), rtol=1e-4)

    def test_mistakes(self, learner, texts):
        X, y = texts
        with pytest.raises(InputError, match="give FewShotClassifier a learner"):
            qs.FewShotClassifier().fit(X, y)
        with pytest.raises(InputError, match="inconsistent numbers of samples"):
            qs.FewShotClassifier(learner).fit({**X, "mask": X["mask"][1:]}, y)
        clf = qs.FewShotClassifier(learner).fit(X, y)
        with pytest.raises(InputError, match=r"shape \{'ids': \(4,\), 'mask': \(5,\)\} but"):
            clf.predict({**X, "ids": X["ids"][:, 1:]})
        with pytest.raises(InputError, match=r"X\['ids'\] contains NaN"):
            clf.predict({**X, "ids": np.where(X["ids"] == X["ids"][0, 0], np.nan, X["ids"])})
        with pytest.raises(InputError, match="shape"):
            clf.predict(X["ids"])
