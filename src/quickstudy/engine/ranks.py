"""The processes that train together: which of them this is, and what they tell each other.

All that they ever exchange are sums. A mean is a sum divided by their number; gathered rows are a sum in which each
process fills its own places and leaves zeros in the others'. So an outer step is one sum: the gradients and the losses
lie end to end in one message, and after them whether anybody was asked to stop.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed

from quickstudy.errors import RanksError

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)
REMARK_SECONDS = 60.0
"""How long a process waits for others before it says so."""


class Ranks:
    """This process among those of a run. All of them must make the same calls in the same order.

    Args:
        rank: number of this process; number 0 prints and writes.
        size: how many there are.
        device: where their tensors are exchanged: the CPU for gloo, this process's GPU for NCCL.

    Attributes:
        received: signals that asked this process to stop; the others hear of it with the next sum.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank, self.size, self.device = rank, size, torch.device(device)
        self.received: list[int] = []
        self._heard = torch.zeros(len(SIGNALS))
        self._waits = _Watch(rank, size) if size > 1 else None

    @classmethod
    def of(cls, fabric: Fabric) -> Ranks:
        """Return the processes that Fabric launched."""
        return cls(fabric.global_rank, fabric.world_size, fabric.device)

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    def sums(self, *tensors: Tensor) -> list[Tensor]:
        """Return each tensor summed over processes, all in one exchange; shapes are the same everywhere.

        Floating numbers are added in 32 bits at least, integers and booleans in 64.

        Raises:
            RanksError: another process is gone, or does not answer.
        """
        if self._waits is None:
            return list(tensors)
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
        dtype = torch.promote_types(dtype, torch.float32 if dtype.is_floating_point else torch.int64)
        notice = torch.tensor([number in self.received for number in SIGNALS])
        message = torch.cat([each.reshape(-1).to(self.device, dtype) for each in (*tensors, notice)])
        try:
            with self._waits:
                distributed.all_reduce(message)
        except RuntimeError as error:
            late = "timed out" in str(error).lower() or "timeout" in str(error).lower()
            what = "has waited in vain for" if late else "has lost"
            raise RanksError(
                f"process {self.rank} of {self.size} {what} another one ({_first_line(error)}), whose own message "
                "says why; start all of them again, and the run goes on from its last checkpoint"
                + " (QUICKSTUDY_TIMEOUT=SECONDS lets them wait longer)"
                * late
            ) from error
        parts = torch.split(message, [tensor.numel() for tensor in (*tensors, notice)])
        self._heard = parts[-1]
        return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=False)]

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of a tensor over processes."""
        return self.sums(tensor)[0] / self.size if self.size > 1 else tensor

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows (n, ...) of all processes in their order, exactly; n may differ and be 0."""
        if self.size == 1:
            return rows
        shapes = torch.zeros(self.size, rows.ndim, dtype=torch.long)
        shapes[self.rank] = torch.tensor(rows.shape)
        shapes = self.sums(shapes)[0].cpu()
        # Who has no rows cannot know how long they are.
        counts, rest = shapes[:, 0].tolist(), shapes[:, 1:].amax(0).tolist()
        start = sum(counts[: self.rank])
        places = torch.zeros(sum(counts), *rest, dtype=rows.dtype, device=rows.device)
        places[start : start + len(rows)] = rows.reshape(len(rows), *rest)
        return self.sums(places)[0].to(rows.device, rows.dtype)

    def share(self, parameters: Iterable[Tensor], losses: Tensor) -> Tensor:
        """Average the parameters' gradients over processes, and return the losses (T,) of all their tasks in order.

        One exchange of (parameters + tasks + a few) numbers. A parameter that no process has a gradient for keeps none.
        """
        if self.size == 1:
            return losses
        parameters = [p for p in parameters if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        present = torch.tensor([p.grad is not None for p in parameters])
        places = losses.new_zeros(self.size, len(losses))
        places[self.rank] = losses
        *totals, found, places = self.sums(*gradients, present, places)
        # Looked at only where this process lacks a gradient: on a GPU every look waits for all work before.
        kept = [True] * len(parameters) if bool(present.all()) else (found > 0).tolist()
        for parameter, gradient, total, keep in zip(parameters, gradients, totals, kept, strict=True):
            parameter.grad = gradient.copy_(total.div_(self.size)) if keep else None
        return places.flatten()

    def asked_to_stop(self) -> int | None:
        """Return the signal that asked any process to stop, as of the last sum: all of them get the same answer."""
        if self.size == 1:
            return self.received[0] if self.received else None
        return next((int(number) for number, count in zip(SIGNALS, self._heard.tolist(), strict=True) if count), None)

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.sums(torch.zeros(1))

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Return if all processes know the same facts, in JSON; all of them raise if they do not.

        Raises:
            RanksError: some facts differ; the message names them.
        """
        if self.size == 1:
            return
        text = torch.tensor(list(json.dumps(facts, sort_keys=True).encode()), dtype=torch.uint8)
        lengths = self.gather(torch.tensor([len(text)])).tolist()
        texts = [bytes(part.tolist()).decode() for part in torch.split(self.gather(text), lengths)]
        first = json.loads(texts[0])
        for rank, each in enumerate(texts):
            other = json.loads(each)
            names = [name for name in first | other if first.get(name) != other.get(name)]
            if names:
                values = "; ".join(f"{n} is {first.get(n)!r:.200} and {other.get(n)!r:.200}" for n in names[:3])
                raise RanksError(
                    f"processes 0 and {rank} were to train together, but not the same: {values}; start all of them "
                    "with the same arguments and the same data"
                )


ALONE = Ranks()
"""One process."""


def joined(fabric: Fabric) -> Ranks:
    """Launch a Fabric, and return its processes. They part in good order when this one ends."""
    fabric.launch()
    if fabric.world_size > 1:
        _part_at_exit()
    return Ranks.of(fabric)


@cache
def _part_at_exit() -> None:
    # Threads of a group that is still there when Python has gone may abort the process.
    atexit.register(_part)


def _part() -> None:
    if distributed.is_initialized():
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


class _Watch:
    """Says once, in a thread of its own, that this process has waited long for others."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.since: float | None = None
        self.told = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="quickstudy-ranks", daemon=True)
            self._thread.start()
        self.since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.since = None

    def _look(self) -> None:
        while not self.told:
            time.sleep(REMARK_SECONDS / 20)
            since = self.since
            if since is not None and time.monotonic() - since > REMARK_SECONDS:
                self.told = True
                log.warning(
                    "process %d of %d has waited %.0f s for another one, which computes still, has stopped, or is gone",
                    self.rank, self.size, REMARK_SECONDS,
                )  # fmt: skip


def _first_line(error: Exception) -> str:
    # gloo's messages go on with advice.
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
