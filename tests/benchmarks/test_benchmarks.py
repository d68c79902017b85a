"""The benchmark's machinery, without the other libraries: nothing here is timed to be compared."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.case import Context, label, load, names
from benchmarks.command import FORMAT, main, read, save
from benchmarks.harness import CaseRun, DisagreementError, Plan, agree, errors, merged, summary

from benchmarks import machine, page, plot, table

ROOT = Path(__file__).parents[2]

PLAN = Plan(repeats=3, round_seconds=0.001, budget=1.0)
DOUBLE = Context(torch.float64)
OTHERS = {
    "proto_training": "peers.proto",
    "sequences": "peers.sequences",
    "learned_optimizer": "ours_learned_optimizer",
}
"""What cases are compared with that cannot be done by the plain loop of MAML."""


def values(loss=1.0, gradient=(3.0, 4.0), bias=(0.0,)):
    return {
        "loss": np.array(loss),
        "gradient of w": np.array(gradient),
        "gradient of b": np.array(bias),
    }


def test_errors_are_relative():
    found = errors(values(loss=1.5, gradient=(3.0, 4.5)), values())
    assert found["loss"] == pytest.approx(0.5)
    assert found["gradient of w"] == pytest.approx(0.5 / 5.005)


def test_rounding_of_a_zero_gradient_does_not_count_but_a_wrong_one_does():
    assert errors(values(bias=(1e-9,)), values())["gradient of b"] < 1e-6
    assert errors(values(bias=(1.0,)), values())["gradient of b"] > 1


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (values(loss=1.001), "X disagrees with Y: relative error 1.0e-03 of the loss"),
        (values(gradient=(3.0, 4.1)), "of the gradient of w"),
        (values(gradient=(3.0, np.nan)), "X computes NaN or infinity: gradient of w"),
        (values(gradient=(3.0, 4.0, 5.0)), "X disagrees with Y: its gradient of w has shape"),
        ({"loss": np.array(1.0)}, "X disagrees with Y: it returns"),
    ],
)
def test_disagreement_names_who_and_what(found, message):
    with pytest.raises(DisagreementError, match=message):
        agree("X", found, "Y", values(), 1e-4)


def test_in_single_precision_the_whole_gradient_counts():
    assert merged(values())["gradient"].tolist() == [0.0, 3.0, 4.0]
    gaps = errors(merged(values(bias=(0.05,))), merged(values()))
    assert gaps["gradient"] == pytest.approx(0.01, rel=1e-2)


def test_agreement_in_loss_alone_where_gradients_are_rounded():
    assert agree("X", values(gradient=(9.0, 9.0)), "Y", values(), 1e-4, "loss") == 0
    with pytest.raises(DisagreementError, match="loss"):
        agree("X", values(loss=2.0), "Y", values(), 1e-4, "loss")


def test_a_setting_is_checked_then_timed_in_processes_of_their_own():
    only = ["quickstudy", "absent", "dies", "fails"]
    rows = CaseRun("tests.helpers.benchmark_case", Context(), PLAN, only).run({"tasks": 4})
    reference, ours, absent, dies, fails = rows
    assert [row["implementation"] for row in rows] == ["reference", *only]
    for row in (reference, ours):
        assert len(row["seconds"]) == 3
        assert 0 < row["quartiles"][0] <= row["median"] <= row["quartiles"][1]
        assert row["memory"] >= 0
        assert row["exact_error"] == row["error"] == 0
    assert absent["absent"] == "not today"
    assert "exit code 7" in dies["failed"]
    assert "bad weather" in fails["failed"]


def test_a_wrong_implementation_is_an_error_before_any_time_is_taken():
    with pytest.raises(DisagreementError, match=r"wrong disagrees with reference: relative error 1\.0e-03"):
        CaseRun("tests.helpers.benchmark_case", Context(), PLAN, ["wrong"]).run({"tasks": 4})


def test_flops_are_those_of_the_setting_not_of_the_small_one_that_was_checked():
    run = CaseRun("tests.helpers.benchmark_case", Context(), PLAN)
    run.exact[repr({"tasks": 2})] = ({}, 100.0)
    assert run._check_exactly({"tasks": 16}) == ({}, 800.0)


@pytest.mark.parametrize("name", names())
def test_every_case_is_well_formed(name):
    case = load(name)
    assert case.settings
    assert case.quick
    assert any(implementation.ours for implementation in case.implementations.values())
    assert case.reference is None or case.reference in case.implementations
    labels = [(setting.get("axis"), label(setting)) for setting in case.settings]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("case", "setting", "pairs"),
    [
        ("sine_maml", {"tasks": 3, "steps": 2}, ["naive vmap", "quickstudy"]),
        ("growth", {"tasks": 2, "steps": 2, "ways": 3, "filters": 4}, ["quickstudy"]),
        ("proto_training", {"tasks": 2, "ways": 3, "shots": 2, "queries": 2}, ["quickstudy"]),
        ("sequences", {"cell": "MANN", "tasks": 2, "rows": 15}, ["quickstudy"]),
        ("sequences", {"cell": "LSTM", "tasks": 2, "rows": 15}, ["quickstudy"]),
        ("learned_optimizer", {"problem": "quadratics", "tasks": 2, "steps": 3}, ["plain loop", "batched by hand"]),
        ("learned_optimizer", {"problem": "nets", "tasks": 2, "steps": 3}, ["plain loop", "batched by hand"]),
    ],
)
def test_what_needs_no_other_library_agrees(case, setting, pairs):
    found = load(case)
    plain = OTHERS.get(case, "peers.loop")
    implementations = {"plain": type(found.implementations["quickstudy"])(plain), **found.implementations}
    checks = {
        name: implementations[name].build(found.problem(setting, DOUBLE), DOUBLE).check() for name in ("plain", *pairs)
    }
    arrays = {name: {key: np.asarray(v.detach()) for key, v in check.items()} for name, check in checks.items()}
    for name in pairs:
        assert agree(name, arrays[name], "plain", arrays["plain"], 1e-9) < 1e-9


def test_first_order_loop_and_library_agree():
    case = load("omniglot_maml")
    checks = []
    for module in ("peers.loop", "peers.naive_vmap", "ours"):
        problem = load("growth").problem({"tasks": 2, "steps": 2, "ways": 3, "filters": 4}, DOUBLE)
        problem.first_order = True
        step = type(case.implementations["quickstudy"])(module).build(problem, DOUBLE)
        checks.append({key: np.asarray(v.detach()) for key, v in step.check().items()})
    assert agree("naive vmap", checks[1], "loop", checks[0], 1e-9) < 1e-9
    assert agree("quickstudy", checks[2], "loop", checks[0], 1e-9) < 1e-9


def test_steps_of_meta_train_are_counted_and_the_same():
    case = load("sine_maml")
    setting = {"tasks": 3, "steps": 1}

    class Three:
        left = 3

        def tick(self):
            self.left -= 1
            return self.left >= 0

    make = case.implementations["quickstudy"]
    whole = type(make)(make.module, {"via": "meta_train"}).build(case.problem(setting, DOUBLE), DOUBLE)
    parts = make.build(case.problem(setting, DOUBLE), DOUBLE)
    first = whole.check()
    assert torch.equal(first["loss"], parts.check()["loss"])
    whole.loop(Three())
    for _ in range(3):
        parts.step()
    for name, p in parts.named.items():
        torch.testing.assert_close(dict(whole.learner.named_parameters())[f"adapted.net.{name}"], p)


def test_sampled_episodes_hold_what_they_should():
    case = load("sampling")
    problem = case.problem({"images": 1000}, Context())
    found = case.implementations["quickstudy"].build(problem, Context()).check()["every episode"]
    assert found.shape == (96, 5)
    assert (found == torch.tensor([5, 75, 5, 80, 80])).all()


def results():
    """Return results that are easy to reckon with."""
    common = {"case": "c", "title": "Case", "unit": "outer step", "setting": {"tasks": 4}, "dtype": "float32"}
    timed = {"memory": 3 * 2**20, "flops": 1e9, "first_seconds": 2.0, "steps": 1}
    rows = [
        {**common, "implementation": "rival", "ours": False, **summary([0.2, 0.4, 0.3]), **timed},
        {**common, "implementation": "quickstudy", "ours": True, **summary([0.1, 0.1, 0.1]), **timed},
        {**common, "implementation": "other", "ours": False, "absent": "not installed"},
    ]
    curve = {**rows[1], "setting": {"axis": "tasks", "tasks": 8}}
    environment = {
        "date": "2026-01-02T03:04:05+00:00",
        "cpu": "abacus",
        "threads": 2,
        "device": "cpu",
        "load": 0.0,
        "python": "3.11",
        "versions": {"torch": "2.13.0"},
        "revision": "abc",
        "changed": False,
    }
    return {
        "format": FORMAT,
        "environment": environment,
        "arguments": {},
        "rates": {"float32": 1e11},
        "rows": [*rows, curve],
        "errors": [],
        "minutes": 1.0,
    }


def test_results_survive_a_file_and_become_a_table(tmp_path):
    save(results(), tmp_path)
    content = read(tmp_path / "results.json")
    assert content == results()
    text = table.markdown(content)
    assert "| 4 tasks | rival | 300 ms | 250 ms to 350 ms | 1.00x | 3 MiB | 3% | 2.00 s |" in text
    assert "| **quickstudy** | 100 ms | 100 ms to 100 ms | 3.00x | 3 MiB | 10% | 2.00 s |" in text
    assert "other" not in text
    assert table.absences(content) == ["other (c: 4 tasks): not installed"]


def test_plots_are_written(tmp_path):
    assert [path.name for path in plot.draw(results(), tmp_path)] == ["times.png", "growth.png"]
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_page_takes_results_in(tmp_path):
    save(results(), tmp_path)
    text = page.page("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n", [tmp_path / "results.json"])
    assert text.startswith("before\n<!-- results -->\n## abacus, 2 threads; matrix products: float32 100 GFLOP/s\n")
    assert "**quickstudy**" in text
    assert "old" not in text
    assert text.endswith("\n<!-- /results -->\nafter\n")


def test_results_of_runs_of_other_cases_are_joined():
    one, two = results(), results()
    two["rows"] = [{**row, "case": "another"} for row in two["rows"]]
    two["environment"] = {**two["environment"], "load": 9.0}
    joined = page.joined([two, one])
    assert [row["case"] for row in joined["rows"]] == sorted(row["case"] for row in one["rows"] + two["rows"])
    assert joined["minutes"] == 2 * one["minutes"]
    assert joined["environment"]["load"] == 9.0
    with pytest.raises(SystemExit, match="of the same case"):
        page.joined([one, one])
    two["environment"]["cpu"] = "another"
    with pytest.raises(SystemExit, match="differ in cpu"):
        page.joined([one, two])


def test_load_is_what_others_take():
    assert 0 <= machine.load(0.05) <= os.cpu_count()


def test_page_is_that_of_the_results_that_are_kept(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["page", "--check"])
    assert page.main() == 0


def test_results_of_another_version_are_refused(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(SystemExit, match="run `make bench` again"):
        read(tmp_path / "results.json")


def test_the_command_lists_cases_and_knows_them(capsys):
    assert main(["--list"]) == 0
    assert "omniglot_maml" in capsys.readouterr().out
    assert main(["no_such_case"]) == 2
    assert "there is no case no_such_case" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.3, "12.3 s"), (0.00174, "1.74 ms"), (0.0981, "98.1 ms"), (2e-6, "2.00 µs"), (190, "190 s")],
)
def test_durations(seconds, text):
    assert table.duration(seconds) == text
