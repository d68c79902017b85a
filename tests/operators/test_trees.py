"""Leaves of pytrees and the paths to them."""

import torch

from quickstudy.core import Examples
from quickstudy.operators import trees


def test_paths_do_not_depend_on_the_order_of_keys() -> None:
    rows = Examples(torch.zeros(2, 3), torch.zeros(2).long())
    tree = {"b": (1, [2]), "a": rows, "[0]": 3}
    paths = trees.named(tree)
    assert list(paths) == ["['b'][0]", "['b'][1][0]", "['a'][0]", "['a'][1]", "['[0]']"]
    # In the order of the leaves.
    assert [*map(id, paths.values())] == [*map(id, trees.leaves(tree))]
    turned = trees.named(dict(reversed(tree.items())))
    assert {path: id(leaf) for path, leaf in turned.items()} == {path: id(leaf) for path, leaf in paths.items()}
    assert list(turned) != list(paths)


def test_a_leaf_has_the_empty_path_and_nothing_has_none() -> None:
    assert trees.named(1) == {"": 1}
    assert trees.named(()) == {}
