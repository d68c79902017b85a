"""Hyper-parameters of training on a few digits, by hyper-gradients and by Optuna: the same space, start and rows.

100 of scikit-learn's digits are trained on by gradient descent, from parameters as PyTorch draws them; the loss on 500
others is minimised, and that on the other 1,197 looked at once. Rates and lengths of searches were chosen on split 0,
which is none of those reported. Two problems:

    many: logistic regression, a weight decay for each of the 64 pixels
    few:  a perceptron with a hidden layer, a rate and a weight decay for each of the two layers

A training run is all steps of gradient descent from the start. What derivatives cost beyond it is counted in gradients
of the inner loss: through a whole run, a product with the Hessian a step; a product counts as two gradients.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from quickstudy import batching, nets
from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.inner.differentiation import Implicit
from quickstudy.learners import HyperParameters
from quickstudy.operators.substitution import with_parameters
from quickstudy.outer import Gradient, Truncated
from quickstudy.outer.base import trainable
from quickstudy.recipes.tuning import DigitsDecays
from quickstudy.tasks import OneTask
from quickstudy.training.starting import meta_train

LACKING = "Optuna is not installed, which this compares with: pip install 'quickstudy[compare]'"
RANGES = {"rule.log_lr": (1e-3, 1.0), "log_weight_decay": (1e-6, 0.3)}
"""Of each hyper-parameter, log-uniform."""
PRODUCT = 2
"""What a product with the Hessian costs, in gradients."""
ALONG, ENDLESS = "InnerSteps", 10**9

Which = Literal["many", "few"]
Point = tuple[int, float, float]
"""Training runs, what they and derivatives cost in training runs, and the validation loss of the last of them."""


@dataclass(frozen=True)
class Settings:
    """Settings of training, and of each search."""

    steps: int = 300
    runs: int = 10
    trials: int = 100
    rates: tuple[float, float] = (1.0, 0.7)
    """Outer rate for 'many' and 'few'."""
    products: int = 20
    segment: int = 10
    online_runs: int = 3
    online_rate: float = 0.1


@dataclass(frozen=True)
class Search:
    """One search by Optuna."""

    which: Which
    seed: int
    shared: bool = False
    """Whether a kind of hyper-parameter has one value alone."""


def split(seed: int) -> tuple[Task, Examples]:
    """Return training and validation rows, and test rows, of one repetition."""
    return DigitsDecays(split=seed).problem()


def problem(which: Which, settings: Settings) -> HyperParameters:
    """Return a learner whose hyper-parameters are to be found, as all searches begin."""
    torch.manual_seed(0)
    if which == "many":
        return DigitsDecays(inner_steps=settings.steps).make_learner()
    return HyperParameters(nets.mlp(64, (32,), 10), lr=0.03, weight_decay=1e-3, steps=settings.steps)


KINDS: dict[Which, dict[str, bool]] = {"many": {"optuna": False, "shared": True}, "few": {"optuna": False}}
"""Searches by Optuna: whether hyper-parameters of a kind share one value."""


def sampled(which: Which, seeds: Sequence[int], settings: Settings) -> dict[str, dict[str, Any]]:
    """Return what Optuna finds, by seed and kind of search, as JSON; all of it side by side."""
    asked = [(seed, kind) for seed in seeds for kind in KINDS[which]]
    found = sample([Search(which, seed, KINDS[which][kind]) for seed, kind in asked], settings)
    results: dict[str, dict[str, Any]] = {str(seed): {} for seed in seeds}
    for (seed, kind), each in zip(asked, found, strict=True):
        results[str(seed)][kind] = each
    return results


def followed(seed: int, settings: Settings) -> dict[Which, dict[str, Any]]:
    """Return what hyper-gradients find on one split, as JSON."""
    rows = split(seed)
    many, few = (Gradient(rate, schedule="cosine") for rate in settings.rates)
    implicit = Gradient(many.lr, schedule="cosine", through=Implicit("neumann", settings.products))
    return {
        "many": {
            "unrolled": descend(problem("many", settings), rows, settings, many),
            "implicit": descend(problem("many", settings), rows, settings, implicit),
            "online": online(problem("many", settings), rows, settings),
        },
        "few": {"unrolled": descend(problem("few", settings), rows, settings, few)},
    }


def sample(searches: Sequence[Search], settings: Settings) -> list[dict[str, Any]]:
    """Search by Optuna's default sampler, from where all begin; searches of one problem, side by side."""
    library, learner = _optuna(), problem(searches[0].which, settings)
    rows = batching.stack([split(each.seed) for each in searches])
    start = {name: values.detach().exp() for name, values in trainable(learner).items()}
    studies: list[Any] = []
    curves: list[list[Point]] = []
    for each in searches:
        study = library.create_study(sampler=library.samplers.TPESampler(seed=each.seed))
        study.enqueue_trial({name: float(start[part][i]) for part, i, name in _names(start, each.shared)})
        studies.append(study)
        curves.append([])
    best = [(math.inf, math.inf)] * len(searches)
    for number in range(1, settings.trials + 1):
        trials = [study.ask() for study in studies]
        values = [_suggested(trial, start, each.shared) for trial, each in zip(trials, searches, strict=True)]
        losses = judged(learner, batching.stack(values), rows)
        for i, pair in enumerate(losses):
            studies[i].tell(trials[i], pair[0])
            best[i] = min(best[i], pair)
            curves[i].append((number, float(number), pair[0]))
    return [
        {"curve": curve, "validation": valid, "test": test} for curve, (valid, test) in zip(curves, best, strict=True)
    ]


def judged(
    learner: HyperParameters, values: dict[str, Tensor], rows: tuple[Task, Examples]
) -> list[tuple[float, float]]:
    """Return the losses on validation and test rows of R training runs, infinite where they diverge.

    Args:
        learner: is left as it is.
        values: (R, ...) logarithms of hyper-parameters, by name.
        rows: R tasks and R sets of test rows.
    """

    def losses(task: Task, test: Examples) -> Tensor:
        state = learner.adapt(task.support)
        return torch.stack([learner.loss(state, task.query), learner.loss(state, test)])

    with torch.no_grad():
        found = batching.map_tasks(lambda own, task: with_parameters(learner, own, losses, *task), values, rows)
    return [(valid, test) for valid, test in torch.nan_to_num(found, nan=math.inf).tolist()]


def descend(
    learner: HyperParameters, rows: tuple[Task, Examples], settings: Settings, outer: Gradient
) -> dict[str, Any]:
    """Follow hyper-gradients of whole runs, the last of which trains with what was found; changes the learner."""
    more = PRODUCT if outer.through is None else PRODUCT * (settings.products + 1) / settings.steps
    history = _train(learner, rows[0], outer, settings.runs - 1)
    curve = [(number + 1, 1 + number * (1 + more), loss) for number, loss in enumerate(history)]
    return _ended(learner, rows, curve, settings.runs, 1 + (settings.runs - 1) * (1 + more))


def online(learner: HyperParameters, rows: tuple[Task, Examples], settings: Settings) -> dict[str, Any]:
    """Follow hyper-gradients of segments of one long run, then train with what was found; changes the learner."""
    segments = settings.online_runs * settings.steps // settings.segment
    learner.steps = ENDLESS
    _train(learner, rows[0], Truncated(settings.segment, settings.online_rate, schedule="cosine"), segments, ALONG)
    learner.steps = settings.steps
    return _ended(learner, rows, [], settings.online_runs + 1, settings.online_runs * (1 + PRODUCT) + 1)


def _ended(
    learner: HyperParameters, rows: tuple[Task, Examples], curve: list[Point], runs: int, cost: float
) -> dict[str, Any]:
    learned = {name: values.detach() for name, values in trainable(learner).items()}
    ((valid, test),) = judged(learner, batching.stack([learned]), batching.stack([rows]))
    found = {name: values.exp().tolist() for name, values in learned.items()}
    return {"curve": [*curve, (runs, cost, valid)], "validation": valid, "test": test, "found": found}


def _train(
    learner: HyperParameters, task: Task, outer: Gradient | Truncated, steps: int, objective: str | None = None
) -> list[float]:
    """Return the losses of outer steps."""
    options: dict[str, Any] = {"log_every": 1, "objective": objective, "progress": False, "compile": False}
    history = meta_train(learner, OneTask(task), outer, steps=steps, meta_batch=1, **options).history
    return [row["loss"] for row in history]


def _names(start: dict[str, Tensor], shared: bool) -> list[tuple[str, int, str]]:
    """Return kind, number and name of each hyper-parameter."""
    return [(part, i, f"{part} {i}") for part, values in start.items() for i in range(1 if shared else len(values))]


def _suggested(trial: Any, start: dict[str, Tensor], shared: bool) -> dict[str, Tensor]:
    """Return logarithms of the hyper-parameters that a trial is to try."""
    found: dict[str, list[float]] = {part: [] for part in start}
    for part, _, name in _names(start, shared):
        found[part].append(math.log(trial.suggest_float(name, *RANGES[part], log=True)))
    return {part: torch.tensor(values).expand(len(start[part])) for part, values in found.items()}


def _optuna() -> Any:
    try:
        library = importlib.import_module("optuna")
    except ImportError as error:
        raise InputError(LACKING) from error
    library.logging.set_verbosity(library.logging.WARNING)
    return library
