"""Wrong copies of a JSON-like tree: one value is another kind of thing, or gone, or there is one more."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import torch

ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2.5, 10**9, 10**40, float("nan"), float("inf"), "", "x",
    "best", "\ud800", "a" * 10_000,
    [], [1], ["x"], [[1, 2]], {}, {"x": 1}, {"dict": 5}, {"custom": 3}, {"learner": "MAML", "arguments": {}},
    {"net": ["mlp"], "arguments": {}}, {"rule": "SGD", "arguments": [1]},
)  # fmt: skip


def paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where values are."""
    items: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def edited(tree: Any, seed: int) -> tuple[str, Any]:
    """Return what was edited, and the tree with that edit."""
    chance, found = random.Random(seed), copy.deepcopy(tree)
    path = chance.choice(list(paths(found)))
    parent = found
    for key in path[:-1]:
        parent = parent[key]
    kind, odd = chance.choice(("set", "set", "set", "delete", "add")), chance.choice(ODD)
    old = parent[path[-1]]
    if isinstance(old, torch.Tensor) and chance.random() < 0.5:
        odd = chance.choice((old[..., None], old.flatten()[:0], old.long(), old.double(), torch.zeros(())))
    if kind == "set":
        parent[path[-1]] = odd
    elif kind == "delete":
        del parent[path[-1]]
    elif isinstance(parent, dict):
        parent["added"] = odd
    else:
        parent.append(odd)
    return f"{kind} {path} {odd!r:.60}", found
