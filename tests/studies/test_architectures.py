import itertools
import json

import numpy as np
import pytest

from quickstudy.cli import main
from quickstudy_studies.architectures import ranks as cell_ranks
from quickstudy_studies.architectures import space as cell_space
from quickstudy_studies.architectures.ranks import Table, evolution, random_search, ranked
from quickstudy_studies.shared import cores


def test_the_command_writes_everything_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    assert main(["reproduce", "architectures", "--quick", "--output", str(tmp_path)]) == 0
    assert "5 architectures" in capsys.readouterr().out
    content = json.loads((tmp_path / "results.json").read_text())
    assert [each["order"] for each in content["searches"]] == ["first", "second"]
    assert len(content["space"]) == 5
    assert (tmp_path / "architectures.png").stat().st_size > 10_000
    assert "| DARTS, second order |" in (tmp_path / "table.md").read_text()
    monkeypatch.delattr(cell_space, "rows")
    monkeypatch.delattr(cell_space, "meta_train")
    assert main(["reproduce", "architectures", "--quick", "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "results.json").read_text()) == content


def test_pieces_are_made_once_for_each_key(tmp_path):
    made, told = [], []

    def piece(name):
        return lambda: made.append(name) or len(made)

    path, pieces = tmp_path / "pieces.json", {"a": piece("a"), "b": piece("b")}
    assert cores.kept(path, {"n": 1}, {"a": pieces["a"]}, told.append, here=True) == {"a": 1}
    assert cores.kept(path, {"n": 1}, pieces, told.append, here=True) == {"a": 1, "b": 2}
    assert made == ["a", "b"]
    assert told == [0, 1, 1, 2]
    assert cores.kept(path, {"n": 2}, {"a": pieces["a"]}, told.append, here=True) == {"a": 3}


def test_ranks_share_places_where_values_are_equal():
    assert ranked(np.array([0.5, 0.9, 0.5, 0.1])).tolist() == [2.5, 1, 2.5, 4]


def space(noise: float = 0.0) -> Table:
    """Return a table in which the sum of operations is the quality."""
    genes = np.array(list(itertools.product(range(5), repeat=3)))
    quality = genes.sum(1, keepdims=True) / 12 + noise * np.random.default_rng(0).normal(size=(125, 4))
    return Table(genes, quality, quality)


def test_random_search_is_the_best_of_those_it_draws():
    draw = np.random.default_rng(1)
    assert random_search(space(), 125, draw) == 124
    ranks = [space().ranks[random_search(space(), 10, draw)] for _ in range(400)]
    # Of 10 out of 125 the best has rank 126 / 11 on average; equal values share the mean of their ranks.
    assert np.mean(ranks) == pytest.approx(126 / 11, abs=1.5)


def test_evolution_climbs_where_neighbours_are_alike():
    draw = np.random.default_rng(2)
    ranks = {
        search.__name__: np.mean([space(0.01).ranks[search(space(0.01), 60, draw)] for _ in range(60)])
        for search in (random_search, evolution)
    }
    assert ranks["evolution"] < ranks["random_search"]
    assert evolution(space(), 1, draw) in range(125)


def test_what_a_search_costs():
    training, how = cell_space.Training(steps=200), cell_space.Search(steps=100)
    # Five operations; a batch for the weights and one for alpha, and for second order a product with the Hessian.
    assert cell_space.cost("first", training, how) == 5 * 2 / 2
    assert cell_space.cost("second", training, how) == 5 * 4 / 2
    assert len(cell_space.architectures(training)) == 125
    first, second, third = cell_space.rows(training)
    assert [len(first), len(second), len(third)] == [300, 300, 1197]
    assert len({row.numpy().tobytes() for part in (first, second, third) for row in part.inputs}) == 1797
    assert cell_ranks.table_of({"0-1": {"validation": [1.0], "test": [2.0]}}).architectures.tolist() == [[0, 1]]
