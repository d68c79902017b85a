"""How this process was started: alone, by torchrun, or by SLURM's srun. Read from the environment, without PyTorch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from quickstudy.errors import InputError


@dataclass(frozen=True)
class Launch:
    """The number of this process, and of all processes.

    Attributes:
        rank: number of this process.
        size: number of processes.
        nodes: number of machines.
        each: processes on each machine, where that is known.
    """

    rank: int = 0
    size: int = 1
    nodes: int = 1
    each: int | None = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def check(self) -> None:
        """Raise InputError unless every machine has the same number of processes."""
        if self.each is None or self.nodes * self.each != self.size:
            each = "an unknown number" if self.each is None else self.each
            raise InputError(
                f"there are {self.size} processes on {self.nodes} machines with {each} on each; every machine needs "
                "the same number: srun --nodes=N --ntasks-per-node=M, or torchrun --nnodes=N --nproc-per-node=M"
            )


def launch() -> Launch:
    """Return what torchrun, else srun, set in the environment."""
    if "WORLD_SIZE" in os.environ or "RANK" in os.environ:  # torchrun, which may itself have been started by srun
        size, local = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
        return Launch(_number("RANK", 0), size, max(1, size // local), local)
    size = _number("SLURM_NTASKS")
    # In a shell that salloc opened, the tasks are those of commands to come.
    if size == 1 or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return Launch()
    each = _number("SLURM_NTASKS_PER_NODE") if "SLURM_NTASKS_PER_NODE" in os.environ else None
    return Launch(_number("SLURM_PROCID", 0), size, _number("SLURM_NNODES"), each)


def _number(name: str, default: int = 1) -> int:
    return int(os.environ.get(name, default))
