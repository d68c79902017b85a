"""Studies that are pictures: what a memory reads, what is below the exact posterior, and what is drawn of rows."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quickstudy_studies import episode, memory, neural_processes, sequences
from quickstudy_studies.shared.drawings import as_drawing, as_text

ROWS = Path(__file__).parents[2] / "docs" / "results" / "rows"


def test_a_drawing_comes_back_within_half_a_level():
    drawing = torch.rand(7, 7)
    np.testing.assert_allclose(as_drawing(as_text(drawing)), drawing.numpy(), atol=0.5 / 255 + 1e-6)


def cell(read, write, slots=3):
    """State of a DNC that reads one slot and writes one slot."""
    at = torch.eye(slots)
    return SimpleNamespace(
        memory=torch.zeros(1, slots, 2), read_weights=at[read].expand(1, 1, -1), write_weights=at[[write]]
    )


def test_what_is_read_is_traced_to_the_step_that_wrote_it():
    # Slots 0, 1 and 0 again are written; what is read at each step was written at 0, 1, and 1.
    found = memory.origins([cell(0, 0), cell(1, 1), cell(1, 0)])
    assert torch.equal(found, torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]]))
    assert torch.equal(memory.origins([cell(0, 0), cell(0, 0)]), torch.eye(2))


READ = {"learner": "DNC", "labels": [0, 1, 0, 1], "answers": [1, 1, 0, 0], "origins": torch.eye(4).tolist()}
READ["drawings"] = [as_text(torch.rand(5, 5)) for _ in range(4)]


def test_only_classes_that_were_shown_before_count():
    assert memory.score(READ) == (1, 2)
    assert "| DNC | 1 of 2 |" in memory.markdown([READ])
    assert len(memory.figure([READ]).axes) == 4 + 1


def test_a_process_is_below_the_posterior_by_the_difference_on_the_same_tasks():
    def of(*values):
        return {"values": {"3": list(values)}, "shown": []}

    found = {"exact": of(1.0, 3.0), **{name: of(0.5, 1.5) for name in neural_processes.NAMES}}
    content = neural_processes.results(found)
    assert content["exact"] == {"3": 2.0}
    assert content["below"]["CNP"]["3"] == pytest.approx([1.0, 12.706 * 0.5], rel=1e-3)
    assert neural_processes.markdown(content).splitlines()[-1].startswith("| 3 | 2.000 | -1.000 ± 6.353 |")


def test_sequences_are_drawn_once_for_each_learner_with_what_was_published():
    rows = [json.loads(path.read_text()) for path in sorted(ROWS.glob("*-presentation-2*.json"))]
    (axes,) = sequences.figure(rows).axes
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == [*sequences.curves(rows), "MANN, published"]
    np.testing.assert_allclose(axes.get_lines()[-1].get_xydata(), [[2, 82.8], [5, 94.9]])


def test_an_episode_says_how_many_are_right():
    drawings = [as_text(torch.rand(6, 6)) for _ in range(35)]
    labels = [label for label in range(5) for _ in range(7)]
    task = {"support": drawings[:5], "query": drawings, "labels": labels, "answers": [0] * 35}
    task["probabilities"] = [0.5] * 35
    assert episode.right(task) == 7
    assert episode.markdown([task]).splitlines()[-1] == "| 0 | 35 | 7 |"
    assert len(episode.figure([task]).axes) == 5 * 9
