"""Learners as files: what comes back, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy import shipped
from quickstudy.errors import CheckpointError, InputError
from quickstudy.storage.checkpoint import save_checkpoint
from quickstudy_studies import pretrained as shipped_learners

IMAGES = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2] * 2)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> qs.Learner:
    """Ship one learner, 'tiny', and nothing else."""
    learner = qs.learners.ProtoNet(qs.nets.Drawings(qs.nets.conv4(1, 8)))
    shipped.save(learner, tmp_path / "tiny.safetensors", "learner", {"data": "none"})
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    return learner.eval()


def test_a_learner_comes_back(weights: qs.Learner) -> None:
    again = qs.pretrained("tiny")
    assert not again.training
    assert shipped.names("learner") == ["tiny"]
    assert shipped.names("rule") == []
    support = qs.Examples(IMAGES, LABELS)
    expected = weights.predict(weights.adapt(support), IMAGES)
    assert torch.equal(again.predict(again.adapt(support), IMAGES), expected)


def test_a_classifier_of_the_library_needs_no_run(weights: qs.Learner) -> None:
    classifier = qs.FewShotClassifier(pretrained="tiny").fit(IMAGES.numpy(), LABELS.numpy())
    expected = qs.FewShotClassifier(weights).fit(IMAGES.numpy(), LABELS.numpy())
    np.testing.assert_array_equal(classifier.predict_proba(IMAGES), expected.predict_proba(IMAGES))
    with pytest.raises(InputError, match="not both"):
        qs.FewShotClassifier(weights, pretrained="tiny").fit(IMAGES.numpy(), LABELS.numpy())


@pytest.mark.usefixtures("weights")
def test_unknown_names_come_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown pretrained learner 'tin'; did you mean 'tiny'"):
        qs.pretrained("tin")
    with pytest.raises(InputError, match="unknown pretrained learner"):
        qs.pretrained("../tiny")


def test_files_of_something_else_are_refused(weights: qs.Learner, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, {"rule": {}, "weights": {}})
    with pytest.raises(CheckpointError, match="holds no learner"):
        shipped.load(path, "learner", qs.Learner)
    net = qs.nets.conv4(1, 4)
    shipped.save(net, path, "learner")
    with pytest.raises(CheckpointError, match="which is not a Learner"):
        shipped.load(path, "learner", qs.Learner)
    save_checkpoint(path, {"learner": qs.registry.describe(weights), "weights": {"other": torch.zeros(1)}})
    with pytest.raises(CheckpointError, match="weights of another learner"):
        shipped.load(path, "learner", qs.Learner)


def test_a_run_becomes_a_file_whose_card_says_what_trained_it(runs: Path, weights: qs.Learner, tmp_path: Path) -> None:
    for name in ("protonet", "maml"):
        shipped.save_run(runs / name, tmp_path / f"{name}.safetensors", checkpoint="last")
        support = qs.Examples(IMAGES[:5], torch.arange(5))
        learner, trained = qs.pretrained(name), qs.load(runs / name, checkpoint="last")
        assert torch.equal(
            learner.predict(learner.adapt(support), IMAGES), trained.predict(trained.adapt(support), IMAGES)
        )
    facts = shipped.card("protonet")
    assert (facts["recipe"], facts["steps"], facts["checkpoint"]) == ("glyphs-protonet", 20, "last")
    assert facts["options"]["hidden"] == 8
    assert facts["tasks"]["name"] == "glyphs"
    assert (shipped_learners.can("maml", 5), shipped_learners.can("maml", 20)) == (True, False)
    assert shipped_learners.can("protonet", 20)
    with pytest.raises(CheckpointError, match="not a folder"):
        shipped.save_run(tmp_path / "nothing", tmp_path / "n.safetensors")
    last = tmp_path / "run"
    shutil.copytree(runs / "protonet", last)
    (last / "best.safetensors").unlink(missing_ok=True)
    shipped.save_run(last, tmp_path / "n.safetensors")
    assert shipped.card("n")["checkpoint"] == "last"
    with pytest.raises(InputError, match="unknown checkpoint 'first'"):
        shipped.save_run(runs / "protonet", tmp_path / "n.safetensors", checkpoint="first")
