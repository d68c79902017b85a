"""Run folders and banks of tasks that an earlier version wrote are read, evaluated and gone on with as ever."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import quickstudy as qs
from quickstudy.cli import main
from tests.frozen import record
from tests.frozen.test_weights_after_30_steps import agree, need_the_same_glyphs

pytestmark = pytest.mark.usefixtures("glyph_cache")
STORED = json.loads((record.HERE / "runs.json").read_text())
CLOSE = {"rel": 1e-5, "abs": 1e-5}


@pytest.fixture
def copy(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a copy of a run folder, which the test may write into."""
    shutil.copytree(record.RUNS / request.param, tmp_path / request.param)
    return tmp_path / request.param


@pytest.mark.parametrize("name", sorted(record.FOLDERS))
def test_a_run_folder_holds_the_weights_that_it_held(name: str) -> None:
    found, stored = record.measured(qs.load(record.RUNS / name)), STORED[name]["weights"]
    assert found["sha256"] == stored["sha256"]
    assert list(found["tensors"]) == list(stored["tensors"])


@pytest.mark.parametrize("name", record.JUDGED)
def test_a_run_predicts_as_ever(name: str) -> None:
    found = record.predictions(qs.load(record.RUNS / name), name)
    np.testing.assert_allclose(found, STORED[name]["predictions"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", record.SHIPPED)
def test_a_pretrained_learner_predicts_as_ever(name: str) -> None:
    found = record.predictions(qs.pretrained(name), name)
    np.testing.assert_allclose(found, STORED["pretrained"][name], rtol=1e-4, atol=1e-4)


def test_a_classifier_of_a_run_answers_as_ever() -> None:
    rows, inputs = record.support("glyphs-protonet")
    classifier = qs.FewShotClassifier.from_run(record.RUNS / "glyphs-protonet")
    classifier.fit(rows.inputs.numpy(), rows.labels.numpy())
    logits = np.array(STORED["glyphs-protonet"]["predictions"])
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(classifier.predict_proba(inputs.numpy()), expected, atol=1e-5)


@pytest.mark.parametrize("name", record.JUDGED)
def test_an_evaluation_on_a_bank_gives_the_same_figure(name: str) -> None:
    need_the_same_glyphs(name)
    bank = qs.tasks.Bank.load(record.BANKS / f"{name}.safetensors", record.tasks(name))
    found, stored = record.evaluated(qs.evaluate(qs.load(record.RUNS / name), bank)), STORED[name]["evaluation"]
    assert found["metric"] == stored["metric"]
    assert found["mean"] == pytest.approx(stored["mean"], **CLOSE)
    assert found["values"] == pytest.approx(stored["values"], **CLOSE)
    assert list(found["curve"]) == pytest.approx(stored["curve"], **CLOSE)


@pytest.mark.parametrize("name", record.JUDGED)
def test_a_bank_is_written_as_ever(name: str, tmp_path: Path) -> None:
    need_the_same_glyphs(name)
    record.tasks(name).bank(record.TASKS).save(tmp_path / "bank")
    again = qs.tasks.Bank.load(tmp_path / "bank", record.tasks(name))
    kept = qs.tasks.Bank.load(record.BANKS / f"{name}.safetensors", record.tasks(name))
    assert again.describe() == kept.describe()
    for part in ("support", "query"):
        found, stored = (getattr(each.batch(0, record.TASKS), part) for each in (again, kept))
        np.testing.assert_allclose(found.inputs, stored.inputs, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.labels, stored.labels, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("copy", record.JUDGED, indirect=True)
def test_the_command_evaluates_a_run_as_ever(copy: Path) -> None:
    need_the_same_glyphs(copy.name)
    found, stored = record.of_command(copy), STORED[copy.name]["command"]
    assert found == {name: pytest.approx(v, **CLOSE) if isinstance(v, float) else v for name, v in stored.items()}


@pytest.mark.parametrize("copy", sorted(record.FOLDERS), indirect=True)
def test_an_interrupted_run_goes_on_to_its_end(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need_the_same_glyphs(copy.name)
    given = qs.recipes.of_run(copy)
    assert given == record.recipe(copy.name, **record.FOLDERS[copy.name])
    begun = (copy / "metrics.csv").read_text()
    steps = record.FOLDERS[copy.name]["steps"] + record.LATER
    options = {**record.SAME, **record.FOLDERS[copy.name], "steps": steps}
    args = [each for name, value in options.items() for each in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["train", copy.name, "--run-dir", str(copy), *args]) == 0
    captured = capsys.readouterr()
    assert "going on with the run" in captured.err
    assert f"Meta-trained {copy.name}: {steps} outer steps" in captured.out
    log = (copy / "metrics.csv").read_text()
    assert log.startswith(begun)
    assert log.splitlines()[-1].startswith(f"{steps},")
    agree(record.measured(qs.load(copy, checkpoint="last")), STORED[copy.name]["later"], STORED["machine"])


@pytest.mark.parametrize("copy", ["sinusoid-maml"], indirect=True)
def test_a_run_goes_on_from_python_too(copy: Path) -> None:
    learner = qs.learners.MAML(qs.nets.mlp(1, (40, 40), outputs=1), 0.01, 1)
    steps = record.FOLDERS[copy.name]["steps"] + record.LATER
    run = qs.meta_train(
        learner,
        qs.tasks.Sinusoid(5, 10, seed=0),
        qs.outer.Gradient(lr=2e-3, schedule="cosine"),
        qs.tasks.Sinusoid(5, 100, seed=1),
        steps,
        5,
        copy,
        validate_every=10,
        validation_tasks=2,
        compile=False,
        device="cpu",
        progress=False,
    )
    assert run.steps == steps
    assert run.history[-1]["step"] == steps
    agree(record.measured(qs.load(copy, checkpoint="last")), STORED[copy.name]["later"], STORED["machine"])
