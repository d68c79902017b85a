"""Nets of cells whose edges mix several operations (Liu et al. 2019, section 2; Dong & Yang 2020).

A cell is a small graph of nodes 0, 1, ...: node j is the sum over earlier nodes i of an operation on the edge from i to
j, and the last node is the cell's output. In a mixed cell the edge applies all its operations and weighs them:

    x_j = sum_{i<j} sum_o mixture[edge(i, j), o] operation_o(x_i)

All cells of a net share one mixture; their weights are their own. A mixture that is one-hot in every edge is an
architecture, and `discrete` keeps only the operations that it uses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.registry import register


class Edge(nn.Module):
    """Candidate operations between two nodes."""

    def __init__(self, operations: Sequence[nn.Module]) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operations)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the sum of all operations on x with weights (O,), or equal weights if None."""
        results = [operation(x) for operation in self.operations]
        if weights is None:
            return torch.stack(results).mean(0) if len(results) > 1 else results[0]
        total: Tensor = results[0] * weights[0]
        for number, result in enumerate(results[1:], 1):
            total = total + result * weights[number]
        return total


class Cell(nn.Module):
    """Nodes, each of which sums the results of the edges from all earlier nodes."""

    def __init__(self, edges: Sequence[Edge], nodes: int) -> None:
        super().__init__()
        self.nodes = nodes
        self.edges = nn.ModuleList(edges)

    def forward(self, x: Tensor, mixture: Tensor | None = None) -> Tensor:
        """Return the last node, given the first."""
        values, edge = [x], 0
        for node in range(1, self.nodes):
            arriving = []
            for value in values[:node]:
                arriving.append(self.edges[edge](value, None if mixture is None else mixture[edge]))
                edge += 1
            values.append(sum(arriving[1:], arriving[0]))
        return values[-1]


class CellNet(nn.Module):
    """A stem, equal cells one after the other, and a head.

    Args:
        stem: module before the cells.
        operations: builder of each candidate operation, by name; each keeps the shape of its input.
        head: module after the cells.
        nodes: number of nodes of a cell, with its input and output. So there are nodes (nodes - 1) / 2 edges E.
        cells: number of cells.

    Attributes:
        names: names of the O operations.
        choices: (E, O), the shape of a mixture.
        zero: whether each of the O operations is the zero operation.

    Raises:
        InputError: there is no operation, fewer than 2 nodes, or no cell.
    """

    def __init__(
        self,
        stem: nn.Module,
        operations: Mapping[str, Callable[[], nn.Module]],
        head: nn.Module,
        nodes: int = 3,
        cells: int = 1,
    ) -> None:
        super().__init__()
        if not operations or nodes < 2 or cells < 1:
            raise InputError(
                f"a net of cells needs an operation, 2 nodes and a cell at least, not {len(operations)} operations, "
                f"nodes={nodes} and cells={cells}"
            )
        edges = nodes * (nodes - 1) // 2
        self.names, self.choices = tuple(operations), (edges, len(operations))
        self.stem, self.head = stem, head
        built = [[Edge([build() for build in operations.values()]) for _ in range(edges)] for _ in range(cells)]
        self.cells = nn.ModuleList(Cell(each, nodes) for each in built)
        self.zero = tuple(isinstance(each, Zero) for each in built[0][0].operations)

    def forward(self, x: Tensor, mixture: Tensor | None = None) -> Tensor:
        """Map x (S, ...) to outputs, with operations weighed by a mixture (E, O), or equally if None."""
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x, mixture)
        return self.head(x)  # type: ignore[no-any-return]

    def discrete(self, architecture: Sequence[int]) -> CellNet:
        """Return a copy that has only one operation per edge, those with these numbers (E).

        Raises:
            InputError: there are not as many numbers as edges, or a number is not that of an operation.
        """
        edges, operations = self.choices
        if len(architecture) != edges or not all(0 <= number < operations for number in architecture):
            raise InputError(
                f"an architecture of this net is {edges} numbers in 0..{operations - 1}, not {tuple(architecture)}"
            )
        net = copy.deepcopy(self)
        for cell in net.cells:
            for edge, number in zip(cell.edges, architecture, strict=True):  # type: ignore[arg-type]
                edge.operations = nn.ModuleList([edge.operations[number]])
        net.choices, net.names, net.zero = (edges, 1), ("chosen",), (False,)
        # The arguments that it was built with no longer describe it.
        net.__dict__.pop("config", None)
        return net


class Zero(nn.Module):
    """The zero operation: nothing arrives."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros like x."""
        return torch.zeros_like(x)


@register("net")
def dense_cells(stem: nn.Module, features: int, outputs: int, *, nodes: int = 3, cells: int = 1) -> CellNet:
    """Return a net of mixed cells of vectors, with the operations of DARTS' recurrent cells (section 3.2).

    They are none, skip, and tanh, ReLU and sigmoid, here each of a linear map of its own.

    Args:
        stem: an embedding, with rows (S, features).
        features: size of the embedding and of every node.
        outputs: number of outputs.
        nodes: number of nodes of a cell.
        cells: number of cells.
    """

    def linear(activation: type[nn.Module]) -> Callable[[], nn.Module]:
        return lambda: nn.Sequential(nn.Linear(features, features), activation())

    operations = {"tanh": linear(nn.Tanh), "relu": linear(nn.ReLU), "sigmoid": linear(nn.Sigmoid)}
    return CellNet(stem, {"none": Zero, "skip": nn.Identity, **operations}, nn.Linear(features, outputs), nodes, cells)
