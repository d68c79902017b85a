"""A process an implementation. All wait while one works, so that rounds interleave and memory is each one's own.

Processes are forked from a server that has imported PyTorch and Quickstudy, and nothing else: starting one is quick,
and no rival's library is in another's memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import resource
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.case import AbsentError, Context, Setting, Step, load

PRELOAD = ["torch", "torch.utils.flop_counter", "benchmarks.preload", "benchmarks.case"]


class FailedError(Exception):
    """A worker could not do its work."""


class Worker:
    """Client of a process that holds one implementation of one setting."""

    def __init__(self, case: str, implementation: str, setting: Setting, context: Context) -> None:
        methods = multiprocessing.get_context("forkserver")
        methods.set_forkserver_preload(PRELOAD)
        self.connection, other = methods.Pipe()
        self.name = implementation
        self.process = methods.Process(
            target=serve, args=(other, case, implementation, setting, context, os.environ.copy())
        )
        self.process.start()
        other.close()

    def ask(self, command: str, *arguments: Any) -> Any:
        """Send a command, wait for its answer."""
        with contextlib.suppress(OSError):  # an ended process is noticed by its missing answer
            self.connection.send((command, *arguments))
        return self.answer()

    def answer(self) -> Any:
        """Wait for an answer: that of a command, or None once the implementation is built.

        Raises:
            AbsentError: the implementation takes no part.
            FailedError: it raised an error, or its process ended.
        """
        try:
            kind, answer = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join(5)
            code = self.process.exitcode
            why = " (killed, most likely for lack of memory)" if code == -9 else ""
            raise FailedError(f"its process ended with exit code {code}{why}") from error
        if kind == "absent":
            raise AbsentError(answer)
        if kind == "failed":
            raise FailedError(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self.connection.send(("end",))
        self.connection.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Server:
    """Obeys the commands of one client; it is the pump of the implementation's loop."""

    def __init__(self, connection: Connection, build: Callable[[], Step], context: Context) -> None:
        self.connection, self.context = connection, context
        self.make = build
        self.made: Step | None = None
        self.left, self.running, self.started = 0, False, 0.0
        self.baseline = 0

    def tick(self) -> bool:
        """Count one step; when all are done report, and wait for the next command."""
        if self.left:
            self.left -= 1
            return True
        if self.running:
            self._synchronize()
            self.running = False
            self._answer(time.perf_counter() - self.started)
        return self._obey()

    def _obey(self) -> bool:
        """Obey commands up to one that asks for steps (True) or for the end (False)."""
        while True:
            try:
                command, *arguments = self.connection.recv()
            except EOFError:
                return False
            if command == "end":
                return False
            if command == "steps":
                self.left, self.running = arguments[0] - 1, True
                self._synchronize()
                self.started = time.perf_counter()
                return True
            self._answer(getattr(self, command)(*arguments))

    def run(self) -> None:
        """Build the implementation, then step and answer until told to end."""
        try:
            self.made = self.make()
            self._answer(None)
            gc.collect()
            self.baseline = memory(self.context.device)
            self.made.loop(self)
        except AbsentError as error:
            self._send("absent", str(error))
        except ImportError as error:
            self._send("absent", f"cannot be imported: {error}")
        except Exception as error:
            self._send("failed", f"{type(error).__name__}: {error}\n{traceback.format_exc()}")

    def check(self) -> tuple[dict[str, np.ndarray[Any, Any]], float]:
        """Return what is agreed on, and the seconds that the first use took."""
        assert self.made is not None
        self._synchronize()
        start = time.perf_counter()
        found = self.made.check()
        self._synchronize()
        seconds = time.perf_counter() - start
        return {name: torch.as_tensor(value).double().cpu().numpy() for name, value in found.items()}, seconds

    def flops(self) -> int:
        """Return the floating-point operations of `check` (matrix products and convolutions only)."""
        assert self.made is not None
        with FlopCounterMode(display=False) as counter:
            self.made.check()
        return int(counter.get_total_flops())

    def forget_peak(self) -> None:
        """Begin to measure the peak of memory anew."""
        if self.context.device == "cpu":
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")
        else:
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return the peak of memory since `forget_peak` in bytes, less what there was before the first step."""
        return max(0, peak_memory(self.context.device) - self.baseline)

    def _synchronize(self) -> None:
        if self.context.device != "cpu":
            torch.cuda.synchronize()

    def _answer(self, value: Any) -> None:
        self._send("answer", value)

    def _send(self, kind: str, value: Any) -> None:
        with contextlib.suppress(OSError):
            self.connection.send((kind, value))


def serve(
    connection: Connection,
    case: str,
    implementation: str,
    setting: Setting,
    context: Context,
    environment: dict[str, str],
) -> None:
    """Be the process of a worker."""
    os.environ.update(environment)
    _die_with_parent()
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    torch.manual_seed(0)

    def build() -> Step:
        found = load(case)
        return found.implementations[implementation].build(found.problem(setting, context), context)

    Server(connection, build, context).run()


def _die_with_parent() -> None:
    """On Linux, ask to be killed when the server that forked us ends, so that nothing is left behind."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, 9)


def memory(device: str) -> int:
    """Return the memory in use in bytes: resident, or allocated on the GPU."""
    if device != "cpu":
        torch.cuda.synchronize()
        return int(torch.cuda.memory_allocated())
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_memory(device)


def peak_memory(device: str) -> int:
    """Return the peak of memory in bytes since it was last forgotten, or since the process began."""
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated())
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # macOS counts bytes, where Linux counts KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if os.uname().sysname == "Darwin" else 1024)
