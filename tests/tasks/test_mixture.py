"""Banks, mixtures and supervised batches."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import quickstudy as qs
from quickstudy.errors import CheckpointError, InputError
from quickstudy.tasks import Bank, FewShot, Linear, Mixture, Sinusoid, Supervised, TaskDistribution, by_group
from tests.helpers.blobs import make_blobs

DATA = make_blobs()


def few_shot(**options: Any) -> FewShot:
    return FewShot(DATA, **{"ways": 3, "queries": 2, **options})


def equal(one: qs.Task, other: qs.Task) -> bool:
    leaves = zip(*(torch.utils._pytree.tree_leaves(task) for task in (one, other)), strict=True)
    return all(torch.equal(a, b) for a, b in leaves)


def test_base_says_what_is_missing() -> None:
    base = TaskDistribution()
    for call in (lambda: base.plan(torch.arange(1)), lambda: base.gather({})):
        with pytest.raises(NotImplementedError):
            call()
    assert base.classes == ()
    assert base.fingerprint == ""


@pytest.mark.parametrize("tasks", [few_shot(), Sinusoid(), Mixture([few_shot(seed=1), few_shot(within="group")])])
def test_bank_is_fixed_saved_and_loaded(tasks: TaskDistribution, tmp_path: Path) -> None:
    bank = tasks.bank(20, seed=7)
    assert len(bank) == 20
    assert tasks.seed == 0
    assert equal(bank.batch(0, 20), tasks.bank(20, seed=7).batch(0, 20))
    assert equal(bank.batch(3, 2), tasks.bank(30, seed=7).batch(3, 2))
    assert not equal(bank.batch(0, 20), tasks.bank(20, seed=8).batch(0, 20))
    bank.save(tmp_path / "bank.safetensors")
    again = Bank.load(tmp_path / "bank.safetensors", tasks)
    assert equal(again.batch(0, 20), bank.batch(0, 20))
    assert again.describe()["bank"] == 20
    assert again.classes == tasks.classes
    with pytest.raises(InputError, match="the bank has 20 tasks; task 20 does not exist"):
        bank.batch(19, 2)


def test_bank_is_the_stream_of_its_seed() -> None:
    assert equal(few_shot().bank(4, seed=5).batch(0, 4), few_shot(seed=5).batch(0, 4))


def test_damaged_and_foreign_banks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    few_shot().bank(3).save(path)
    with pytest.raises(CheckpointError, match="made from other data"):
        Bank.load(path, FewShot(make_blobs(classes=11), ways=3, queries=2))
    with pytest.raises(CheckpointError, match="of another shape"):
        Bank.load(path, few_shot(queries=3))
    with pytest.raises(CheckpointError, match="cannot read the bank"):
        Bank.load(tmp_path / "none.safetensors", few_shot())
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:4], b"", b"\x80\x04\x95cos\nsystem\n"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot read the bank"):
            Bank.load(path, few_shot())
    save_file({"support": torch.zeros(1)}, path, {"version": "99"})
    with pytest.raises(CheckpointError, match="has version 99"):
        Bank.load(path, few_shot())
    save_file({"support": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="has version None"):
        Bank.load(path, few_shot())


def test_interleaved_mixture_draws_parts_evenly() -> None:
    mixture = Mixture([few_shot(), few_shot(), few_shot()])
    parts = mixture.part_of(torch.arange(3000))
    assert bool((torch.bincount(parts) - 1000).abs().max() < 120)
    assert bool((parts[1:] != parts[:-1]).float().mean() > 0.6)


def test_blocked_mixture_stays_with_a_part() -> None:
    mixture = Mixture([few_shot(), few_shot(), few_shot()], "blocked", block=10)
    blocks = mixture.part_of(torch.arange(900)).reshape(-1, 10)
    assert bool((blocks == blocks[:, :1]).all())
    rounds = blocks[:, 0].reshape(-1, 3)
    assert torch.equal(rounds.sort(1).values, torch.arange(3).expand(30, 3))
    assert len({tuple(each) for each in rounds.tolist()}) > 1


def test_curriculum_widens() -> None:
    mixture = Mixture([few_shot(), few_shot(), few_shot()], "curriculum", block=100)
    stages = [mixture.part_of(torch.arange(start, start + 100)).unique().tolist() for start in (0, 100, 200, 700)]
    assert stages == [[0], [0, 1], [0, 1, 2], [0, 1, 2]]


def test_mixtures_tasks_are_of_their_parts_and_seekable() -> None:
    groups = [DATA.subset([i for i in range(12) if i % 3 == g]) for g in range(3)]
    mixture = Mixture([FewShot(group, ways=2, queries=1) for group in groups])
    batch, parts = mixture.batch(0, 30), mixture.part_of(torch.arange(30))
    for i, part in enumerate(parts.tolist()):
        for row in batch.support.inputs[i]:
            assert bool((groups[part].inputs == row).all(1).any())
    assert equal(qs.batching.select(mixture.batch(5, 2), 0), qs.batching.select(batch, 5))
    other = Mixture([FewShot(group, ways=2, queries=1) for group in groups], seed=1)
    assert not equal(other.batch(0, 30), batch)
    assert set(mixture.classes) == set(DATA.classes)
    assert len(mixture.describe()["parts"]) == 3


def test_mixture_of_unlike_parts_is_refused() -> None:
    with pytest.raises(InputError, match="parts is empty"):
        Mixture([])
    with pytest.raises(InputError, match="different shapes"):
        Mixture([few_shot(), few_shot(queries=3)])
    with pytest.raises(InputError, match="different shapes"):
        Mixture([Sinusoid(), Linear(queries=3)])
    with pytest.raises(InputError, match="unknown order"):
        Mixture([few_shot()], "random")
    with pytest.raises(InputError, match="block must be at least 1"):
        Mixture([few_shot()], block=0)


def test_by_group() -> None:
    mixture = by_group(DATA, "group", "blocked", block=5, ways=3, queries=2)
    assert len(mixture.parts) == 3
    task = mixture.batch(0, 4)
    assert task.support.inputs.shape == (4, 3, 4)
    with pytest.raises(InputError, match="unknown attribute"):
        by_group(DATA, "family", "blocked")
    with pytest.raises(InputError, match=r"empty|classes"):
        by_group(DATA, "group", "blocked", ways=5)


def test_supervised_batches_have_labels_over_all_classes() -> None:
    tasks = Supervised(DATA, batch=500)
    batch = tasks.batch(0, 2)
    assert batch.query.ways == 12
    assert batch.query.labels.unique().tolist() == list(range(12))
    for x, y in zip(batch.query.inputs[0], batch.query.labels[0], strict=True):
        row = int((DATA.inputs == x).all(1).nonzero()[0])
        assert DATA.labels[row] == y
    assert torch.equal(tasks.batch(1, 1).query.labels[0], batch.query.labels[1])
    with pytest.raises(InputError, match="batch must be at least 1"):
        Supervised(DATA, batch=0)


def test_moving_to_a_device() -> None:
    for tasks in (few_shot(within="group"), Sinusoid(), Mixture([few_shot()]), Supervised(DATA), few_shot().bank(3)):
        assert tasks.to("cpu") is tasks
        tasks.batch(0, 2)


def test_each_task_of_a_mixture_is_its_parts_own() -> None:
    parts = [few_shot(seed=seed) for seed in range(3)]
    indices = torch.tensor([5, 0, 17, 3])
    plan = Mixture(parts).plan(indices)
    for row, (index, number) in enumerate(zip(indices.tolist(), plan["part"].tolist(), strict=True)):
        alone = parts[number].plan(torch.tensor([index]))
        assert all(torch.equal(plan[name][row], value[0]) for name, value in alone.items())
