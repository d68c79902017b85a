"""Figures that the recipes promise, at their default settings: minutes each, so `make test-slow`."""

import pytest

import quickstudy as qs
from quickstudy.datasets.files import data_folders
from quickstudy.registry import lookup

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def result(name, tmp_path, tasks=600, **options):
    recipe = lookup("recipe", name).build(**options)
    run = recipe.train(tmp_path / name, progress=False)
    return qs.evaluate(run.learner, recipe.plan().test, tasks)


def test_sinusoid_maml_after_one_step_on_five_shots(tmp_path):
    """Finn et al. 2017 report 0.67; Li et al. 2017 find Meta-SGD below MAML."""
    maml = result("sinusoid-maml", tmp_path)
    assert maml.mean <= 0.7
    assert result("sinusoid-metasgd", tmp_path).mean < maml.mean


def test_sinusoid_cavia_below_maml_on_ten_shots(tmp_path):
    """Zintgraf et al. 2019 report about 0.19 against 0.33."""
    assert result("sinusoid-cavia", tmp_path, shots=10).mean < result("sinusoid-maml", tmp_path, shots=10).mean


def test_omniglot_protonet(tmp_path):
    """At least 97 % on classes never seen (Vinyals' validation classes), with half an hour on two cores."""
    if not any((folder / "omniglot").is_dir() for folder in data_folders()):
        pytest.skip("no Omniglot: set QUICKSTUDY_DATA to a folder that holds it")
    assert result("omniglot-protonet", tmp_path, tasks=1000).accuracy >= 0.97
