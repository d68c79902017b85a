"""Cells whose edges mix operations, against PyTorch's own layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.nets import CellNet, conv_cells, dense_cells
from quickstudy.nets.conv_cells import Average, Convolution, Patches

EDGE, HIDDEN = 5, 3


def maps() -> tuple[Tensor, Tensor]:
    """Return maps as convolutions take them, and as cells do."""
    x = torch.randn(4, HIDDEN, EDGE, EDGE, generator=torch.Generator().manual_seed(1))
    return x, places(x)


def places(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def test_operations_are_pytorchs():
    x, rows = maps()
    average = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(Average(EDGE)(rows), places(average), atol=1e-6)
    convolution = Convolution(EDGE, HIDDEN)
    # (out, 9 x in) -> (out, in, 3, 3)
    weight = convolution.linear.weight.reshape(HIDDEN, 3, 3, HIDDEN).permute(0, 3, 1, 2)
    assert torch.allclose(convolution(rows), places(F.conv2d(x, weight, padding=1)), atol=1e-5)
    patches, images = Patches(2, HIDDEN), torch.randn(4, 2, 6, 8)
    weight = patches.linear.weight.reshape(HIDDEN, 2, 2, 2)
    expected = F.conv2d(images, weight, patches.linear.bias, stride=2)
    assert torch.allclose(patches(images), places(expected), atol=1e-5)


@pytest.mark.parametrize("net", [conv_cells(hidden=4), dense_cells(torch.nn.Flatten(), 64, 3, nodes=4, cells=2)])
def test_a_mixture_weighs_what_each_edge_brings(net: CellNet):
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    edges, operations = net.choices
    assert len(net.cells[0].edges) == edges
    mixture = torch.rand(edges, operations, generator=torch.Generator().manual_seed(3))
    h = net.stem(x)
    for cell in net.cells:
        nodes, edge = [h], 0
        while edge < edges:
            arriving = torch.zeros_like(h)
            for node in nodes:
                for number, operation in enumerate(cell.edges[edge].operations):
                    arriving = arriving + mixture[edge, number] * operation(node)
                edge += 1
            nodes.append(arriving)
        h = nodes[-1]
    assert torch.allclose(net(x, mixture), net.head(h), atol=1e-5)
    alike = torch.full((edges, operations), 1 / operations)
    assert torch.allclose(net(x), net(x, alike), atol=1e-5)


def test_a_discrete_net_has_what_it_uses_alone():
    net = conv_cells(hidden=4)
    discrete = net.discrete((4, 0, 3))
    assert sum(value.numel() for value in discrete.cells.parameters()) == 2 * (9 * 16 + 16)
    x = torch.randn(5, 1, 8, 8)
    one_hot = F.one_hot(torch.tensor([4, 0, 3]), 5).float()
    assert torch.allclose(discrete(x), net(x, one_hot), atol=1e-6)
    assert net.choices == (3, 5)
    assert "config" not in discrete.__dict__
