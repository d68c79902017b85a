"""What the command shows of results."""

import numpy as np

from quickstudy.cli.judging import result_row
from quickstudy.evaluation import Report


def test_a_line_tells_how_many_tasks_counted() -> None:
    assert result_row("run", Report("accuracy", np.array([0.5, 1.0, 0.0]))) == ["run", "0.5000", "1.2421", "3"]
    # A task whose rows are all of one class has no ROC curve.
    partial = Report("auc", np.array([0.5, 1.0, np.nan, 0.0]))
    assert result_row("  baseline", partial) == ["  baseline", "0.5000", "1.2421", "3"]
