"""The parts of a page about how far a run's uncertainty can be relied on."""

from __future__ import annotations

from contextlib import closing

from quickstudy.evaluation import interval95, predictions, reliability
from quickstudy.evaluation.uncertainty import refuses
from quickstudy.reports import page, plots
from quickstudy.reports.assessment import Assessment, OpenedRun
from quickstudy.tasks.base import Bank


def calibration(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    """Return the share of right answers among those of some confidence."""
    error = found.report.calibration
    drawing = plots.svg(plots.reliability(found.report.reliability), name, f"Reliability: error {error:.3f}")
    return [
        page.figure(
            drawing,
            "How often predictions of a given confidence are correct. A calibrated model lies on the dashed line. "
            f"Expected calibration error {error:.4f}, 15 bins.",
        )
    ]


def says_how_sure(run: OpenedRun) -> bool:
    """Whether predictions can be judged by `reliability`."""
    if run.test.sequential:
        return False
    with closing(predictions(run.learner, run.test, 1)) as found:
        first = next(found)
    return refuses(first.outputs, first.tasks.query) is None


def abstention(found: Assessment, bank: Bank, name: str, level: int) -> list[str]:
    """Return what intervals or prediction sets hold, and what is gained by leaving the unsure queries out."""
    tasks = min(len(bank), len(found.report.values))
    judged = reliability(found.run.learner, bank, tasks)
    regression = bank.batch(0, 1).query.labels.dtype.is_floating_point
    holds, error = ("intervals", "mean squared error") if regression else ("prediction sets", "share of wrong answers")

    # Shares read best in per cent, squared errors as they are.
    def told(value: float) -> str:
        return f"{value:.3g}" if regression else f"{100 * value:.1f} %"

    held, half = 100 * judged.coverage, 100 * interval95(judged.held)
    size = f"on average {judged.size:.3g} wide" if regression else f"of {judged.size:.2f} classes on average"
    surer, every = judged.risk[len(judged.risk) // 2 - 1], judged.risk[-1]
    text = (
        f"{100 * judged.level:.0f} % {holds}, {size}, hold {held:.1f} ± {half:.1f} % "
        f"of the answers of {tasks} tasks; log-likelihood {judged.log_likelihood:.3f} nats per query. "
        f"{'Mean squared error' if regression else 'Error'} {told(every)}; {told(surer)} if the model answers only the "
        f"half it is most sure of (area under the risk-coverage curve {judged.area:.3g})."
    )
    drawing = plots.uncertainty({"": (holds, error, {found.report.learner: vars(judged)})})
    caption = (
        f"Left: the share of answers that {holds} of each level hold (on the straight line if the level is right). "
        "Right: the error where only the surest queries are answered."
    )
    return [page.paragraph(text), page.figure(plots.svg(drawing, name, text), caption)]
