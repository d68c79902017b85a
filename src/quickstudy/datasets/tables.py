"""Small tables of numbers that come with scikit-learn: nothing is downloaded."""

from __future__ import annotations

from quickstudy.datasets.arrays import arrays
from quickstudy.datasets.base import ClassData
from quickstudy.errors import unknown_name
from quickstudy.registry import register

TABLES = {"cancer": "load_breast_cancer", "digits": "load_digits", "iris": "load_iris", "wine": "load_wine"}
"""569 tumours of 30 attributes and 2 classes, 1,797 digits of 64 and 10, 150 flowers of 4 and 3, 178 wines of 13 and
3."""


@register("dataset")
def table(name: str) -> ClassData:
    """Return one of scikit-learn's tables, numbers as they are; classes are named `table:class`.

    Args:
        name: 'cancer', 'digits', 'iris' or 'wine'.

    Raises:
        InputError: no such table.
    """
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    # Importing it takes long.
    from sklearn import datasets

    bunch = getattr(datasets, TABLES[name])()
    return arrays(bunch.data, bunch.target, name, [f"{name}:{each}" for each in bunch.target_names])
