"""Processes that torchrun starts train as one: they draw different tasks and average their meta-gradients."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from quickstudy import checkpoint as ckpt

SCRIPT = Path(__file__).with_name("distributed_run.py")


def run(folder: Path, ranks: int, tasks: int) -> dict[str, torch.Tensor]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(SCRIPT), str(folder), str(tasks)],
            # What torchrun sets.
            env={
                **environment, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "RANK": str(rank),
                "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
                "TORCHELASTIC_RUN_ID": "none", "GROUP_RANK": "0",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return ckpt.load_checkpoint(folder / "last.safetensors")["learner"]


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")
def test_two_processes_are_one_with_twice_the_tasks(tmp_path: Path) -> None:
    alone, together = run(tmp_path / "alone", 1, 4), run(tmp_path / "together", 2, 2)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value)
    assert json.loads((tmp_path / "together" / "run.json").read_text())["meta_batch"] == 2
    best = [ckpt.load_checkpoint(tmp_path / name / "best.safetensors") for name in ("alone", "together")]
    assert best[0]["step"] == best[1]["step"]
