"""The functions of pytrees that the library uses, in one place, as PyTorch keeps them in a private module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.utils._pytree as pytree

Structure = pytree.TreeSpec
"""The structure of a pytree without its leaves."""


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of a pytree, in order."""
    return pytree.tree_leaves(tree)


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Return the leaves of a pytree, in order, each with its path such as `['ids']` or `[0]`; '' for a single leaf."""
    return [(pytree.keystr(path), leaf) for path, leaf in pytree.tree_flatten_with_path(tree)[0]]


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of a pytree and its structure."""
    return pytree.tree_flatten(tree)


def unflatten(parts: Any, structure: Structure) -> Any:
    """Return the pytree of leaves and a structure."""
    return pytree.tree_unflatten(parts, structure)


def named(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a pytree by the path to each, in order: `[0]['weight']`, with places in place of fields.

    Dictionaries with the same keys have the same paths, whatever the order of their keys.
    """
    if isinstance(tree, dict):
        parts = {f"[{key!r}]": part for key, part in tree.items()}
    else:
        children, _ = pytree.tree_flatten(tree, is_leaf=lambda part: part is not tree)
        if len(children) == 1 and children[0] is tree:
            return {prefix: tree}
        parts = {f"[{place}]": part for place, part in enumerate(children)}
    return {path: leaf for step, part in parts.items() for path, leaf in named(part, prefix + step).items()}


def map_leaves(function: Callable[..., Any], *trees: Any) -> Any:
    """Return a pytree of the function's results for the leaves of pytrees that have the same structure."""
    return pytree.tree_map(function, *trees)


def map_only(kind: type, function: Callable[..., Any], tree: Any) -> Any:
    """Return a pytree in which the function has been applied to the leaves of a type."""
    return pytree.tree_map_only(kind, function, tree)


def holds_parts(cls: type) -> bool:
    """Return whether a class was registered as a part of pytrees, or is one of Python's own containers."""
    return cls in pytree.SUPPORTED_NODES


def register(
    cls: type,
    flatten: Callable[[Any], tuple[list[Any], Any]],
    unflatten: Callable[[Any, Any], Any],
    name: str,
) -> None:
    """Let pytrees hold objects of a class.

    Args:
        cls: the class.
        flatten: returns an object's children and everything else that it is made of.
        unflatten: makes an object of these.
        name: name of the class in a serialised structure.
    """
    pytree.register_pytree_node(cls, flatten, unflatten, serialized_type_name=name)
