"""Which queries were named wrongly, and what is shown of them."""

import importlib

import pytest
import torch

import quickstudy as qs
from quickstudy.registry import lookup
from quickstudy.reports.episodes import Episodes
from tests.helpers.real_data import require

page = importlib.import_module("quickstudy_studies.wrong_episodes")  # the package has the function of that name
NAMES = ("a/1", "a/1@90", "a/2", "b/1")
# One row a task: which class each of its four queries, of classes 0 to 3, is taken for.
ANSWERS = torch.tensor([[0, 1, 2, 3], [1, 1, 0, 3], [0, 3, 2, 2]])
SURE = torch.tensor([[5.0] * 4, [1.0, 5.0, 3.0, 5.0], [5.0, 4.0, 5.0, 6.0]])


@pytest.fixture
def data():
    return qs.datasets.ClassData(
        torch.zeros(4, 1, 6, 6), torch.arange(4), NAMES, attributes={"alphabet": tuple("aaab")}
    )


@pytest.fixture
def episodes() -> Episodes:
    labels = torch.arange(4).expand(3, 4)
    drawings = torch.rand(3, 4, 1, 6, 6)
    # The right class is always at least the second guess.
    outputs = torch.nn.functional.one_hot(labels, 4) * 0.5 + torch.nn.functional.one_hot(ANSWERS, 4) * SURE[..., None]
    rows = qs.Examples(drawings, labels, ways=4, check=False)
    return Episodes(qs.Task(rows, qs.Examples(drawings, labels, ways=4, check=False)), outputs, labels)


def test_mistakes_are_told_by_what_the_answer_is(episodes, data):
    found = page.mistakes(episodes, data)
    assert [(each.task, each.right, each.answer, each.kind) for each in found] == [
        (1, 0, 1, "turned copy"),
        (1, 2, 0, "same alphabet"),
        (2, 1, 3, "other alphabet"),
        (2, 3, 2, "other alphabet"),
    ]
    assert all(each.second for each in found)
    assert found[0].offered == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert found[3].offered == (0, 0, 1)
    facts = page.facts(episodes, found)
    assert (facts["queries"], facts["wrong"], facts["all_right"]) == (12, 4, 1)
    assert facts["kinds"] == {"turned copy": 0.25, "same alphabet": 0.25, "other alphabet": 0.5}
    assert "4 of 12 queries are named wrongly (33.33 %); in 1 of 3 tasks none" in page.markdown([facts])
    assert "8 of 24 queries are named wrongly (33.33 %); in 2 of 6 tasks none" in page.markdown([facts, facts])


def test_no_task_is_shown_twice(episodes, data, monkeypatch):
    found = page.mistakes(episodes, data)
    assert page.chosen(found) == [found[0], found[2]]
    monkeypatch.setattr(page, "SHOWN", 1)
    first, surest = page.chosen(found)
    assert (first, surest) == (found[0], found[3])


def test_frames_lie_on_the_right_class_and_on_the_answer(episodes, data):
    first = page.mistakes(episodes, data)[1]
    (axes,) = page.figure([page.line(episodes, first)]).axes
    green, red = axes.patches
    canvas = axes.images[0].get_array()
    for frame, label in ((green, first.right), (red, first.answer)):
        left, top = int(frame.get_x()) + 2, int(frame.get_y()) + 2
        shown = torch.tensor(canvas[top : top + 6, left : left + 6])
        torch.testing.assert_close(1 - shown, episodes.tasks.support.inputs[1, label, 0], atol=0.5 / 255 + 1e-6, rtol=0)
    query = episodes.tasks.query.inputs[1, 2, 0]
    torch.testing.assert_close(1 - torch.tensor(canvas[:6, :6]), query, atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.slow
def test_runs_whole(tmp_path):
    require("omniglot")
    lines = lookup("reproduction", "wrong-episodes").build(tmp_path / "here", lambda *_: None, quick=True)
    assert lines[0].startswith("| the wrong answer is")
    assert (tmp_path / "here" / "wrong-episodes.png").is_file()
    assert len(list((tmp_path / "trained").iterdir())) == 1
