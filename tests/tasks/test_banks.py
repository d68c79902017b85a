"""A bank is a pure function of its distribution and a seed, and a file of one that was changed is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import CheckpointError, InputError
from quickstudy.operators import trees
from quickstudy.tasks import Bank
from tests.helpers.blobs import make_blobs

Plan = dict[str, Tensor]
DATA = make_blobs()
TASK_DATA = qs.datasets.TaskData(
    torch.arange(80.0).reshape(40, 2), {f"t{i}": (range(i, i + 12), [0, 1, 1] * 4) for i in range(8)}
)
T = qs.tasks
BANKS: dict[str, Callable[[], qs.tasks.TaskDistribution]] = {
    "FewShot": lambda: T.FewShot(DATA, 3, 2, 4),
    "FewShot of varying shape": lambda: T.FewShot(DATA, (2, 4), (1, 3), 4),
    "FewShot of groups": lambda: T.FewShot(DATA, "all", 1, 3, within="group"),
    "FewShot of sources": lambda: T.FewShot(DATA, 3, 1, 3, disjoint_sources=True),
    "Sequential": lambda: T.Sequential(DATA, 3, 4),
    "Supervised": lambda: T.Supervised(DATA, 16),
    "FromTaskData": lambda: T.FromTaskData(TASK_DATA, 3, 4),
    "FromTaskData, balanced": lambda: T.FromTaskData(TASK_DATA, (1, 2), 4, "balanced"),
    "MetaDataset": lambda: T.MetaDataset(DATA),
    "SourcePairs": lambda: T.SourcePairs(DATA, (2, 4), within="group"),
    "Mixture": lambda: T.Mixture([T.FewShot(DATA, 3, 1, 4, seed=i) for i in range(2)]),
    "Attributes": lambda: T.Attributes(T.FewShot(DATA, 3, 1, 4), 6, (2, 4)),
    "Fitting": lambda: T.Fitting(nn.Linear(4, 3), DATA, (6, 9), 6, ways=3),
    "Budgets": lambda: T.Budgets(T.Quadratics(4), (2, 9)),
    "Sinusoid": lambda: T.Sinusoid(shots=3, queries=4),
    "Characters": lambda: T.Characters(qs.nets.optimizees.CharacterGRU(8), "abcdefgh" * 60, 4, 8, 16, 8),
    "OneTask": lambda: T.OneTask(qs.Examples(np.zeros((4, 2)), [0, 1, 0, 1]), qs.Examples(np.ones((2, 2)), [0, 1])),
}


def saved(tmp_path: Path, name: str, count: int = 12) -> tuple[Path, qs.tasks.TaskDistribution, Plan, dict[str, str]]:
    path, source = tmp_path / "bank", BANKS[name]()
    source.bank(count).save(path)
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    return path, source, load_file(path), facts


def same(a: Plan, b: Plan) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", BANKS)
def test_a_bank_is_read_again_also_without_a_digest(name: str, tmp_path: Path) -> None:
    path, source, plan, facts = saved(tmp_path, name)
    every = torch.arange(12)
    assert same(Bank.load(path, BANKS[name]()).plan(every), source.bank(12).plan(every))
    earlier = {key: value for key, value in facts.items() if key != "digest"}
    assert len(earlier) == len(facts) - 1
    save_file(plan, path, earlier)
    again = Bank.load(path, BANKS[name]())
    assert same(again.plan(every), source.bank(12).plan(every))
    assert again.seed == 2024


@pytest.mark.parametrize("name", BANKS)
def test_whatever_is_changed_in_a_plan_is_seen(name: str, tmp_path: Path) -> None:
    path, source, plan, facts = saved(tmp_path, name)
    g = np.random.default_rng(0)
    for column, values in plan.items():
        changed = values.clone().flatten()
        at = int(g.integers(len(changed)))
        raw = changed.view(torch.uint8)
        raw[at * changed.element_size()] ^= 1 << int(g.integers(8))
        save_file({**plan, column: changed.reshape(values.shape)}, path, facts)
        with pytest.raises(CheckpointError, match="is damaged: its tasks are not those that were saved"):
            Bank.load(path, source)
    for key, value in (("tasks", facts["tasks"].replace("2024", "2025")), ("digest", "0" * 64)):
        save_file(plan, path, {**facts, key: value})
        with pytest.raises(CheckpointError, match="is damaged"):
            Bank.load(path, source)


def rolled(rows: Tensor) -> Tensor:
    return rows.roll(1, -1)


CHANGES: list[tuple[str, Callable[[Plan], Plan], str]] = [
    ("FewShot", lambda p: {"query": p["support"].repeat(1, 2, 1)}, "both in the support and in the query|twice"),
    ("FewShot", lambda p: {"query": torch.cat([p["support"][:, :1], p["query"][:, 1:]], 1)}, "row .* is both in the"),
    ("FewShot", lambda p: {"query": p["query"] + 10**6}, r"of rows 0\.\.119"),
    ("FewShot", lambda p: {"query": p["query"] * 0 - 5}, "has row -5, of rows"),
    ("FewShot", lambda p: {"query": p["query"] * 0 - 1}, "a task has no query"),
    ("FewShot", lambda p: {"support": p["support"] * 0 - 1}, "a query asks for a class that no row"),
    ("FewShot", lambda p: {"query": rolled(p["query"])}, "a label of a task stands for rows of several classes"),
    ("FewShot", lambda p: {n: p[n][..., [0, 0, 1]] for n in p}, "a row comes twice in the support"),
    ("FewShot", lambda p: {"support": torch.where(torch.arange(2)[:, None] == 1, -1, p["support"])}, "'shots' holds"),
    ("FewShot of varying shape", lambda p: {n: p[n].clamp_max(0) - 1 for n in p}, "has row -2"),
    ("FewShot of groups", lambda p: {n: torch.cat([p[n][..., :1], p[n][..., 1:] * 0 - 1], 2) for n in p}, ""),
    ("FewShot of sources", lambda p: {"query": p["support"].repeat(1, 3, 1)}, "both in|twice"),
    ("Sequential", lambda p: {"labels": (p["labels"] + 1) % 4}, "'labels' holds numbers outside 0..2"),
    ("Sequential", lambda p: {"labels": p["labels"] * 0}, "a label of a task stands for rows of several classes"),
    ("Sequential", lambda p: {"rows": p["rows"] * 0}, "a row comes twice in the sequence"),
    ("Sequential", lambda p: {"rows": -p["rows"] - 1}, "has row -"),
    ("Supervised", lambda p: {"rows": p["rows"] + 120}, r"of rows 0\.\.119"),
    ("FromTaskData", lambda p: {"query": p["support"][:, [0, 1, 2, 0]]}, "both in|twice"),
    ("FromTaskData", lambda p: {"task": p["task"].roll(1)}, "rows of the support are another task's"),
    ("FromTaskData", lambda p: {"task": p["task"] + 99}, "'task' holds numbers outside 0..7"),
    ("FromTaskData", lambda p: {"query": p["query"] - 10**6}, "has row -"),
    ("MetaDataset", lambda p: {"query.rows": p["query.rows"] + 500}, "has row"),
    ("MetaDataset", lambda p: {"query.labels": p["query.labels"] * 0}, "label"),
    ("SourcePairs", lambda p: {"query": p["support"].clone()}, "is both in the"),
    ("SourcePairs", lambda p: {"query": p["query"].clone().fill_(-1)}, "no query"),
    ("Mixture", lambda p: {"part": p["part"] + 2}, "'part' holds numbers outside 0..1"),
    ("Mixture", lambda p: {"query": p["support"].repeat(1, 4, 1)}, "both in|twice"),
    ("Attributes", lambda p: {"columns": p["columns"] + 9}, "the attributes of task 0 has row"),
    ("Attributes", lambda p: {"source.query": rolled(p["source.query"])}, "several classes"),
    ("Fitting", lambda p: {"query": p["support"][:, :6]}, "both in the support"),
    ("Fitting", lambda p: {"input_scale": p["input_scale"] * 2}, "'input_scale' holds numbers outside"),
    ("Budgets", lambda p: {"steps": p["steps"] * 0}, "'steps' holds numbers outside 2..9"),
    ("Sinusoid", lambda p: {"x": p["x"] * torch.nan}, "'x' holds NaN or infinity"),
    ("Characters", lambda p: {"place": p["place"] - 9999}, "'place' holds numbers outside"),
    ("OneTask", lambda p: {"task": p["task"] + 1}, "'task' holds numbers outside 0..0"),
]


@pytest.mark.parametrize("number", range(len(CHANGES)), ids=lambda i: f"{CHANGES[i][0]} {i}")
def test_rows_that_cannot_be_tasks_are_refused_without_a_digest_too(number: int, tmp_path: Path) -> None:
    name, change, said = CHANGES[number]
    path, source, plan, facts = saved(tmp_path, name)
    changed = {key: value.clone().contiguous() for key, value in {**plan, **change(plan)}.items()}
    save_file(changed, path, {key: value for key, value in facts.items() if key != "digest"})
    if not said:
        Bank.load(path, source)  # fewer ways of a group are tasks as well
        return
    with pytest.raises(CheckpointError, match=f"holds no tasks of .*({said})"):
        Bank.load(path, source)


@pytest.mark.parametrize(
    ("name", "other", "said"),
    [
        ("FewShot", lambda: T.FewShot(DATA, 3, 2, 5), "another shape"),
        ("FewShot of varying shape", lambda: T.FewShot(DATA, (3, 4), (1, 3), 4), r"ways=2, not 3|ways=\[2, 4\]"),
        ("FewShot of sources", lambda: T.FewShot(DATA, 3, 1, 3), "disjoint_sources=True, not False"),
        ("FromTaskData", lambda: T.FromTaskData(TASK_DATA, 3, 4, "stratified"), "support='as-is', not 'stratified'"),
        ("Mixture", lambda: T.Mixture([T.FewShot(DATA, 3, 1, 4), T.FewShot(DATA, 3, 1, 4, within="group")]), "within"),
        ("Sinusoid", lambda: T.Sinusoid(shots=3, queries=4, noise=1.0), "noise=0.0, not 1.0"),
        ("Sinusoid", lambda: T.Linear(shots=3, queries=4), "another shape|tasks='Sinusoid'"),
    ],
)
def test_another_distribution_is_refused(name: str, other: Callable[[], Any], said: str, tmp_path: Path) -> None:
    path, *_ = saved(tmp_path, name)
    with pytest.raises(CheckpointError, match=said):
        Bank.load(path, other())


def test_damaged_files_and_descriptions_are_refused(tmp_path: Path) -> None:
    path, source, plan, facts = saved(tmp_path, "FewShot")
    whole = path.read_bytes()
    for cut in (0, 4, 8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match="cannot read the bank"):
            Bank.load(path, source)
    bare = {key: value for key, value in facts.items() if key != "digest"}
    for text in ("", "{", "[]", "7", '"x"', "[" * 10_000, '{"seed": "x"}', '{"seed": 1e400}', '{"seed": 2.5}'):
        save_file(plan, path, {**bare, "tasks": text})
        with pytest.raises(CheckpointError, match="has a damaged description"):
            Bank.load(path, source)
    save_file(plan, path, {**bare, "tasks": json.dumps({**json.loads(bare["tasks"]), "bank": 13})})
    with pytest.raises(CheckpointError, match="says that it has 13 tasks and holds 12"):
        Bank.load(path, source)
    for wrong, said in (
        ({**plan, "query": plan["query"].float()}, "another shape"),
        ({**plan, "query": plan["query"].int()}, "another shape"),
        ({**plan, "query": plan["query"][:5]}, "another shape"),
        ({"support": plan["support"]}, "another shape"),
        ({**plan, "more": plan["query"].clone()}, "another shape"),
        ({name: values[:0] for name, values in plan.items()}, "holds no task"),
        ({**plan, "query": torch.tensor(3)}, "another shape"),
    ):
        save_file(wrong, path, bare)
        with pytest.raises(CheckpointError, match=said):
            Bank.load(path, source)
    with pytest.raises(CheckpointError, match="cannot read the bank"):
        Bank.load(tmp_path / "absent", source)
    with pytest.raises(InputError, match="source must be the task distribution"):
        Bank.load(path, DATA)


def test_tasks_that_a_bank_does_not_have() -> None:
    bank = BANKS["FewShot"]().bank(5)
    for wrong in ([5], [-1], [0, 7]):
        with pytest.raises(InputError, match="the bank has 5 tasks; task"):
            bank.draw(torch.tensor(wrong))
    for wrong in (0, -1, 2.5, True, "3"):
        with pytest.raises(InputError, match="count must be"):
            BANKS["FewShot"]().bank(wrong)
    with pytest.raises(InputError, match="seed must be a whole number"):
        BANKS["FewShot"]().bank(3, seed=0.5)


@pytest.mark.parametrize("name", BANKS)
def test_a_bank_leaves_its_distribution_as_it_is_at_every_moment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = BANKS[name]()
    source.seed = 7
    first = source.batch(0, 2)
    seeds: list[int] = []
    inner = [
        source,
        *getattr(source, "parts", []),
        getattr(source, "problems", source),
        getattr(source, "source", source),
    ]
    before = [each.seed for each in inner]
    plan = type(source).plan

    def watched(self: Any, indices: Tensor) -> Plan:
        seeds.extend(each.seed for each in inner)
        found = plan(self, indices)
        seeds.extend(each.seed for each in inner)
        return found

    monkeypatch.setattr(type(source), "plan", watched)
    bank = source.bank(3, seed=5)
    assert set(seeds) == set(before)
    monkeypatch.undo()
    assert bank.seed == 5
    assert [each.seed for each in inner] == before
    assert all(torch.equal(a, b) for a, b in zip(trees.leaves(first), trees.leaves(source.batch(0, 2)), strict=True))


def test_threads_that_share_a_distribution_and_a_learner_get_the_figures_of_one() -> None:
    source, learner = BANKS["FewShot of varying shape"](), qs.learners.ProtoNet(qs.nets.mlp(4, (6,), 4))
    with torch.no_grad():
        alone = {seed: qs.evaluate(learner, source, 12, seed=seed, chunk=5).values for seed in range(6)}
    found: list[tuple[int, Any]] = []

    def run(first: int) -> None:
        for i in range(5):
            seed = (first + i) % 6
            found.append((seed, qs.evaluate(learner, source, 12, seed=seed, chunk=5).values))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(np.array_equal(values, alone[seed]) for seed, values in found)
    assert source.seed == 0
    assert all(module.training for module in learner.modules())
