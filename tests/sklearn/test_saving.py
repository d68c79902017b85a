import json
import struct

import numpy as np
import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.errors import CheckpointError, InputError
from quickstudy.learners import MAML, NearestNeighbour, ProtoNet, Reptile
from quickstudy.nets import mlp
from quickstudy.storage.checkpoint import load_checkpoint, save_checkpoint
from quickstudy.testing import specimens


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, rows):
        return self.line(rows)


@pytest.fixture
def rows():
    task = specimens.classification_task(shots=3, queries=5)
    return task.support.inputs.numpy(), task.support.labels.numpy(), task.query.inputs.numpy()


def there_and_back(clf, path, **options):
    clf.save(path)
    return qs.FewShotClassifier.load(path, **options)


@pytest.mark.parametrize("name", specimens.CLASSIFICATION)
def test_every_learner_answers_the_same_to_the_bit(name, tmp_path):
    images = name == "RelationNet"
    task = specimens.classification_task(shape=(1, 16, 16) if images else (specimens.FEATURES,))
    torch.manual_seed(0)
    learner = specimens.CLASSIFICATION[name](specimens.conv4 if images else specimens.mlp, specimens.WAYS)
    clf = qs.FewShotClassifier(learner, random_state=3)
    clf.fit(task.support.inputs.numpy(), np.array(list("cab"))[task.support.labels])
    again = there_and_back(clf, tmp_path / "clf.safetensors")
    X = task.query.inputs.numpy()
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(again.predict(X), clf.predict(X))
    # It can be fitted anew, to the same.
    again.fit(task.support.inputs.numpy(), np.array(list("cab"))[task.support.labels])
    np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


@pytest.mark.parametrize("name", ["drawings", "drawings-maml"])
def test_shipped_learners(name, tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (4, 3, 20, 30), dtype=np.uint8), list("abab")
    clf = qs.FewShotClassifier(pretrained=name, batch_size=3).fit(images, labels)
    again = there_and_back(clf, tmp_path / "clf.safetensors")
    assert again.get_params(deep=False) == clf.get_params(deep=False)
    np.testing.assert_array_equal(again.predict_proba(images), clf.predict_proba(images))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["b", "ä\n", "'\"\\"]),
        np.array(["a", "b", "c"], dtype=object),
        np.array([3, -1, 2**40]),
        np.array([3, 1, 2], dtype=np.uint8),
        np.array([3, 1, 2], dtype=">i4"),
        np.array([0.0, 1.0, 2.0]),
        np.array([True, False, True]),
    ],
    ids=lambda labels: labels.dtype.str,
)
def test_labels_keep_their_dtype(labels, rows, tmp_path):
    X, y, queries = rows
    clf = qs.FewShotClassifier(NearestNeighbour()).fit(X, labels[y])
    again = there_and_back(clf, tmp_path / "clf.safetensors")
    assert again.classes_.dtype == clf.classes_.dtype
    assert [*map(type, again.classes_.tolist())] == [*map(type, clf.classes_.tolist())]
    np.testing.assert_array_equal(again.predict(queries), clf.predict(queries))


def test_a_learner_of_ones_own_is_given_again(rows, tmp_path):
    X, y, queries = rows
    torch.manual_seed(0)
    clf = qs.FewShotClassifier(ProtoNet(Own())).fit(X, y)
    path = tmp_path / "clf.safetensors"
    clf.save(path)
    with pytest.raises(CheckpointError, match=r"FewShotClassifier.load\(path, learner=...\)"):
        qs.FewShotClassifier.load(path)
    given = ProtoNet(Own())
    before = {name: value.clone() for name, value in given.state_dict().items()}
    again = qs.FewShotClassifier.load(path, learner=given)
    np.testing.assert_array_equal(again.predict_proba(queries), clf.predict_proba(queries))
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    with pytest.raises(CheckpointError, match="another learner"):
        qs.FewShotClassifier.load(path, learner=ProtoNet(mlp(4, (3,))))


def test_names_of_columns_and_trees(rows, tmp_path):
    pd = pytest.importorskip("pandas")
    X, y, _ = rows
    frame = pd.DataFrame(X, columns=list("abcd"))
    again = there_and_back(qs.FewShotClassifier(NearestNeighbour()).fit(frame, y), tmp_path / "a.safetensors")
    assert again.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(InputError, match="feature names"):
        again.predict(frame[list("dcba")])


def test_a_generator_of_random_numbers_is_not_kept(rows, tmp_path):
    X, y, queries = rows
    clf = qs.FewShotClassifier(Reptile(mlp(4, (8,), 3), batch=2), random_state=np.random.RandomState(1)).fit(X, y)
    again = there_and_back(clf, tmp_path / "clf.safetensors")
    assert again.random_state is None
    np.testing.assert_array_equal(again.predict_proba(queries), clf.predict_proba(queries))


class TestDamage:
    @pytest.fixture
    def path(self, rows, tmp_path):
        path = tmp_path / "clf.safetensors"
        qs.FewShotClassifier(MAML(mlp(4, (8,), 3))).fit(*rows[:2]).save(path)
        return path

    def test_no_file(self, tmp_path):
        with pytest.raises(CheckpointError, match="there is no file"):
            qs.FewShotClassifier.load(tmp_path / "none")
        with pytest.raises(CheckpointError, match="there is no file"):
            qs.FewShotClassifier.load(tmp_path)

    def test_truncated(self, path):
        whole = path.read_bytes()
        for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(CheckpointError):
                qs.FewShotClassifier.load(path)

    def test_no_classifier(self, path):
        save_checkpoint(path, {"learner": 3})
        with pytest.raises(CheckpointError, match="holds no classifier"):
            qs.FewShotClassifier.load(path)

    def test_another_version(self, path):
        content = load_checkpoint(path) | {"classifier": 99, "version": "7.1"}
        save_checkpoint(path, content)
        with pytest.raises(CheckpointError, match=r"format 99, this library reads 1.*quickstudy 7.1"):
            qs.FewShotClassifier.load(path)
        content = load_checkpoint(path) | {"classifier": 1}
        content["params"]["colour"] = 3
        save_checkpoint(path, content)
        with pytest.raises(CheckpointError, match="another version"):
            qs.FewShotClassifier.load(path)

    @pytest.mark.parametrize("key", ["learner", "weights", "fitted", "params"])
    @pytest.mark.parametrize("value", [None, 3, "x", [], {}, [["dict"]], {"learner": "MAML"}, {"a": {"b": 1}}])
    def test_parts_of_another_kind(self, path, key, value):
        save_checkpoint(path, load_checkpoint(path) | {key: value})
        if (key, value) != ("params", {}):
            with pytest.raises(CheckpointError):
                qs.FewShotClassifier.load(path)

    @pytest.mark.parametrize(
        "state",
        [
            ["named", "os:system", [["value", "true"]]],
            ["named", "quickstudy.cli:main", []],
            ["named", "subprocess:Popen", [["value", "true"]]],
            ["named", "antigravity:x", []],
            ["frozen", "quickstudy.core:Learner", []],
            ["named", "quickstudy.inner.loop:InnerState", []],
            ["tensor", 3, [], []],
            ["tuple", 3],
            ["value", [1]],
            [],
            {},
            "tuple",
            None,
        ],
    )
    def test_hostile_states_run_nothing(self, path, state):
        content = load_checkpoint(path)
        content["fitted"]["state_"] = state
        save_checkpoint(path, content)
        with pytest.raises(CheckpointError):
            qs.FewShotClassifier.load(path)

    def test_a_file_that_calls_for_very_deep_lists(self, path):
        header = json.dumps({"__metadata__": {"checkpoint": "[" * 100_000}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        with pytest.raises(CheckpointError):
            qs.FewShotClassifier.load(path)

    def test_what_cannot_be_saved(self, rows, tmp_path):
        X, y, _ = rows
        clf = qs.FewShotClassifier(NearestNeighbour()).fit(X, y)
        clf.classes_ = np.array([1j, 2j, 3j])
        with pytest.raises(InputError, match="complex128 cannot be saved"):
            clf.save(tmp_path / "clf.safetensors")
        assert not list(tmp_path.iterdir())
