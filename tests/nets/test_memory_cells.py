"""Memory cells against a plain NumPy reading of their papers, row by row, and their derivatives under vmapped tasks."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

import quickstudy as qs

pytestmark = pytest.mark.usefixtures("float64")

LENGTH, INPUTS, HIDDEN, M, W = 7, 3, 4, 5, 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def content(memory, key, strength):
    """Softmax of strength times cosine; squared lengths have the cells' 1e-6 added, as empty slots have none."""
    lengths = np.sqrt((memory**2).sum(1) + 1e-6) * np.sqrt(key @ key + 1e-6)
    return softmax(strength * (memory @ key) / lengths)


class Reading:
    """A cell's weights in NumPy, and its controller."""

    def __init__(self, cell, reads):
        self.cell = cell
        self.p = {name: value.detach().numpy() for name, value in cell.named_parameters()}
        self.h, self.c, self.reads = np.zeros(HIDDEN), np.zeros(HIDDEN), np.zeros(reads)

    def controller(self, x):
        seen, p = np.concatenate([x, self.reads]), self.p
        gates = p["controller.weight_ih"] @ seen + p["controller.weight_hh"] @ self.h
        i, f, g, o = np.split(gates + p["controller.bias_ih"] + p["controller.bias_hh"], 4)
        self.c = sigmoid(f) * self.c + sigmoid(i) * np.tanh(g)
        self.h = sigmoid(o) * np.tanh(self.c)
        return np.concatenate([self.h, x])

    def linear(self, name, x):
        return self.p[f"{name}.weight"] @ x + self.p[f"{name}.bias"]

    def answer(self):
        return np.concatenate([self.h, self.reads])


class MANN(Reading):
    def __init__(self, cell):
        super().__init__(cell, 2 * W)
        self.memory, self.usage = np.zeros((M, W)), np.zeros(M)
        self.read, self.keys = np.zeros((2, M)), np.zeros((2, W))

    def step(self, x):
        heads = self.linear("interface", self.controller(x)).reshape(2, 2 * W + 2)
        order = np.argsort(self.usage, kind="stable")
        memory, usage, reads, keys = self.memory.copy(), self.cell.decay * self.usage, [], []
        for slot in order[:2]:
            memory[slot] = 0
        read = np.zeros((2, M))
        for j, head in enumerate(heads):
            key, value, strength, alpha = head[:W], head[W : 2 * W], softplus(head[-2]), sigmoid(head[-1])
            read[j] = content(self.memory, np.tanh(key), strength)
            write = alpha * self.read[j]
            write[order[j]] += 1 - alpha
            for slot in range(M):
                memory[slot] += write[slot] * np.tanh(self.keys[j] + value)
            usage += read[j] + write
            reads.append(read[j] @ self.memory)
            keys.append(key)
        self.memory, self.usage, self.read, self.keys = memory, usage, read, np.array(keys)
        self.reads = np.concatenate(reads)
        return self.answer()


class NTM(Reading):
    def __init__(self, cell):
        super().__init__(cell, W)
        self.memory, self.weights = np.full((M, W), 1e-6), np.eye(M)[[0, 0]]

    def step(self, x):
        seen = self.controller(x)
        for j, head in enumerate(self.linear("addresses", seen).reshape(2, W + 6)):
            found = content(self.memory, np.tanh(head[:W]), softplus(head[W]))
            gate, gamma, shift = sigmoid(head[W + 1]), 1 + softplus(head[W + 2]), softmax(head[W + 3 :])
            mixed = gate * found + (1 - gate) * self.weights[j]
            moved = [sum(mixed[(i - s) % M] * shift[s + 1] for s in (-1, 0, 1)) for i in range(M)]
            self.weights[j] = np.array(moved) ** gamma / (np.array(moved) ** gamma).sum()
        erase, add = np.split(self.linear("writes", seen), 2)
        for slot in range(M):
            w = self.weights[1, slot]
            self.memory[slot] = self.memory[slot] * (1 - w * sigmoid(erase)) + w * np.tanh(add)
        self.reads = self.weights[0] @ self.memory
        return self.answer()


class DNC(Reading):
    def __init__(self, cell):
        super().__init__(cell, 2 * W)
        self.memory, self.links = np.zeros((M, W)), np.zeros((M, M))
        self.usage, self.precedence, self.write = np.zeros(M), np.zeros(M), np.zeros(M)
        self.read, self.key = np.zeros((2, M)), np.zeros(W)

    def step(self, x):
        seen = self.controller(x)
        heads = self.linear("reading", seen).reshape(2, W + 5)
        key, erase, value, rest = np.split(self.linear("writing", seen), [W, 2 * W, 3 * W])
        psi = np.prod([1 - sigmoid(head[W + 1]) * self.read[j] for j, head in enumerate(heads)], 0)
        u = self.usage = (self.usage + self.write - self.usage * self.write) * psi
        phi, a = np.argsort(u, kind="stable"), np.zeros(M)
        for j in range(M):
            a[phi[j]] = (1 - u[phi[j]]) * np.prod(u[phi[:j]])
        found = content(self.memory, key, 1 + softplus(rest[0]))
        gate = sigmoid(rest[1])
        w = self.write = sigmoid(rest[2]) * (gate * a + (1 - gate) * found)
        if self.cell.late_labels:
            value = value + self.key
        self.memory = self.memory * (1 - np.outer(w, sigmoid(erase))) + np.outer(w, value)
        links = np.zeros((M, M))
        for i in range(M):
            for j in range(M):
                if i != j:
                    links[i, j] = (1 - w[i] - w[j]) * self.links[i, j] + w[i] * self.precedence[j]
        self.links, self.precedence = links, (1 - w.sum()) * self.precedence + w
        for j, head in enumerate(heads):
            modes, sharpness = softmax(head[W + 2 :]), 1 + softplus(head[W])
            alike = content(self.memory, head[:W], sharpness)
            self.read[j] = modes[0] * links.T @ self.read[j] + modes[1] * alike + modes[2] * links @ self.read[j]
        self.key = heads[:, :W].mean(0)
        self.reads = (self.read @ self.memory).reshape(-1)
        return self.answer()


MEMORIES = {
    "mann": (lambda: qs.nets.MANNCell(INPUTS, HIDDEN, M, W, heads=2), MANN),
    "ntm": (lambda: qs.nets.NTMCell(INPUTS, HIDDEN, M, W), NTM),
    "dnc": (lambda: qs.nets.DNCCell(INPUTS, HIDDEN, M, W, read_heads=2), DNC),
    "dnc-late": (lambda: qs.nets.DNCCell(INPUTS, HIDDEN, M, W, read_heads=2, late_labels=True), DNC),
}


def cell_of(name):
    """Return a cell that makes use of its heads: fresh ones hardly differ from step to step."""
    torch.manual_seed(3)
    cell = MEMORIES[name][0]()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return cell


def run(cell, inputs):
    """Return the outputs (L, O) of a cell over one sequence (L, D)."""
    state, outputs = cell.start(1), []
    for x in inputs:
        output, state = cell(x.unsqueeze(0), state)
        outputs.append(output.squeeze(0))
    return torch.stack(outputs)


@pytest.mark.parametrize("name", MEMORIES)
def test_a_memory_does_what_its_paper_says(name):
    cell = cell_of(name)
    inputs = torch.randn(LENGTH, INPUTS)
    plain = MEMORIES[name][1](cell)
    expected = np.stack([plain.step(x) for x in inputs.numpy()])
    # Allocation keeps usages 1e-6 away from zero, where its derivative would be infinite.
    np.testing.assert_allclose(run(cell, inputs).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


class Sequences(nn.Module):
    """A cell, run over a batch of sequences by vmap."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, inputs):
        return vmap(lambda rows: run(self.cell, rows).square().sum())(inputs)


@pytest.mark.parametrize("name", MEMORIES)
def test_derivatives_of_vmapped_sequences(name):
    """First and second derivatives by finite differences along a random direction, in inputs and in biases of heads."""
    model, inputs = Sequences(cell_of(name)), 0.5 * torch.randn(2, 4, INPUTS)
    head = {"mann": "interface", "ntm": "addresses"}.get(name, "reading")
    shift = torch.zeros_like(getattr(model.cell, head).bias, requires_grad=True)

    def losses(rows, shift):
        return functional_call(model, {f"cell.{head}.bias": getattr(model.cell, head).bias + shift}, (rows,))

    arguments = (inputs.requires_grad_(), shift)
    assert torch.autograd.gradcheck(losses, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(losses, arguments, fast_mode=True)
