"""The catalogue: what it says of each study, and that nothing is imported before it is run."""

import inspect
import subprocess
import sys
import tomllib
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from quickstudy import registry
from quickstudy.cli import main
from quickstudy.registry import Announcement
from quickstudy_studies import STUDIES
from quickstudy_studies.driver import Study

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", STUDIES)
def test_a_summary_is_the_first_line_of_the_study_s_docstring(name):
    study = STUDIES[name].load()
    assert isinstance(study, Study)
    assert study.name == name
    assert (inspect.getdoc(study) or "").partition("\n")[0] == STUDIES[name].summary
    assert registry.lookup("reproduction", name).summary == STUDIES[name].summary


def test_every_study_is_in_the_contract_of_those_that_do_not_know_each_other():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (listed,) = (each["modules"] for each in contracts if each["name"] == "studies do not know each other")
    homes = {".".join(each.where.partition(":")[0].split(".")[:2]) for each in STUDIES.values()}
    assert set(listed) == homes


def loaded(code: str) -> set[str]:
    """Return which modules a fresh process has imported after some code."""
    code += "\nimport sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines())


def studies(modules: set[str]) -> set[str]:
    parts = {module.split(".")[1] for module in modules if module.startswith("quickstudy_studies.")}
    return parts & {each.where.split(".")[1].partition(":")[0] for each in STUDIES.values()}


def test_the_catalogue_imports_neither_torch_nor_a_study():
    modules = loaded("import quickstudy_studies")
    assert "torch" not in modules
    assert not {module for module in modules if module.startswith("quickstudy_studies.")}


def test_a_study_that_is_run_is_the_only_one_imported(tmp_path):
    command = ["reproduce", "pac-bayes", "--quick", "--output", str(tmp_path)]
    modules = loaded(f"from quickstudy.cli import main\nassert main({command!r}) == 0")
    assert studies(modules) == {"pac_bayes"}
    assert "quickstudy_studies.results" not in modules
    assert (tmp_path / "table.md").is_file()


def test_listing_imports_no_study():
    assert studies(loaded("from quickstudy.cli import main\nassert main(['reproduce']) == 0")) == set()


@pytest.mark.parametrize("command", [["reproduce"], ["list", "reproductions"]])
def test_all_are_listed_with_what_they_are(command, capsys):
    assert main(command) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, each in STUDIES.items():
        assert f" {name} " in out
        assert each.summary[:20] in out
    assert "omniglot-maml" in out


@pytest.fixture
def elsewhere(monkeypatch):
    """A package of somebody else that announces a study."""
    catalogue, study = types.ModuleType("their_studies"), types.ModuleType("their_studies_tide")

    def tide(folder, tick, quick=False, seeds=3):
        """How high the water stands."""
        tick(1, 1)
        return [f"high, {seeds} times"]

    study.tide = tide
    catalogue.STUDIES = {"tide": Announcement("their_studies_tide:tide", "How high the water stands.")}
    monkeypatch.setitem(sys.modules, "their_studies", catalogue)
    monkeypatch.setitem(sys.modules, "their_studies_tide", study)
    points = (EntryPoint("their_studies", "their_studies", registry.STUDIES),)
    known = registry.importlib.metadata.entry_points
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda **asked: (*known(**asked), *points))
    monkeypatch.setitem(registry.TABLES, "reproduction", dict(registry.TABLES.get("reproduction", {})))
    registry.announced.cache_clear()
    yield
    monkeypatch.undo()
    registry.announced.cache_clear()


@pytest.mark.usefixtures("elsewhere")
def test_another_package_s_study_is_run_by_its_name(tmp_path, capsys):
    assert main(["reproduce", "tide", "--output", str(tmp_path), "--seeds", "2"]) == 0
    assert "high, 2 times" in capsys.readouterr().out
    assert main(["reproduce"]) == 0
    assert "How high the water stands." in capsys.readouterr().out
    assert main(["reproduce", "tyde"]) == 2
    assert "did you mean 'tide'?" in capsys.readouterr().err


def test_another_package_s_study_is_unknown_where_it_is_not_announced(capsys):
    assert main(["reproduce", "tide"]) == 2
    assert "unknown reproduction 'tide'" in capsys.readouterr().err
