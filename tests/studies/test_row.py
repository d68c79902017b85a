"""Rows of the results: what they train, share and report."""

import dataclasses
import errno
import io
import json
import threading
import time

import numpy as np
import pytest
from scipy import stats

from quickstudy.errors import InputError
from quickstudy.registry import lookup
from quickstudy_studies.results import mean_row, results_page
from quickstudy_studies.results.omniglot_rows import ROWS, SHOWN
from quickstudy_studies.results.other_rows import OTHERS
from quickstudy_studies.results.results_tables import folds
from quickstudy_studies.results.row import Row, measure
from quickstudy_studies.results.row_words import older, summary
from quickstudy_studies.shared import locking, trained
from quickstudy_studies.shared.interval import interval
from quickstudy_studies.shared.trained import Labelled, train

SINE = Row(
    "sine",
    "sinusoid-maml",
    "A small row.",
    {"steps": 4, "meta_batch": 2, "compile": False},
    {"steps": 2},
    published=0.5,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows") / "sine"
    row = dict(vars(SINE), tasks=20)
    return folder, measure(Row(**row), folder, lambda done, total: None, seeds=2, here=True)


def test_a_row_says_what_was_measured(found):
    folder, row = found
    assert json.loads((folder / "row.json").read_text()) == row
    assert (row["steps"], row["tasks"], len(row["seeds"])) == (4, 20, 2)
    assert row["mean"] == pytest.approx(np.mean([each["mean"] for each in row["seeds"]]))
    assert row["seeds"][0]["mean"] != row["seeds"][1]["mean"]
    assert "published 0.500" in summary(row)


def test_rows_share_what_they_train(found):
    folder, row = found
    trained = sorted(folder.parent.joinpath("trained").glob("*/seed*/metrics.csv"))
    before = [(path, path.stat().st_mtime_ns) for path in trained]
    other = Row(**dict(vars(SINE), name="other", tasks=10))
    again = measure(other, folder.parent / "other", lambda done, total: None, seeds=2, here=True)
    assert [(path, path.stat().st_mtime_ns) for path in trained] == before
    assert [each["minutes"] for each in again["seeds"]] == [each["minutes"] for each in row["seeds"]]
    small = measure(other, folder.parent / "other", lambda done, total: None, quick=True, seeds=1, here=True)
    assert small["quick"]
    assert small["steps"] == 2


def test_what_was_interrupted_goes_on(tmp_path, monkeypatch):
    recipe = lookup("recipe", "sinusoid-maml").build
    monkeypatch.setattr(recipe, "train", lambda *args, **options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        measure(SINE, tmp_path / "sine", lambda done, total: None, seeds=1, here=True)
    monkeypatch.undo()
    row = Row(**dict(vars(SINE), tasks=5))
    assert measure(row, tmp_path / "sine", lambda done, total: None, seeds=1, here=True)["tasks"] == 5


def test_tasks_may_be_those_of_another_recipe(found):
    folder, _ = found
    row = Row(**dict(vars(SINE), name="elsewhere", tested_on="sinusoid-maml", test={"shots": 3}, tasks=5))
    other = measure(row, folder.parent / "elsewhere", lambda done, total: None, seeds=1, here=True)
    assert (other["test"]["shots"], other["tested_on"]) == (3, "sinusoid-maml")


def test_a_learner_of_few_shots_is_tested_on_sequences(tmp_path, glyph_cache):
    options = {"steps": 1, "meta_batch": 1, "hidden": 8, "train_ways": 5, "train_queries": 1, "compile": False}
    row = Row(
        "stream",
        "glyphs-protonet",
        "Adapted anew to every beginning.",
        options | {"validation_tasks": 2, "queries": 1},
        test={"presentations": 3},
        tested_on="glyphs-mann",
        presentation=2,
        tasks=2,
    )
    found = measure(row, tmp_path / "stream", lambda done, total: None, seeds=1, here=True)
    assert len(found["presentations"]) == 3
    assert found["mean"] == found["presentations"][1]
    assert found["overfitting_gap"] is None


def test_one_process_trains_and_the_other_waits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locking, "SECONDS", 0.01)
    run, begun = tmp_path / "seed0", threading.Event()
    recipe = lookup("recipe", "sinusoid-maml").build()
    monkeypatch.setattr(recipe, "train", lambda run: (run.mkdir(), begun.set()))
    told = threading.Event()
    monkeypatch.setattr(trained, "_tell", lambda run: (print("waiting"), told.set()))
    other = threading.Thread(target=train, args=(recipe, run))
    with locking.alone(trained._lock(run), pytest.fail):
        other.start()
        assert told.wait(10)
        assert not begun.wait(0.05)
    other.join(10)
    assert begun.is_set()
    assert capsys.readouterr().out == "waiting\n"
    assert train(recipe, run)["over"]


def test_a_lock_that_cannot_be_had_at_all_is_an_error(tmp_path, monkeypatch):
    """Not another process that one would wait for."""

    def refuse(number):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locking, "_take", refuse)
    with pytest.raises(OSError, match="no locks"), locking.alone(tmp_path / "lock", pytest.fail):
        pass


def test_time_is_kept_while_training_and_code_and_machine_of_each_go(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "SECONDS", 0.01)
    monkeypatch.setattr(trained, "running", lambda: "0.1 a")
    run, seen = tmp_path / "seed0", {}
    recipe = lookup("recipe", "sinusoid-maml").build()

    def killed(run):
        run.mkdir()
        while not (run / trained.TRAINED).exists():
            time.sleep(0.005)
        seen.update(json.loads((run / trained.TRAINED).read_text()))
        # A commit while it trains is not what trained it.
        monkeypatch.setattr(trained, "running", lambda: "0.1 b")
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, run)
    assert seen["seconds"] > 0
    assert (seen["over"], seen["code"]) == (False, "0.1 a")
    monkeypatch.setattr(recipe, "train", lambda run: None)
    after = train(recipe, run)
    assert after["over"]
    assert after["seconds"] > seen["seconds"]
    assert after["code"] == "0.1 a, 0.1 b"
    assert ", " not in after["hardware"]


def test_runs_of_another_version_are_told(found):
    folder, row = found
    assert older(row) == []
    for file in folder.parent.joinpath("trained").glob("*/seed*/trained.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "code": "0.0.1 abc"}))
    again = measure(Row(**dict(vars(SINE), tasks=5)), folder.parent / "old", lambda *_: None, seeds=1, here=True)
    (line,) = older(again)
    assert line == f"Its runs were trained by 0.0.1 abc, and tested by {row['tested_by']}."


def test_repetitions_may_have_numbers_of_their_own(found):
    folder, row = found
    some = Row(**dict(vars(SINE), tasks=20, numbers=(1, 0)))
    again = measure(some, folder.parent / "numbered", lambda *_: None, seeds=2, here=True)
    assert [each["seed"] for each in again["seeds"]] == [1, 0]
    assert [each["mean"] for each in again["seeds"]] == [each["mean"] for each in reversed(row["seeds"])]
    with pytest.raises(InputError, match="2 repetitions at most, not 3"):
        measure(some, folder.parent / "numbered", lambda *_: None, seeds=3, here=True)


def test_folds_are_told_by_their_numbers(found):
    row = found[1]
    fold = {
        **row,
        "row": "cut",
        "seeds": [{**row["seeds"][0], "fold": i, "mean": 0.9, "interval": 0.01} for i in (0, 2)],
    }
    assert folds([row]) == ""
    head, _, line = folds([row, fold]).splitlines()
    assert head == "| % wrong | fold 0 | fold 2 |"
    assert line == "| `cut` | 10.0 ± 1.0 | 10.0 ± 1.0 |"


def test_mean_of_rows_counts_each_alike(found):
    one, other = found[1], {**found[1], "row": "other", "mean": 0.0, "interval": 0.0}
    both = mean_row.mean_of([one, {**other, "seeds": [{**each, "mean": 0.0} for each in one["seeds"]]}])
    assert both["mean"] == pytest.approx(one["mean"] / 2)
    assert both["interval"] == pytest.approx(one["interval"] / 2)
    assert [each["mean"] for each in both["seeds"]] == pytest.approx([each["mean"] / 2 for each in one["seeds"]])
    assert (both["steps"], both["tasks"]) == (2 * one["steps"], 2 * one["tasks"])


def test_lines_of_several_runs_say_which_they_are():
    out = io.StringIO()
    lines = Labelled("one: ", out)
    print("step 1", "of 2", file=lines)
    print("step 2\nover", file=lines, flush=True)
    assert out.getvalue() == "one: step 1 of 2\none: step 2\none: over\n"
    assert not lines.isatty()


def test_interval_is_of_tasks_and_of_seeds():
    values = np.random.default_rng(0).normal(size=(3, 50)) + np.array([[0.0], [1.0], [2.0]])
    over_tasks = stats.t.interval(0.95, 49, scale=stats.sem(values.mean(0)))[1]
    over_seeds = stats.t.interval(0.95, 2, scale=stats.sem(values.mean(1)))[1]
    assert interval(values) == pytest.approx(np.hypot(over_tasks, over_seeds))
    assert interval(values[:1]) == pytest.approx(stats.t.interval(0.95, 49, scale=stats.sem(values[0]))[1])


def test_interval_covers_new_tasks_and_new_seeds():
    """Of three seeds and forty tasks, about as often as it says: values are task + seed + what is left."""
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        seeds, tasks = 0.3 * draw.normal(size=(3, 1)), draw.normal(size=(1, 40))
        values = seeds + tasks + 0.5 * draw.normal(size=(3, 40))
        held += abs(values.mean()) <= interval(values)
    assert 930 <= held <= 999


@pytest.mark.parametrize("row", ROWS + OTHERS, ids=lambda row: row.name)
def test_every_row_is_of_a_recipe(row):
    full, small = row.make(1, quick=False), row.make(1, quick=True)
    assert getattr(full, row.varies) == 1
    assert small.steps <= full.steps
    assert row.published is None or (0 < row.published < 2 and row.source)
    assert lookup("reproduction", row.name).summary == row.what
    changed = dataclasses.replace(full, **row.tested)
    assert type(changed) is type(full)


def test_small_settings_say_where_they_differ():
    rows = {row.name: row for row in ROWS}
    few, many = (rows[f"omniglot-snail-{ways}w1s"] for ways in (5, 20))
    usual = few.make(0, quick=True).train_queries
    assert many.make(0, quick=False).train_queries == usual != 1
    assert many.make(0, quick=True).train_queries == 1
    assert many.departures.endswith("with --quick filters 64, train_queries 1")
    assert few.departures.endswith("with --quick filters 64")
    # Where the small setting keeps what the paper has, nothing departs.
    fomaml = rows["omniglot-fomaml-20w1s"]
    assert fomaml.make(0, quick=True).inner_steps == fomaml.make(0, quick=False).inner_steps == 5
    assert fomaml.departures.endswith("with --quick lr 0.003")
    assert "--quick" not in rows["omniglot-matching-20w1s"].departures
    for row in ROWS:  # how long it trains is in the tables
        full, small = (dataclasses.asdict(row.make(0, quick)) for quick in (False, True))
        told = row.departures.partition("with --quick ")[2]
        other = {f"{key} {small[key]}" for key in full if full[key] != small[key]}
        assert {each for each in other if each.split()[0] not in SHOWN} == set(filter(None, told.split(", ")))


@pytest.fixture
def of_images(found):
    facts = {"row": "omniglot-maml-5w1s", "recipe": "omniglot-maml", "metric": "accuracy", "mean": 0.5, "interval": 0.1}
    paper = {"published": 0.987, "source": "Finn et al. 2017, table 1", "test": {"ways": [5, 5]}}
    return {**found[1], **facts, **paper, "nearest_neighbour": 0.4}


def test_page_shows_rows_and_nothing_else(found, of_images):
    for written in (results_page.page, results_page.ledger):
        assert "No row has been measured" in written([])
    small, text = (written([found[1], of_images]) for written in (results_page.page, results_page.ledger))
    assert "| MAML | 50.0 ± 10.0 (98.7) |" in small
    assert "| Nearest neighbour on pixels | 40.0 |" in small
    for each in (small, text):
        assert "FOMAML" not in each
        assert "## Sequences" not in each
    assert "sine" not in small
    assert "| `omniglot-maml-5w1s` | accuracy | 50.00 % ± 10.00 % | 98.70 % |" in text
    assert "| `sine` | mse |" in text
    assert f"a: Chosen on {SINE.chosen_on}." in text


def test_page_says_how_far_from_published_and_how_much_shorter(found, of_images):
    text = results_page.ledger([{**of_images, "steps": 300, "meta_batch": 32, "quick": True}])
    assert "- `omniglot-maml-5w1s` `--quick`: worse by 48.7 points, trained on 1/200 of the paper's tasks." in text
    assert "| worse by 48.7 points | 300 x 32 | 60,000 x 32 | 60,000 x 32 |" in text
    near = results_page.ledger([{**of_images, "mean": 0.984}])
    assert "Worse than published" not in near
    assert "worse by 0.3 points (within ±)" in near
    assert "- `omniglot-maml-5w1s`: worse by 3.7 points (within ±)" in results_page.ledger(
        [{**of_images, "mean": 0.95}]
    )
    assert "| as published |" in results_page.ledger([{**of_images, "mean": 0.9871}])
    assert "48.7" not in results_page.ledger([{**of_images, "comparable": False}])
    assert "Below nearest neighbour" not in near
    worse = results_page.ledger([{**of_images, "mean": 0.3, "quick": True}])
    assert "Below nearest neighbour on pixels, so hardly trained: `omniglot-maml-5w1s` `--quick`." in worse
    errors = {**found[1], "published": 0.5, "interval": 0.01}
    assert "better by 0.200" in results_page.ledger([{**errors, "mean": 0.3}])
    assert "- `sine`: worse by 0.200." in results_page.ledger([{**errors, "mean": 0.7}])


def test_page_shows_folds_and_presentations(of_images):
    folds = [{"fold": i, "mean": 0.9 + i / 100, "interval": 0.01, "minutes": 1.0} for i in range(2)]
    challenge = {**of_images, "row": "omniglot-challenge", "seeds": folds}
    sequence = {**of_images, "row": "omniglot-mann-presentation-2", "learner": "MANN", "presentations": [0.2, 0.75]}
    text = results_page.page([challenge, sequence])
    assert "| `omniglot-challenge` | 10.0 ± 1.0 | 9.0 ± 1.0 |" in text
    assert "| MANN | 20.0 | 75.0 |" in text
    assert "## Others" not in results_page.ledger([challenge, sequence])
