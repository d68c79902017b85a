"""Recipes: one typed configuration for each published result or example (`quickstudy list recipes`)."""

from quickstudy.recipes import (
    algorithmic,
    architectures,
    baselines,
    beliefs,
    bounds,
    challenge,
    drawings,
    gaussian_process,
    learned_data,
    losses,
    memory,
    metric,
    model,
    modes,
    omniglot,
    optimization,
    optimizers,
    simulators,
    sinusoid,
    streams,
    tables,
    tuning,
)
from quickstudy.recipes.base import Plan, Recipe, of_run
from quickstudy.registry import TABLES

# A recipe knows its own name, which its runs store.
for _name, _entry in TABLES["recipe"].items():
    _entry.build.name, _entry.build.paper = _name, _entry.facts.get("paper", "")  # type: ignore[attr-defined]

__all__ = [
    "Plan",
    "Recipe",
    "algorithmic",
    "architectures",
    "baselines",
    "beliefs",
    "bounds",
    "challenge",
    "drawings",
    "gaussian_process",
    "learned_data",
    "losses",
    "memory",
    "metric",
    "model",
    "modes",
    "of_run",
    "omniglot",
    "optimization",
    "optimizers",
    "simulators",
    "sinusoid",
    "streams",
    "tables",
    "tuning",
]
