"""How this process was started: alone, by torchrun, or by SLURM's srun. Read from the environment, without PyTorch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from quickstudy.errors import InputError, LaunchError

TIMEOUT = "QUICKSTUDY_TIMEOUT"
"""The environment variable for the seconds that processes wait for each other."""


@dataclass(frozen=True)
class Launch:
    """The number of this process, and of all processes.

    Attributes:
        rank: number of this process.
        size: number of processes.
        nodes: number of machines.
        each: processes on each machine, where that is known.
        timeout: seconds that processes wait for another one before they give up.
    """

    rank: int = 0
    size: int = 1
    nodes: int = 1
    each: int | None = 1
    timeout: float = 300.0

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
    """Return what torchrun, else srun, set in the environment.

    Raises:
        LaunchError: that cannot be true; the message names the variable.
    """
    timeout = _number(TIMEOUT, 300, least=1)
    if "WORLD_SIZE" in os.environ or "RANK" in os.environ:  # torchrun, which may itself have been started by srun
        size, local = _number("WORLD_SIZE", 1, least=1), _number("LOCAL_WORLD_SIZE", 1, least=1)
        if size > 1 and "RANK" not in os.environ:
            raise LaunchError(f"WORLD_SIZE={size} but RANK is not set; {_HOW}")
        rank = _place("RANK", "WORLD_SIZE", size) if "WORLD_SIZE" in os.environ else _number("RANK", 0)
        if "LOCAL_RANK" in os.environ:
            _place("LOCAL_RANK", "LOCAL_WORLD_SIZE", local)
        if local > size:
            raise LaunchError(f"LOCAL_WORLD_SIZE={local} is more than WORLD_SIZE={size}; {_HOW}")
        _check_port(size)
        return Launch(rank, size, max(1, size // local), local, timeout)
    size = _number("SLURM_NTASKS", 1, least=1)
    # In a shell that salloc opened, the tasks are those of commands to come.
    if size == 1 or os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
            if _number(name, 1, least=1) > 1:
                raise LaunchError(f"{name}={os.environ[name]} says that mpirun started several processes; {_HOW}")
        return Launch(timeout=timeout)
    each = _number("SLURM_NTASKS_PER_NODE", 1, least=1) if "SLURM_NTASKS_PER_NODE" in os.environ else None
    if "SLURM_LOCALID" in os.environ:
        _place("SLURM_LOCALID", "SLURM_NTASKS_PER_NODE" if each else "SLURM_NTASKS", each or size)
    nodes = _number("SLURM_NNODES", 1, least=1)
    if "SLURM_NODEID" in os.environ:
        _place("SLURM_NODEID", "SLURM_NNODES", nodes)
    _check_port(size)
    return Launch(_place("SLURM_PROCID", "SLURM_NTASKS", size), size, nodes, each, timeout)


def prints() -> bool:
    """Return whether this process is the one that prints, also where the environment makes no sense."""
    try:
        return launch().first
    except LaunchError:
        return True


_HOW = "start processes by torchrun or srun, which set all of them, or unset it to train in one process"


def _number(name: str, default: int, least: int = 0) -> int:
    text = os.environ.get(name, str(default)).strip()
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or int(text) < least:
        raise LaunchError(f"the environment variable {name}={text!r} is no whole number from {least} on; {_HOW}")
    return int(text)


def _place(name: str, total: str, size: int) -> int:
    """Return the number of this process among so many."""
    number = _number(name, 0)
    if number >= size:
        raise LaunchError(f"{name}={number} is not below {total}={size}; {_HOW}")
    return number


def _check_port(size: int) -> None:
    if size > 1 and "MASTER_PORT" in os.environ and not 1 <= _number("MASTER_PORT", 1) <= 65535:
        raise LaunchError(f"MASTER_PORT={os.environ['MASTER_PORT']} is no port, 1 to 65535; {_HOW}")
    if size > 1 and os.environ.get("MASTER_ADDR", "localhost").strip() == "":
        raise LaunchError(f"MASTER_ADDR is empty; it must name the machine of process 0; {_HOW}")
