"""Problems of fitting a net to what a random teacher says: regression and classification, with and without noise."""

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

FEATURES = 8
"""Of a teacher."""


@register("tasks")
class Imitation(TaskDistribution):
    """Fitting a net to a random teacher, y = standardised(tanh(x W + b) V + x U), of normal inputs x.

    For regression the targets are y and noise; for classification labels are drawn from softmax(sharpness y), so that
    few of a sharp teacher's are noise. Noise is part of the rows, drawn once: a net that is large enough can fit it.

    Args:
        net: from (S, dimensions) to (S, outputs).
        dimensions: D, of the inputs.
        outputs: targets a row, or classes.
        classify: whether outputs are classes.
        rows: rows to fit.
        judged: how many of them a fit is judged by.
        conditioning: c; inputs are multiplied by factors that fall geometrically from 1 to 1 / c.
        input_scale: what inputs are multiplied by after the teacher saw them.
        sharpness: of labels.
        noise: standard deviation of what is added to targets.
        start_scale: what the drawn parameters are multiplied by.
        seed: the stream's seed.

    Raises:
        InputError: an argument is out of range.
    """

    name = "imitation"
    metric = "loss"

    def __init__(
        self,
        net: nn.Module,
        dimensions: int,
        outputs: int = 1,
        classify: bool = False,
        rows: int = 256,
        judged: int = 128,
        conditioning: Scale = (1.0, 3.0),
        input_scale: Scale = (0.5, 2.0),
        sharpness: Scale = (1.0, 10.0),
        noise: Scale = (0.01, 0.5),
        start_scale: Scale = (0.7, 1.4),
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if min(dimensions, outputs - classify, judged) < 1 or judged > rows:
            raise InputError(
                f"{dimensions=}, {outputs=} and {judged=} must be at least 1 (2 classes), and judged at most {rows=}"
            )
        self.net, self.dimensions, self.outputs, self.classify = net, dimensions, outputs, classify
        self.rows, self.judged = rows, judged
        scales = {"conditioning": conditioning, "input_scale": input_scale, "start_scale": start_scale}
        # The one that is not used is checked too.
        parse_scale("sharpness", sharpness), parse_scale("noise", noise)
        scales |= {"sharpness": sharpness} if classify else {"noise": noise}
        self._scales = {name: parse_scale(name, value) for name, value in scales.items()}
        initialise(net, random.key(0))

    def plan(self, indices: Tensor) -> Plan:
        """Return keys (T,) and scales (T,)."""
        keys = self.keys(indices)
        drawn = {
            name: draw_scale(random.fold_in(keys, number + 1), ends)
            for number, (name, ends) in enumerate(self._scales.items())
        }
        return {"key": random.fold_in(keys, 0), **drawn}

    def gather(self, plan: Plan) -> Task:
        """Return tasks with inputs (T, S, D) and labels (T, S) or targets (T, S, outputs)."""
        key, d, s = plan["key"], self.dimensions, self.rows
        keys = [random.fold_in(key, number) for number in range(7)]
        scale = {name: plan[name].reshape(-1, 1, 1) for name in self._scales}
        x = random.normal(keys[0], s, d) * scale["conditioning"] ** -torch.linspace(0, 1, d, device=key.device)
        weights, linear = (random.normal(k, d, n) / d**0.5 for k, n in ((keys[1], FEATURES), (keys[2], self.outputs)))
        hidden = torch.tanh(2 * x @ weights + random.normal(keys[3], 1, FEATURES))
        said = hidden @ random.normal(keys[4], FEATURES, self.outputs) / FEATURES**0.5 + x @ linear / 2
        said = (said - said.mean(1, keepdim=True)) / said.std(1, keepdim=True).clamp_min(1e-3)
        if self.classify:
            # The largest of logits with Gumbel noise is a draw from their softmax.
            gumbel = -torch.log(-torch.log(random.uniform(keys[5], s, self.outputs).clamp(1e-7)))
            labels = (scale["sharpness"] * said + gumbel).argmax(-1)
        else:
            labels = said + scale["noise"] * random.normal(keys[5], s, self.outputs)
        x = x * scale["input_scale"]
        start = initialise(self.net, keys[6], plan["start_scale"])
        query = Examples(Optimizee(x[:, : self.judged], self.net), labels[:, : self.judged], check=False)
        return Task(Problem(Optimizee(x, self.net), labels, start), query)

    def to(self, device: torch.device | str) -> Self:
        """Move the net to a device."""
        self.net.to(device)
        return super().to(device)

    @property
    def fingerprint(self) -> str:
        """Hash of what the numbers are drawn for."""
        return fingerprint_of(self.net, self.dimensions, self.outputs, self.classify, self.rows, self.judged)

    def describe(self) -> dict[str, Any]:
        """Return facts about the problems."""
        facts = {"net": type(self.net).__name__, "rows": self.rows, "judged": self.judged, "outputs": self.outputs}
        scales = {name: list(ends) for name, ends in self._scales.items()}
        return {**super().describe(), **facts, "classify": self.classify, **scales}
