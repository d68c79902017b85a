"""Recipes on Omniglot and on Double MNIST: those on glyphs, with other data and, where it needs more, other numbers.

They are made for minutes on a CPU. On Omniglot, departures that the gradient-based ones share: five queries a class in
meta-training, a cosine schedule, and fewer outer steps of fewer tasks than the papers' 60,000 of 16 or 32, which
`quickstudy reproduce omniglot-maml-5w1s` and its like take (`--quick`: as here). Of others: Muon, where said below.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, get_type_hints

from quickstudy.recipes import baselines, memory, metric, model, optimization, streams
from quickstudy.recipes.base import recipe
from quickstudy.recipes.few_shot import Data
from quickstudy.registry import TABLES

# Nets that embed learn in fewer steps with it than with their papers' Adam (docs/guide/outer.md).
MUON = {"optimizer": "muon", "lr": 0.01}
# 60-way training as in the paper. Warped drawings need more steps and are better after them.
PROTONET = {**MUON, "train_ways": 60, "steps": 5000, "meta_batch": 1, "warp": 0.7}
READING = {"steps": 10_000}
STREAM = {"steps": 5000}

DEFAULTS: dict[str, dict[str, Any]] = {
    "protonet": PROTONET,
    "siamese": {**MUON, "steps": 3000},
    "matching": {**MUON, "steps": 3000},
    "relation": {**MUON, "steps": 2000},
    "maml": {},
    "fomaml": {},
    "reptile": {},
    "metasgd": {},
    "cavia": {},
    "anil": {},
    "adml": {},
    "imaml": {},
    "protomaml": {},
    "incontext": READING,
    "hypernetwork": READING,
    "snail": {"optimizer": "muon", "lr": 5e-3, "steps": 3000},
    "metanet": {**MUON, "steps": 3000},
    "plastic": READING,
    "mann": STREAM,
    "dnc": STREAM,
    "lstm": STREAM,
    "stream-snail": STREAM,
    "stream-metanet": STREAM,
    "stream-plastic": STREAM,
    "stream-incontext": STREAM,
    "finetune": {},
    "baselineplusplus": {},
    "logistic": MUON,
}
"""Options that differ from the recipe on glyphs, by name."""
PAIRS_OF_DIGITS = ("protonet", "maml", "logistic")
"""Methods on Double MNIST, with the options of the recipe on glyphs."""
FAMILIES = (baselines, memory, metric, model, optimization, streams)
"""Modules that register the recipes on glyphs."""


def on(data: str, label: str, name: str, **defaults: Any) -> type:
    """Register and return the recipe 'DATA-NAME': the class of 'glyphs-NAME' on other data, with other defaults.

    Args:
        data: of `few_shot.Data`.
        label: what descriptions call it.
        name: of the method.
        defaults: options that differ.
    """
    entry = TABLES["recipe"][f"glyphs-{name}"]
    glyphs: Any = entry.build
    types = get_type_hints(glyphs)  # names would be looked up in this module
    fields: list[Any] = [("data", Data, data)]
    fields += [(key, types[key], value) for key, value in defaults.items()]
    made = dataclasses.make_dataclass(
        glyphs.__name__.replace("Glyphs", label.replace(" ", "")),
        fields,
        bases=(glyphs,),
        # Where it can be found again, by pickle for one.
        namespace={"__doc__": glyphs.__doc__.replace("glyphs", label), "__module__": __name__},
    )
    setattr(sys.modules[__name__], made.__name__, made)
    return recipe(f"{data}-{name}", **entry.facts)(made)


for _name, _defaults in DEFAULTS.items():
    on("omniglot", "Omniglot", _name, **_defaults)
for _name in PAIRS_OF_DIGITS:
    on("double-mnist", "Double MNIST", _name)
