"""Recurrent and memory cells against torch's own layers, and against what their papers promise of them."""

import itertools

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.nets.recurrent import Cell, steps
from quickstudy.operators import trees

LENGTH, ROWS, INPUTS, HIDDEN = 6, 3, 4, 5
CELLS = {
    "lstm": lambda: qs.nets.LSTMCell(INPUTS, HIDDEN),
    "gru": lambda: qs.nets.GRUCell(INPUTS, HIDDEN),
    "mann": lambda: qs.nets.MANNCell(INPUTS, HIDDEN, slots=6, width=3, heads=2),
    "ntm": lambda: qs.nets.NTMCell(INPUTS, HIDDEN, slots=6, width=3, read_heads=2, write_heads=2),
    "dnc": lambda: qs.nets.DNCCell(INPUTS, HIDDEN, slots=6, width=3, read_heads=2),
    "dnc-late": lambda: qs.nets.DNCCell(INPUTS, HIDDEN, slots=6, width=3, read_heads=2, late_labels=True),
}


def run(cell, inputs):
    """Run a cell over inputs (L, B, D); return outputs (L, B, O) and all states."""
    state, outputs, states = cell.start(inputs.shape[1]), [], []
    for x in inputs:
        output, state = cell(x, state)
        outputs.append(output)
        states.append(state)
    return torch.stack(outputs), states


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "layer"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_gated_cells_are_those_of_torch(name, layer):
    cell, theirs = CELLS[name](), layer(INPUTS, HIDDEN)
    for ours, other in zip(list(cell.parameters()), (p for _, p in theirs.named_parameters()), strict=True):
        other.data.copy_(ours)
    inputs = torch.randn(LENGTH, ROWS, INPUTS)
    found, states = run(cell, inputs)
    expected, last = theirs(inputs)
    torch.testing.assert_close(found, expected)
    mine = states[-1] if name == "lstm" else (states[-1],)
    for a, b in zip(mine, last if name == "lstm" else (last,), strict=True):
        torch.testing.assert_close(a, b[0])
    weight = torch.randn_like(found)
    ours = torch.autograd.grad((found * weight).sum(), list(cell.parameters()))
    others = torch.autograd.grad((expected * weight).sum(), list(theirs.parameters()))
    for a, b in zip(ours, others, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", CELLS)
def test_cell_keeps_its_protocol_and_its_rows_apart(name):
    cell = CELLS[name]()
    assert isinstance(cell, Cell)
    inputs = torch.randn(LENGTH, ROWS, INPUTS)
    outputs, states = run(cell, inputs)
    assert outputs.shape == (LENGTH, ROWS, cell.outputs)
    assert all(leaf.shape[0] == ROWS for leaf in trees.leaves(states[-1]))
    alone, _ = run(cell, inputs[:, 1:2])
    torch.testing.assert_close(outputs[:, 1:2], alone)
    mapped = torch.func.vmap(lambda x: run(cell, x.unsqueeze(1))[0].squeeze(1), 1, 1)(inputs)
    torch.testing.assert_close(outputs, mapped)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CELLS)
def test_steps_of_a_sequence_are_the_steps_one_by_one(name):
    cell, inputs = CELLS[name](), torch.randn(LENGTH, ROWS, INPUTS)
    expected, states = run(cell, inputs)
    # A cell of one's own need not offer steps.
    for each in (cell, lambda rows, state: cell(rows, state)):
        outputs, state = [], cell.start(ROWS)
        for step in steps(each, inputs):
            output, state = step(state)
            outputs.append(output)
        torch.testing.assert_close(torch.stack(outputs), expected)
        for found, wanted in zip(trees.leaves(state), trees.leaves(states[-1]), strict=True):
            torch.testing.assert_close(found, wanted)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CELLS)
def test_second_derivatives(name):
    cell = CELLS[name]()
    inputs = torch.randn(3, 1, INPUTS, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: run(cell, x)[0].square().sum(), inputs)


@pytest.mark.parametrize("name", ["mann", "ntm", "dnc", "dnc-late"])
def test_weights_are_never_negative_and_sum_to_at_most_one(name):
    cell = CELLS[name]()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(4)
    _, states = run(cell, 3 * torch.randn(30, ROWS, INPUTS))
    for state in states:
        kinds = [state.weights] if name == "ntm" else [state.read_weights, state.write_weights]
        for weights in kinds:
            assert (weights >= 0).all()
            assert (weights.sum(-1) <= 1 + 1e-5).all()
        if name.startswith("dnc"):
            assert (state.usage >= 0).all()
            assert (state.usage <= 1 + 1e-5).all()
            assert (state.links >= 0).all()
            assert (state.links.sum(-1) <= 1 + 1e-5).all()
            assert (state.links.sum(-2) <= 1 + 1e-5).all()
            assert (state.precedence.sum(-1) <= 1 + 1e-5).all()


def test_mann_writes_to_what_was_read_last_or_to_the_least_used_slots():
    cell = CELLS["mann"]()
    with torch.no_grad():
        gates = cell.interface.weight.view(2, 8, -1)[:, -1]
        gates.zero_()
        # Head 0 always takes a least used slot, head 1 always what it read last.
        cell.interface.bias.view(2, 8)[:, -1] = torch.tensor([-40.0, 40.0])
    _, states = run(cell, torch.randn(LENGTH, ROWS, INPUTS))
    for before, after in itertools.pairwise(states):
        least = before.usage.argmin(-1)
        assert torch.equal(after.write_weights[:, 0].argmax(-1), least)
        torch.testing.assert_close(after.write_weights[:, 0].sum(-1), torch.ones(ROWS))
        torch.testing.assert_close(after.write_weights[:, 1], before.read_weights[:, 1])
        usage = cell.decay * before.usage + (after.read_weights + after.write_weights).sum(1)
        torch.testing.assert_close(after.usage, usage)
        # Erased, then written: the least used slot holds what was written alone.
        rows = torch.arange(ROWS)
        share = after.write_weights[rows, :, least]
        assert (after.memory[rows, least].abs() <= share.sum(1, keepdim=True) + 1e-6).all()


def test_ntm_starts_at_slot_zero_and_moves_by_at_most_its_reach():
    cell = CELLS["ntm"]()
    with torch.no_grad():
        for parameter in cell.addresses.parameters():
            parameter.zero_()
        each = cell.addresses.bias.view(4, 9)
        each[:, 4], each[:, 5], each[:, 8] = -40.0, 10.0, 40.0  # by location, sharply, one slot ahead
    _, states = run(cell, torch.randn(8, ROWS, INPUTS))
    assert [int(state.weights[0, 0].argmax()) for state in states] == [1, 2, 3, 4, 5, 0, 1, 2]
