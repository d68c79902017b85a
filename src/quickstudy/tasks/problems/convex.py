"""Convex problems of optimisation, of random numbers alone: quadratics and logistic regression."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.nets.initialisation import initialise
from quickstudy.problem import Optimizee, Problem
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution
from quickstudy.tasks.problems.fitting import Scale, draw_scale, fingerprint_of, parse_scale


class ConvexTasks(TaskDistribution):
    """Base of problems of one linear layer: a plan holds a key, from which all else is drawn, and scales.

    Args:
        net: the linear layer.
        scales: numbers or ranges by name, of which each task draws one.
        seed: the stream's seed.
    """

    metric = "loss"

    def __init__(self, net: nn.Linear, scales: dict[str, Scale], seed: int) -> None:
        super().__init__(seed)
        self.net = net
        self._scales = {name: parse_scale(name, value) for name, value in scales.items()}

    def plan(self, indices: Tensor) -> Plan:
        """Return keys (T,) and scales (T,)."""
        keys = self.keys(indices)
        drawn = {
            name: draw_scale(random.fold_in(keys, number + 1), ends)
            for number, (name, ends) in enumerate(self._scales.items())
        }
        return {"key": random.fold_in(keys, 0), **drawn}

    def _inputs(self, plan: Plan, rows: int) -> Tensor:
        """Return (T, rows, D) normal numbers whose columns' scales fall from 1 to 1 / conditioning."""
        d = self.net.in_features
        falling = plan["conditioning"].reshape(-1, 1, 1) ** -torch.linspace(0, 1, d, device=plan["key"].device)
        return random.normal(random.fold_in(plan["key"], 1), rows, d) * falling

    def to(self, device: torch.device | str) -> Self:
        """Move the net to a device."""
        self.net.to(device)
        return super().to(device)

    @property
    def fingerprint(self) -> str:
        """Hash of what the numbers are drawn for."""
        return fingerprint_of(self.net, getattr(self, "rows", None), getattr(self, "query_rows", None))

    def describe(self) -> dict[str, Any]:
        """Return facts about the problems."""
        facts = {"dimensions": self.net.in_features, **{name: list(ends) for name, ends in self._scales.items()}}
        return {**super().describe(), **facts}


@register("tasks")
class Quadratics(ConvexTasks):
    """f(theta) = |W theta - y|^2 / rows, with W and y standard normal (Andrychowicz et al. 2016, section 3.1).

    As linear regression without bias: the rows are W and y, and a fit is judged by the same rows. Departures: the
    paper's f is the sum over rows, ours their mean; the paper does not say where theta begins.

    Args:
        dimensions: D, of theta; W has as many rows.
        conditioning: c; the columns of W are multiplied by factors that fall geometrically from 1 to 1 / c.
        scale: what W and y are multiplied by: f grows with its square.
        start_scale: standard deviation of theta_0.
        seed: the stream's seed.

    Raises:
        InputError: an argument is out of range.
    """

    name = "quadratics"

    def __init__(
        self,
        dimensions: int = 10,
        conditioning: Scale = 1.0,
        scale: Scale = 1.0,
        start_scale: Scale = 1.0,
        seed: int = 0,
    ) -> None:
        if dimensions < 1:
            raise InputError(f"dimensions must be at least 1, not {dimensions}")
        scales = {"conditioning": conditioning, "scale": scale, "start_scale": start_scale}
        super().__init__(nn.Linear(dimensions, 1, bias=False), scales, seed)

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs W (T, D, D), targets y (T, D, 1) and theta_0 (T, 1, D)."""
        key, d = plan["key"], self.net.in_features
        scale, start_scale = (plan[name].reshape(-1, 1, 1) for name in ("scale", "start_scale"))
        inputs = Optimizee(self._inputs(plan, d) * scale, self.net)
        targets = random.normal(random.fold_in(key, 2), d, 1) * scale
        start = {"weight": random.normal(random.fold_in(key, 3), 1, d) * start_scale}
        return Task(Problem(inputs, targets, start), Examples(inputs, targets, check=False))


@register("tasks")
class LogisticRegression(ConvexTasks):
    """Multinomial logistic regression on normal features, whose labels a random teacher of the same form draws.

    For real features take `Fitting` with a linear layer as its net.

    Args:
        dimensions: D, of the features.
        ways: classes N.
        rows: rows to fit.
        query_rows: other rows of the same teacher, by which a fit is judged; None judges it by the rows it was made to.
        conditioning: c; features are multiplied by factors that fall geometrically from 1 to 1 / c.
        sharpness: standard deviation of the teacher's logits where features are all of scale 1: labels of a sharp
            teacher have little noise.
        start_scale: what the drawn parameters are multiplied by.
        seed: the stream's seed.

    Raises:
        InputError: an argument is out of range.
    """

    name = "logistic-regression"

    def __init__(
        self,
        dimensions: int = 10,
        ways: int = 2,
        rows: int = 64,
        query_rows: int | None = 64,
        conditioning: Scale = 1.0,
        sharpness: Scale = 3.0,
        start_scale: Scale = 1.0,
        seed: int = 0,
    ) -> None:
        if min(dimensions, ways - 1, rows, query_rows or 1) < 1 or query_rows == 0:
            raise InputError(
                f"{dimensions=}, {rows=} and {query_rows=} must be at least 1 (query_rows may be None), {ways=} at "
                "least 2"
            )
        scales = {"conditioning": conditioning, "sharpness": sharpness, "start_scale": start_scale}
        super().__init__(nn.Linear(dimensions, ways), scales, seed)
        self.rows, self.query_rows = rows, query_rows

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs (T, S, D) and labels (T, S)."""
        key, d, ways, s = plan["key"], self.net.in_features, self.net.out_features, self.rows
        x = self._inputs(plan, s + (self.query_rows or 0))
        teacher = random.normal(random.fold_in(key, 2), d, ways) * (plan["sharpness"] / d**0.5).reshape(-1, 1, 1)
        # The largest of logits with Gumbel noise is a draw from their softmax.
        noise = -torch.log(-torch.log(random.uniform(random.fold_in(key, 3), x.shape[1], ways).clamp(1e-7)))
        labels = (x @ teacher + noise).argmax(-1)
        start = initialise(self.net, random.fold_in(key, 4), plan["start_scale"])
        support = Problem(Optimizee(x[:, :s], self.net), labels[:, :s], start)
        judged = slice(None) if self.query_rows is None else slice(s, None)
        return Task(support, Examples(Optimizee(x[:, judged], self.net), labels[:, judged], check=False))

    def describe(self) -> dict[str, Any]:
        """Return facts about the problems."""
        facts = {"ways": self.net.out_features, "rows": self.rows, "query_rows": self.query_rows}
        return {**super().describe(), **facts}
