"""What launchers set in the environment, and what none of them would."""

import os
import re
import subprocess
import sys

import pytest

from quickstudy.cli import main
from quickstudy.engine.launch import Launch, launch, prints
from quickstudy.errors import LaunchError

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR", "QUICKSTUDY_TIMEOUT")
TWO = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "2"}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name in NAMES or name.startswith(("SLURM_", "OMPI_", "PMI_")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"RANK": "abc"}, "RANK='abc'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE=''"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE='-2'"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE='2.0'"),
        ({"WORLD_SIZE": "²"}, "WORLD_SIZE='²'"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE='999"),
        ({"WORLD_SIZE": "2"}, "RANK is not set"),
        ({**TWO, "LOCAL_WORLD_SIZE": "0"}, "LOCAL_WORLD_SIZE='0'"),
        ({**TWO, "LOCAL_WORLD_SIZE": "4"}, "LOCAL_WORLD_SIZE=4 is more than WORLD_SIZE=2"),
        ({**TWO, "RANK": "2"}, "RANK=2 is not below WORLD_SIZE=2"),
        ({**TWO, "LOCAL_RANK": "2"}, "LOCAL_RANK=2 is not below"),
        ({**TWO, "LOCAL_RANK": "x"}, "LOCAL_RANK='x'"),
        ({**TWO, "MASTER_PORT": "x"}, "MASTER_PORT='x'"),
        ({**TWO, "MASTER_PORT": "70000"}, "MASTER_PORT=70000 is no port"),
        ({**TWO, "MASTER_ADDR": ""}, "MASTER_ADDR is empty"),
        ({"SLURM_NTASKS": "2(x3)"}, re.escape("SLURM_NTASKS='2(x3)'")),
        ({**SRUN, "SLURM_NTASKS_PER_NODE": "2(x2)"}, "SLURM_NTASKS_PER_NODE="),
        ({**SRUN, "SLURM_NNODES": "1-2"}, "SLURM_NNODES='1-2'"),
        ({**SRUN, "SLURM_PROCID": "4"}, "SLURM_PROCID=4 is not below SLURM_NTASKS=4"),
        ({**SRUN, "SLURM_LOCALID": "2"}, "SLURM_LOCALID=2 is not below"),
        ({**SRUN, "SLURM_NODEID": "2"}, "SLURM_NODEID=2 is not below"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE=2 says that mpirun"),
        ({"PMI_SIZE": "2"}, "PMI_SIZE=2 says that mpirun"),
        ({"QUICKSTUDY_TIMEOUT": "0"}, "QUICKSTUDY_TIMEOUT='0'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(environment: dict[str, str], name: str, clean: pytest.MonkeyPatch) -> None:
    for key, value in environment.items():
        clean.setenv(key, value)
    with pytest.raises(LaunchError, match=name):
        launch()
    assert prints()


def test_what_can_be_is_taken(clean: pytest.MonkeyPatch) -> None:
    assert launch() == Launch()
    for key, value in {**TWO, "MASTER_PORT": "29500", "QUICKSTUDY_TIMEOUT": "60"}.items():
        clean.setenv(key, value)
    assert launch() == Launch(1, 2, 1, 2, 60)
    assert not prints()
    for key in TWO:
        clean.delenv(key)
    for key, value in SRUN.items():
        clean.setenv(key, value)
    assert launch() == Launch(3, 4, 2, 2, 60)


def test_the_command_says_so_in_a_line(clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clean.setenv("RANK", "abc")
    assert main(["list", "rules"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: the environment variable RANK='abc' is no whole number from 0 on; start processes by torchrun or srun, "
        "which set all of them, or unset it to train in one process"
    ]
    whole = {**os.environ, "WORLD_SIZE": "x"}
    found = subprocess.run(
        [sys.executable, "-m", "quickstudy", "list", "rules"], env=whole, capture_output=True, text=True
    )
    assert (found.returncode, found.stderr.count("\n")) == (1, 1)
