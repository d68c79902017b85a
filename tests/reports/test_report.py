"""Reports: whole, self-contained, and with the same numbers as an evaluation."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstudy import learners, nets
from quickstudy.cli import main
from quickstudy.evaluation import evaluate, reliability
from quickstudy.reports import episodes, report
from quickstudy.reports.assessment import assess, open_run
from quickstudy.reports.comparison import compare_runs, open_runs

ABSTENTION = "Intervals, prediction sets and abstention"
VOID = {"meta", "img", "br", "use", "path", "line"}


class _Page(HTMLParser):
    """Collects ids, links, images and text, and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        if tag in ("img", "svg"):
            self.images.append({"tag": tag, **values})
        self.links += [values[key] for key in ("href", "src", "xlink:href") if values.get(key)]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


def check_page(path: Path) -> _Page:
    text = path.read_text()
    page = _Page(text)
    assert re.findall(r"https?://|<script|@import|<link", text) == []
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    for image in page.images:
        assert image.get("alt") or image.get("aria-label"), image
    return page


def test_a_page_about_a_classifier_is_whole_and_self_contained(runs, tmp_path, capsys):
    output = tmp_path / "deep" / "page.html"
    assert main(["report", str(runs / "maml"), "--tasks", "12", "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    page = check_page(output)
    wanted = ["Setup", "Learning curves", "Adaptation curve", "Episodes", "Confusions"]
    wanted += [
        "Map of one task",
        "Calibration",
        ABSTENTION,
        "Settings and environment",
    ]
    assert [each for each in page.headings if each in wanted] == wanted
    text = output.read_text()
    for fact in ("nearest neighbour", "Meta-overfitting gap", "1029", "Armenian", "Finn et al. 2017", "inner_lr"):
        assert fact in text
    run = open_run(runs / "maml")
    expected = evaluate(run.learner, run.test, 12, curve_steps=0)
    assert f"<b>{expected.mean:.3f}" in text
    judged = reliability(run.learner, run.test, 12)
    assert judged.risk[-1] == pytest.approx(1 - expected.mean)
    assert f"classes on average, hold {100 * judged.coverage:.1f} ± " in text
    assert f"Error {100 * judged.risk[-1]:.1f} %; " in text
    # Three tasks of five classes with one support image and four queries each.
    assert sum("query of class" in (image.get("alt") or "") for image in page.images) == 3 * 5 * 4


def test_a_page_about_regression_shows_functions(runs):
    path = report.write_report(runs / "sinusoid", tasks=5)
    assert path == runs / "sinusoid" / "report.html"
    page = check_page(path)
    assert "Functions learned from a few points" in page.headings
    assert "Episodes" not in page.headings
    assert ABSTENTION not in page.headings  # its predictions are points
    assert "after 10 steps" in path.read_text()


def test_a_page_about_a_run_whose_log_is_lost_or_damaged(runs, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(runs / "sinusoid", folder)
    (folder / "metrics.csv").unlink()
    assert "The run logged nothing." in report.write_report(folder, tasks=3).read_text()
    (folder / "metrics.csv").write_text("a,b\n1,2\n")
    assert main(["report", str(folder), "--tasks", "3"]) == 1
    assert "metrics.csv is damaged" in capsys.readouterr().err


def test_a_page_compares_learners(runs, tmp_path):
    opened = open_runs([runs / "protonet", runs / "finetune"])
    found = compare_runs(opened, 6, baselines=True)
    folders = {run.name: run.folder for run in opened}
    path = report.write_comparison(found.reports, folders, tmp_path / "page.html", title="A & B", intro="Both.")
    page = check_page(path)
    text = path.read_text()
    assert "<h1>A &amp; B</h1>" in text
    assert {"All learners", "Paired differences", "protonet", "finetune"} <= set(page.headings)
    assert "protonet minus nearest neighbour" in text or "nearest neighbour minus protonet" in text


def test_the_command_compares_runs_on_one_page(runs, tmp_path):
    output = tmp_path / "both.html"
    args = ["report", str(runs / "protonet"), str(runs / "finetune"), "--tasks", "4", "--output", str(output)]
    assert main(args) == 0
    assert "nearest neighbour" in output.read_text()


def test_episodes_are_predicted_as_in_the_evaluation(runs):
    run = open_run(runs / "maml")
    bank = run.test.bank(7, 5)
    expected = evaluate(run.learner, bank, 7, seed=5, curve_steps=0)
    played = episodes.play(run.learner, bank, 7)
    right = (played.outputs.argmax(2) == played.tasks.query.labels).double().mean(1)
    np.testing.assert_array_equal(right.numpy(), expected.values)


def test_confusions_count_every_query(runs):
    run = open_run(runs / "protonet")
    played = episodes.play(run.learner, run.test.bank(9), 9)
    seen = episodes.confusions(played)
    assert sum(seen.counts.values()) == played.tasks.query.labels.numel()
    data = run.test.data
    # The class of a label is that of its pictures.
    first = int(played.classes[0, 0])
    pixels = played.tasks.support.inputs[0][played.tasks.support.labels[0] == 0][0]
    rows = data.inputs[data.labels == first].float() / 255
    assert bool((rows == pixels).flatten(1).all(1).any())
    for a, b, n, chances in seen.worst(5):
        assert a != b
        assert 1 < n <= chances
    names, shares = seen.by(data.attributes["script"])
    np.testing.assert_allclose(shares[:, : len(names)].sum(1), 1)
    assert episodes.grouping(data) == "script"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: learners.ProtoNet(nets.conv4(1, 8)), "the embedding"),
        (lambda: learners.RelationNet(nets.conv4(1, 8, flatten=False), channels=8), "the embedding"),
        (lambda: learners.FineTune(nets.conv4(1, 8), 20, steps=2), "the embedding"),
        (lambda: learners.MAML(nets.conv4(1, 8, 5)), "features below the adapted head"),
        (lambda: learners.CAVIA(nets.conv4(1, 8, 5, context=3)), "features below the adapted head"),
        (lambda: learners.ProtoMAML(nets.conv4(1, 8)), "the logits"),
        (lambda: learners.NearestNeighbour(), "the logits"),
        (lambda: learners.Reptile(nets.conv4(1, 8, 5), batch=2, steps=2), "features below the adapted head"),
    ],
)
def test_features_of_every_kind_of_learner(make, what):
    from quickstudy import Examples, Task

    labels = torch.arange(5)
    task = Task(Examples(torch.rand(5, 1, 28, 28), labels), Examples(torch.rand(10, 1, 28, 28), labels.repeat(2)))
    support, query, name = episodes.features(make().eval(), task, torch.tensor(0))
    assert name == what
    assert support.shape[0] == 5
    assert query.shape[0] == 10
    assert support.shape[1:] == query.shape[1:]


def test_the_gap_is_between_training_and_new_classes(runs):
    run = open_run(runs / "finetune")
    found = assess(run, 5)
    assert found.seen is not None
    gap, interval = found.gap
    assert gap == pytest.approx(found.seen.mean - found.report.mean)
    assert interval > 0
    assert found.seen.tasks["classes"] == len(run.plan.train.classes)


def test_a_page_shades_the_uncertainty_of_a_neural_process(tmp_path):
    options = ["--steps", "2", "--width", "16", "--compile", "False", "--device", "cpu", "--run-dir", str(tmp_path)]
    assert main(["train", "gp-cnp", *options]) == 0
    path = report.write_report(tmp_path, tasks=4)
    assert ABSTENTION in check_page(path).headings
    assert "90 % intervals, on average" in path.read_text()
    text = path.read_text()
    assert "two standard deviations" in text
    assert "Log-likelihood of a query" in text
    found = assess(open_run(tmp_path), 4)
    assert f"{found.report.mean:.3f}" in text
    assert found.report.metric == "log_likelihood"


GLYPHS = ["glyphs-maml", "--hidden", "8", "--queries", "4", "--meta-batch", "2"]
SINUSOID = ["sinusoid-maml", "--compile", "False"]
PROCESS = ["gp-cnp", "--width", "16", "--compile", "False"]


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [
        (GLYPHS, "64-true"),
        (SINUSOID, "64-true"),
        (SINUSOID, "bf16-true"),
        (PROCESS, "64-true"),
        (PROCESS, "bf16-true"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else each,
)
def test_a_page_about_a_run_in_another_precision(glyph_cache, recipe, precision, tmp_path):
    options = ["--steps", "2", "--precision", precision, "--device", "cpu", "--run-dir", str(tmp_path)]
    assert main(["train", *recipe, *options]) == 0
    assert main(["report", str(tmp_path), "--tasks", "3"]) == 0
    dtype = {"64-true": torch.float64, "bf16-true": torch.bfloat16}[precision]
    assert {p.dtype for p in open_run(tmp_path).learner.parameters()} == {dtype}
    check_page(tmp_path / "report.html")
