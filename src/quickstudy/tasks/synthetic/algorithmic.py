"""Algorithms to be learned from examples of what they do: sequence in, sequence out (Graves et al. 2014, section 4).

The support is what is shown, the query what is asked for afterwards, row by row: a learner that goes on reading
(`learners.Transducer`) answers it. Rows are vectors of bits, so a query row has as many labels, 0 or 1, as bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quickstudy.core import Examples, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.registry import register
from quickstudy.tasks.base import Plan, TaskDistribution
from quickstudy.tasks.data.few_shot import Range, parse_range


class _Bits(TaskDistribution):
    """Base: bits in, bits out. Subclasses say which bits are shown and which are wanted."""

    def __init__(self, bits: int, seed: int) -> None:
        super().__init__(seed)
        if bits < 1:
            raise InputError(f"bits must be at least 1, not {bits}")
        self.bits = bits

    def _task(self, shown: Tensor, shown_mask: Tensor, wanted: Tensor, wanted_mask: Tensor) -> Task:
        # The support has labels because examples do; a reader of sequences looks at inputs alone.
        labels = torch.zeros(*shown.shape[:2], self.bits, dtype=torch.long, device=shown.device)
        asked = torch.zeros(*wanted.shape[:2], shown.shape[2], dtype=shown.dtype, device=shown.device)
        return Task(
            Examples(shown, labels, shown_mask, 2, check=False), Examples(asked, wanted, wanted_mask, 2, check=False)
        )


@register("tasks")
class Copy(_Bits):
    """Repeat a sequence of random bits (Graves et al. 2014, section 4.1).

    Inputs have one channel more than bits: the last row of the support, which is set there alone, says 'now repeat'.

    Args:
        length: rows to be copied, a number or a range (low, high) drawn for each task.
        bits: bits of a row.
        seed: the stream's seed.

    Raises:
        InputError: a number that is not positive.
    """

    name = "copy"

    def __init__(self, length: Range = (1, 20), bits: int = 8, seed: int = 0) -> None:
        super().__init__(bits, seed)
        self.length = parse_range("length", length)

    def plan(self, indices: Tensor) -> Plan:
        """Return the bits (T, L, bits) and lengths (T,)."""
        keys, (low, high) = self.keys(indices), self.length
        return {
            "bits": random.below(random.fold_in(keys, 1), 2, high, self.bits),
            "length": low + random.below(random.fold_in(keys, 2), high - low + 1),
        }

    def gather(self, plan: Plan) -> Task:
        """Return tasks of L + 1 support rows and L query rows, shorter ones masked."""
        length, most = plan["length"].unsqueeze(1), self.length[1]
        row = torch.arange(most + 1, device=length.device)
        wanted_mask = row[:-1] < length
        shown = torch.nn.functional.pad(plan["bits"] * wanted_mask.unsqueeze(-1), (0, 1, 0, 1))
        shown[..., -1] = (row == length).long()
        return self._task(shown.to(torch.get_default_dtype()), row <= length, plan["bits"], wanted_mask)

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "length": list(self.length), "bits": self.bits}


@register("tasks")
class AssociativeRecall(_Bits):
    """Given a list of items and one of them, return the item that came after it (Graves et al. 2014, section 4.3).

    Inputs have two channels more than bits: one set in a row before each item, one in the rows before and after the
    item that is asked about.

    Args:
        items: items of a list, a number or a range (low, high) drawn for each task, at least 2.
        rows: rows of an item.
        bits: bits of a row.
        seed: the stream's seed.

    Raises:
        InputError: a number that is not positive, or a list of one item.
    """

    name = "associative recall"

    def __init__(self, items: Range = (2, 6), rows: int = 3, bits: int = 6, seed: int = 0) -> None:
        super().__init__(bits, seed)
        self.items, self.rows = parse_range("items", items), rows
        if self.items[0] < 2 or rows < 1:
            raise InputError(f"items={items} must be at least 2 and rows={rows} at least 1: something must come after")

    def plan(self, indices: Tensor) -> Plan:
        """Return the items' bits (T, items, rows, bits), how many items (T,) and which is asked about (T,)."""
        keys, (low, high) = self.keys(indices), self.items
        count = low + random.below(random.fold_in(keys, 2), high - low + 1)
        return {
            "bits": random.below(random.fold_in(keys, 1), 2, high, self.rows, self.bits),
            "count": count,
            "asked": random.below(random.fold_in(keys, 3), count - 1),
        }

    def gather(self, plan: Plan) -> Task:
        """Return tasks: items with a mark before each, then the item asked about between two marks of another kind."""
        bits, count, asked = plan["bits"], plan["count"], plan["asked"]
        tasks, most = bits.shape[:2]
        which = torch.arange(tasks, device=bits.device)
        # (T, items, 1 + rows, bits + 2): a mark, then the item.
        listed = torch.nn.functional.pad(bits, (0, 2, 1, 0))
        listed[:, :, 0, -2] = 1
        question = torch.nn.functional.pad(bits[which, asked], (0, 2, 1, 1))
        question[:, (0, -1), -1] = 1
        shown = torch.cat([listed.flatten(1, 2), question], 1)
        exists = torch.arange(most, device=bits.device) < count.unsqueeze(1)
        mask = torch.cat([exists.repeat_interleave(1 + self.rows, 1), exists.new_ones(tasks, self.rows + 2)], 1)
        wanted = bits[which, asked + 1]
        full = exists.new_ones(tasks, self.rows)
        return self._task(shown.to(torch.get_default_dtype()), mask, wanted, full)

    def describe(self) -> dict[str, Any]:
        """Return facts about the tasks."""
        return {**super().describe(), "items": list(self.items), "rows": self.rows, "bits": self.bits}
