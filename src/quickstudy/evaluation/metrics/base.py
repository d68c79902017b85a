"""The definition of a metric, and the table from which metrics are asked for by name.

A metric is one entry. Whoever needs its direction, its label or its unit asks the entry, so that a new metric is one
function in one file::

    @metric("within_one", label="Share of queries off by less than one", upper=1.0)
    def within_one(outputs, query):
        return mean_of_rows((outputs - query.labels).abs() < 1, query)

Its name then serves in `evaluate(metric=...)`, in `TaskDistribution.metric`, in comparisons, reports and plots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Learner, Output, State
from quickstudy.errors import InputError, unknown_name
from quickstudy.registry import lookup, register, table

Answers = Callable[[Learner, State, Examples], Output]
Predicts = Literal["classes", "targets", "other"]
Scores = Callable[..., Tensor]
Function = TypeVar("Function", bound=Scores)


def predicted(learner: Learner, states: State, query: Examples) -> Output:
    """Return the predictions (T, Q, ...) of a learner for the queries of T tasks."""
    return batching.predict(learner, states, query.inputs)


@dataclass(frozen=True)
class Metric:
    """A way to judge what a learner answers to the queries of tasks.

    Attributes:
        name: what it is asked for by.
        of: function of the answers to T tasks and of their batched query, which returns (T,) float64.
        label: what readers call it, with a capital letter.
        unit: unit of its values; empty where they are plain numbers.
        lower_is_better: whether a lower value is better.
        predicts: what it judges: 'classes' where predictions are logits of one class a row, so that their
            probabilities can be calibrated and their mistakes be counted; 'targets' where predictions are numbers.
        partial: whether it is undefined (nan) for some tasks, which then do not count in means.
        upper: the largest value there can be, or None.
        chance: function of the number of ways that returns what guessing attains, or None.
        answers: function of a learner, of states of T tasks and of their query, which returns what is judged.
    """

    name: str
    of: Callable[[Output, Examples], Tensor]
    label: str
    unit: str = ""
    lower_is_better: bool = False
    predicts: Predicts = "other"
    partial: bool = False
    upper: float | None = None
    chance: Callable[[int], float] | None = None
    answers: Answers = predicted

    @property
    def title(self) -> str:
        """Label and unit, for tables and axes."""
        return f"{self.label}, in {self.unit}" if self.unit else self.label

    @property
    def is_share(self) -> bool:
        """Whether it is a share of a whole, which papers give in per cent."""
        return self.upper == 1.0

    @property
    def of_predictions(self) -> bool:
        """Whether it judges predictions and nothing else of the learner."""
        return self.answers is predicted

    def gain(self, value: float, over: float) -> float:
        """Return by how much `value` is better than `over`; negative where it is worse."""
        return over - value if self.lower_is_better else value - over


def metric(name: str, **facts: Any) -> Callable[[Function], Function]:
    """Return a decorator that makes a function of answers and query a metric of this name.

    Args:
        name: its name. One that ends in '@k' takes a number: 'hits@10' calls the function with k=10.
        facts: the other attributes of `Metric`. A '{k}' in the label becomes the number.
    """

    def enter(of: Function) -> Function:
        @functools.wraps(of)
        def build(k: int | None = None) -> Metric:
            own = {**facts, "label": str(facts.get("label", name)).replace("{k}", str(k))}
            if k is None:
                return Metric(name, of, **own)
            return Metric(f"{name.removesuffix('k')}{k}", functools.partial(of, k=k), **own)

        register("metric", name, better="lower" if facts.get("lower_is_better") else "higher")(build)
        return of

    return enter


def find_metric(name: str) -> Metric:
    """Return the metric of a name.

    Raises:
        InputError: the name is unknown, or what stands after '@' is no whole number of at least 1.
    """
    if not isinstance(name, str):
        raise InputError(f"a metric is asked for by its name, such as 'accuracy', not by {name!r}")
    family, at, number = name.partition("@")
    if at and f"{family}@k" not in table("metric"):
        raise unknown_name("metric", name, table("metric"))
    if not at:
        return lookup("metric", name).build()  # type: ignore[no-any-return]
    if not number.isdecimal() or int(number) < 1:
        raise InputError(f"metric '{name}' needs a whole number of at least 1 after the @, such as '{family}@10'")
    return lookup("metric", f"{family}@k").build(int(number))  # type: ignore[no-any-return]
