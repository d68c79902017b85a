"""Sequences read by an LSTM or a MANN in plain PyTorch: what people write, all sequences of a batch in step.

The LSTM is PyTorch's own layer (`nn.LSTM`), which on a CPU runs all steps in one call. The memory (Santoro et al. 2016)
is a loop over time with a batched memory (T, slots, width), as published implementations have it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.case import Context, Step, TorchStep
from quickstudy.core import Learner


@dataclass
class Sequences:
    """A training step of a learner that reads rows, each label one step late, and names each row beforehand.

    Classes that were not shown yet are no answer, and rows whose class was not shown yet are not counted.
    """

    learner: Learner
    """A MANN or a RecurrentLearner: the initial weights, and the sizes."""
    inputs: Tensor
    """(T, L, D)"""
    labels: Tensor
    """(T, L)"""
    ways: int

    def __len__(self) -> int:
        return len(self.inputs)


class PlainLSTM(nn.Module):
    """`nn.LSTM` over the batch of sequences."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        weights = learner.state_dict()
        hidden, inputs = weights["cell.weight_hh"].shape[1], weights["cell.weight_ih"].shape[1]
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        self.head = nn.Linear(hidden, len(weights["head.bias"]))
        self.names = {name: name.replace("lstm.", "cell.").removesuffix("_l0") for name, _ in self.named_parameters()}
        self.load_state_dict({mine: weights[name] for mine, name in self.names.items()})

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (T, L, D) -> scores (T, L, N)."""
        outputs, _ = self.lstm(rows)
        scores: Tensor = self.head(outputs)
        return scores


class PlainMANN(nn.Module):
    """A loop over time; the equations are those of the paper with the departures that `nets.MANNCell` names."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        weights, cell = learner.state_dict(), learner.cell
        self.slots, self.width, self.heads, self.decay = cell.slots, cell.width, cell.heads, cell.decay
        hidden, inputs = weights["cell.controller.weight_hh"].shape[1], weights["cell.controller.weight_ih"].shape[1]
        self.controller = nn.LSTMCell(inputs, hidden)
        self.interface = nn.Linear(weights["cell.interface.weight"].shape[1], len(weights["cell.interface.bias"]))
        self.head = nn.Linear(weights["head.weight"].shape[1], len(weights["head.bias"]))
        self.names = {name: name if name[:5] == "head." else f"cell.{name}" for name, _ in self.named_parameters()}
        self.load_state_dict({mine: weights[name] for mine, name in self.names.items()})

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (T, L, D) -> scores (T, L, N)."""
        batch, heads, slots, width = len(rows), self.heads, self.slots, self.width
        h = c = rows.new_zeros(batch, self.controller.hidden_size)
        memory, usage = rows.new_zeros(batch, slots, width), rows.new_zeros(batch, slots)
        read_weights, last_keys = rows.new_zeros(batch, heads, slots), rows.new_zeros(batch, heads, width)
        read = rows.new_zeros(batch, heads * width)
        # Of equally used slots the first one is taken, whatever rounding says.
        first = 1e-6 * torch.arange(slots, dtype=rows.dtype, device=rows.device)
        outputs = []
        for x in rows.unbind(1):
            h, c = self.controller(torch.cat([x, read], 1), (h, c))
            parameters = self.interface(torch.cat([h, x], 1)).view(batch, heads, 2 * width + 2)
            keys, values = parameters[..., :width], parameters[..., width : 2 * width]
            strength, alpha = F.softplus(parameters[..., -2:-1]), torch.sigmoid(parameters[..., -1:])
            # Squared lengths have 1e-6 added, as empty slots have none.
            directions = memory / (memory.square().sum(-1, keepdim=True) + 1e-6).sqrt()
            key = torch.tanh(keys)
            key = key / (key.square().sum(-1, keepdim=True) + 1e-6).sqrt()
            now_read = torch.softmax(strength * torch.bmm(key, directions.transpose(1, 2)), -1)
            read = torch.bmm(now_read, memory).view(batch, -1)
            order = (usage.detach() + first).argsort(1)[:, :heads]
            least = F.one_hot(order, slots).to(rows.dtype)
            write = alpha * read_weights + (1 - alpha) * least
            memory = memory * (1 - least.sum(1)).unsqueeze(-1)
            memory = memory + torch.bmm(write.transpose(1, 2), torch.tanh(last_keys + values))
            usage = self.decay * usage + (now_read + write).sum(1)
            read_weights, last_keys = now_read, keys
            outputs.append(torch.cat([h, read], 1))
        scores: Tensor = self.head(torch.stack(outputs, 1))
        return scores


class Plain(TorchStep):
    """The training step of a Sequences problem."""

    def __init__(self, problem: Sequences, context: Context) -> None:
        model = PlainMANN if "cell.interface.bias" in problem.learner.state_dict() else PlainLSTM
        self.net = model(problem.learner).to(context.device, context.dtype)
        super().__init__(self.net)
        self.named = {self.net.names[name]: p for name, p in self.named.items()}
        self.problem = problem

    def backward(self) -> Tensor:
        inputs, labels, ways = self.problem.inputs, self.problem.labels, self.problem.ways
        late = F.pad(F.one_hot(labels, ways).to(inputs.dtype), (0, 0, 1, 0))[:, :-1]
        shown = late.cumsum(1) > 0
        scores = self.net(torch.cat([inputs, late], -1)).masked_fill(~shown, float("-inf"))
        counted = shown.gather(2, labels.unsqueeze(2)).squeeze(2)
        # Rows that cannot be answered are taken out before their infinite loss is computed.
        losses = F.cross_entropy(scores[counted], labels[counted], reduction="none")
        share = counted.to(losses.dtype)
        weights = (share / share.sum(1, keepdim=True))[counted]
        loss = (losses * weights).sum() / len(inputs)
        loss.backward()
        return loss.detach()


def build(problem: Sequences, context: Context) -> Step:
    return Plain(problem, context)
