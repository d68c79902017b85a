"""Processes that torchrun or srun starts train as one: they share tasks out, and agree on everything else."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.engine.launch import Launch, launch
from quickstudy.engine.ranks import ALONE
from quickstudy.errors import CheckpointError, InputError
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage.run_folder import RunFolder
from tests.helpers import distributed_run
from tests.helpers.distributed_run import evaluations, save_reports, train

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def torchrun(rank: int) -> dict[str, str]:
    """Return what torchrun sets for one of two processes."""
    return {
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "none",
    }  # fmt: skip


def srun(rank: int) -> dict[str, str]:
    """Return what `srun --nodes=1 --ntasks-per-node=2` sets for one of two processes."""
    return {
        "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0", "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "localhost", "SLURM_JOB_NODELIST": "localhost",
    }  # fmt: skip


def clean() -> dict[str, str]:
    """Return this environment without what a launcher may have set."""
    names = {*torchrun(0), "MASTER_ADDR", "MASTER_PORT"}
    kept = {k: v for k, v in os.environ.items() if k not in names and not k.startswith("SLURM_")}
    return {**kept, "OMP_NUM_THREADS": "1"}


def start(part: str, folder: Path, launcher: Any) -> list[subprocess.Popen[str]]:
    where = {"MASTER_PORT": free_port()} | ({"MASTER_ADDR": "127.0.0.1"} if launcher is torchrun else {})
    return [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", distributed_run.__name__, part, str(folder)],
            cwd=ROOT,
            env={**clean(), **where, **launcher(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def end(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Return the exit codes and standard errors."""
    try:
        texts = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, texts, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what two processes did, and one beside them."""
    folder = tmp_path_factory.mktemp("ranks")
    recipe = ["sinusoid-maml", "--steps", "2", "--meta-batch", "2", "--compile", "False", "--device", "cpu"]
    assert main(["train", *recipe, "--run-dir", str(folder / "sine")]) == 0
    processes = start("first", folder, torchrun)
    train(folder / "alone", 4)
    train(folder / "reptile-alone", 4, outer=qs.outer.Reptile(0.5))
    train(folder / "evolution-alone", 4, outer=qs.outer.EvolutionStrategies(6, 0.1))
    train(folder / "cma-alone", 4, outer=qs.outer.CMAES(0.1))
    save_reports(folder / "reports-alone.npz", evaluations(ALONE))
    first, second = end(processes)
    assert first[0] == 0, first[1]
    assert second[0] == -signal.SIGKILL, second[1]
    # What one process had begun or two, the other number goes on with.
    train(folder / "legs", 2, steps=6)
    processes = start("second", folder, srun)
    while not all((folder / f"started{rank}").exists() for rank in range(2)):
        assert all(process.poll() is None for process in processes), end(processes)
        time.sleep(0.02)
    processes[1].send_signal(signal.SIGTERM)
    (folder / "stopped.json").write_text(json.dumps(end(processes)))
    return folder


@pytest.fixture(scope="module")
def facts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"first{rank}.json").read_text()) for rank in range(2)]


def same_run(one: Path, other: Path) -> None:
    for name in ("last", "best"):
        found, wanted = (ckpt.load_checkpoint(each / f"{name}.safetensors") for each in (one, other))
        assert found["step"] == wanted["step"]
        for key, value in wanted["learner"].items():
            torch.testing.assert_close(found["learner"][key], value)
    found, wanted = ([row.split(",") for row in (each / "metrics.csv").read_text().split()] for each in (one, other))
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    assert [float(row[2]) for row in found[1:]] == pytest.approx([float(row[2]) for row in wanted[1:]], rel=1e-5)


def test_two_processes_are_one_with_twice_the_tasks(folder: Path, facts: list[dict[str, Any]]) -> None:
    same_run(folder / "together", folder / "alone")
    for name in ("reptile", "evolution", "cma"):
        same_run(folder / name, folder / f"{name}-alone")
    assert facts[0]["weights"] == facts[1]["weights"]
    assert facts[0]["loss"] == facts[1]["loss"]
    described = json.loads((folder / "together" / "run.json").read_text())
    assert (described["meta_batch"], described["ranks"]) == (2, 2)


def test_another_number_of_processes_goes_on(folder: Path) -> None:
    same_run(folder / "legs", folder / "alone")


def test_resuming_keeps_what_dropout_draws(folder: Path) -> None:
    found, wanted = (ckpt.load_checkpoint(folder / n / "last.safetensors") for n in ("dropout", "dropout-whole"))
    for key, value in wanted["learner"].items():
        assert torch.equal(found["learner"][key], value)


def test_tasks_of_an_evaluation_are_shared_out(folder: Path, facts: list[dict[str, Any]]) -> None:
    found, wanted = (np.load(folder / f"{name}.npz") for name in ("reports", "reports-alone"))
    for name in wanted.files:
        if name[0] in "01":  # the same chunks: exactly the same numbers
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
        else:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, err_msg=name)
    assert facts[0]["means"] == facts[1]["means"]


def test_the_command_evaluate_shares_tasks_out(folder: Path) -> None:
    path = folder / "sine" / "evaluation.json"
    found = json.loads(path.read_text())
    assert main(["evaluate", str(folder / "sine"), "--tasks", "9", "--device", "cpu"]) == 0
    wanted = json.loads(path.read_text())
    assert found["mean"] == pytest.approx(wanted["mean"], rel=1e-6)
    assert found["interval"] == pytest.approx(wanted["interval"], rel=1e-5)
    assert found["curve"] == pytest.approx(wanted["curve"], rel=1e-5)


def test_all_stop_early_together(facts: list[dict[str, Any]]) -> None:
    assert facts[0]["early"] == facts[1]["early"]
    steps, stopped = facts[0]["early"]
    assert stopped
    assert steps < 40


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_all(folder: Path, facts: list[dict[str, Any]], kind: str) -> None:
    assert facts[0][kind] == facts[1][kind]
    assert "tasks [2, 3] of the meta-batch" in facts[0][kind]
    saved = ckpt.load_checkpoint(folder / kind / "nonfinite-2.safetensors")
    drawn = qs.tasks.FewShot(distributed_run.TRAIN, ways=3, shots=(1, 2), queries=2).batch(2 * 4 + 2, 2)
    assert torch.equal(saved["tasks"]["support"]["inputs"], drawn.support.inputs)


def test_an_outer_optimiser_that_shares_nothing_is_refused(facts: list[dict[str, Any]]) -> None:
    assert "meta_loss.share" in facts[0]["deaf"]
    assert facts[0]["deaf"] == facts[1]["deaf"]


def test_a_process_whose_other_died_says_so(folder: Path) -> None:
    assert "has lost another one" in (folder / "died.txt").read_text()


def test_a_signal_to_one_stops_all_at_the_same_step(folder: Path) -> None:
    ended = json.loads((folder / "stopped.json").read_text())
    assert [code for code, _ in ended] == [143, 143], ended
    steps = [int((folder / f"step{rank}.txt").read_text()) for rank in range(2)]
    assert steps[0] == steps[1] == ckpt.load_checkpoint(folder / "stopped" / "last.safetensors")["step"]
    assert [text.count("saved to") for _, text in ended] == [1, 0]


def test_processes_that_do_not_fit_are_told_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSTUDY_TIMEOUT", "4")
    ended = end(start("third", tmp_path, torchrun))
    assert ended[0][0] == 0, ended[0][1]
    told = [json.loads((tmp_path / f"third{rank}.json").read_text()) for rank in range(2)]
    assert told[0] == told[1]
    values = {"seed": "seed is 0 and 1", "steps": "steps is 3 and 4", "meta_batch": "meta_batch is 2 and 3"}
    values |= {"outer": "outer is", "run_dir": "folder is True and False", "parameters": "parameters is"}
    assert set(told[0]) == set(values)
    for name, words in values.items():
        assert f"processes 0 and 1 were to train together, but not the same: {words}" in told[0][name]
    assert "has waited in vain for another one" in (tmp_path / "late.txt").read_text()
    assert "QUICKSTUDY_TIMEOUT" in (tmp_path / "late.txt").read_text()
    assert (tmp_path / "log0.txt").read_text().count("has waited 0 s for another one") == 1


def test_torchrun(tmp_path: Path) -> None:
    """The real thing, interrupted."""
    recipe = ["sinusoid-maml", "--steps", "1000000", "--meta-batch", "2", "--compile", "False", "--validate-every", "5"]
    options = ["--hidden", "4", "--validation-tasks", "2", "--device", "cpu", "--run-dir", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m",
         "quickstudy", "train", *recipe, *options],
        env=clean(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    last = tmp_path / "run" / "last.safetensors"
    while not last.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert errors.count("Interrupted; saved to") == 1, errors
    assert ckpt.load_checkpoint(last)["step"] >= 5


def test_a_share_that_is_not_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path, 4, steps=1)
    described = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**described, "meta_batch": 2, "ranks": 2}))
    train(tmp_path, 4, steps=2)  # the same four tasks a step
    (tmp_path / "run.json").write_text(json.dumps({**described, "meta_batch": 3, "ranks": 2}))
    with pytest.raises(CheckpointError, match="another meta_batch"):
        train(tmp_path, 4, steps=3)
    alone = RunFolder(tmp_path, qs.engine.ranks.ALONE)
    alone.ranks = qs.engine.ranks.Ranks(0, 4)
    with pytest.raises(
        CheckpointError, match="6 tasks per step, which 4 processes cannot share evenly; go on with 1, 2, 3, 6"
    ):
        alone.share_of(3, {})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Launch()),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "5"}, Launch(5, 8, 2, 4)),
        ({"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_PROCID": "5"},
         Launch(5, 8, 2, 4)),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, Launch()),
        ({"SLURM_NTASKS": "8", "SLURM_JOB_NAME": "interactive"}, Launch()),
        # torchrun as srun's only task on each machine
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "5", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"},
         Launch(5, 8, 2, 4)),
    ],
)  # fmt: skip
def test_launchers(environment: dict[str, str], expected: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - clean().keys():
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launch() == expected
    launch().check()
    assert launch().first == (expected.rank == 0)


@pytest.mark.parametrize("each", [None, "3"])
def test_srun_with_uneven_machines_is_refused(each: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "5")
    monkeypatch.setenv("SLURM_NNODES", "2")
    if each is not None:
        monkeypatch.setenv("SLURM_NTASKS_PER_NODE", each)
    with pytest.raises(InputError, match="--ntasks-per-node"):
        launch().check()
