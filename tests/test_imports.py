"""A name imports what it needs and no more; a name whose library is absent says so."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import quickstudy as qs
from quickstudy import errors, registry
from quickstudy.errors import InputError

FAMILIES = ("baselines", "metric", "model", "optimization")


def modules(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has imported after some code."""
    told = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import quickstudy as qs\n{code}\n{told}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def learners(found: set[str]) -> set[str]:
    """Return the modules of methods among modules."""
    parts = {name: name.split(".") for name in found if name.startswith("quickstudy.learners.")}
    return {name for name, path in parts.items() if path[2] in FAMILIES and len(path) > 3}


def of(found: set[str], package: str) -> set[str]:
    return {name for name in found if name.partition(".")[0] == package}


def test_the_front_door_imports_neither_torch_nor_numpy() -> None:
    found = modules("")
    assert not of(found, "torch") | of(found, "numpy") | of(found, "typing")
    assert of(found, "quickstudy") == {"quickstudy"}


def test_the_front_door_has_the_names_that_its_stub_tells_type_checkers() -> None:
    names: dict[str, str] = {}
    for line in Path(qs.__file__).with_suffix(".pyi").read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"from (\.\S*) import (\w+) as \2", line):
            names[found[2]] = found[1]
    assert sorted(names) == qs.__all__
    for name, home in names.items():
        module = importlib.import_module(f"quickstudy{home}" if home != "." else f"quickstudy.{name}")
        assert getattr(qs, name) is (module if home == "." else getattr(module, name))


def test_a_learner_imports_no_other_learner() -> None:
    found = modules("qs.learners.ProtoNet")
    assert learners(found) == {"quickstudy.learners.metric.proto_net"}
    assert not of(found, "quickstudy_studies") | of(found, "matplotlib")


@pytest.mark.parametrize("name", ["meta_train", "evaluate", "tasks.FromTaskData", "datasets.TaskData"])
def test_what_takes_any_learner_imports_none(name: str) -> None:
    found = modules(f"qs.{name}")
    assert "torch" in found
    assert not learners(found) | of(found, "quickstudy_studies") | of(found, "matplotlib")
    assert not any(module.startswith("quickstudy.recipes") for module in found)


def test_training_imports_the_learner_that_is_trained_and_no_other() -> None:
    """It looks up objectives and outer optimisers by name, which imports all of these."""
    found = modules(
        "import torch\n"
        "data = qs.datasets.arrays(torch.randn(20, 2), torch.arange(5).repeat(4))\n"
        "tasks = qs.tasks.FewShot(data, ways=2, shots=1, queries=1)\n"
        "learner = qs.learners.ProtoNet(qs.nets.mlp(2, (4,)))\n"
        "qs.meta_train(learner, tasks, objective='all_pairs', steps=1, meta_batch=1, progress=False, compile=False)\n"
        "qs.evaluate(learner, tasks, 2)"
    )
    assert learners(found) == {"quickstudy.learners.metric.proto_net"}
    assert not of(found, "quickstudy_studies") | of(found, "matplotlib")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of a kind of its own, whose modules need libraries that are not there."""
    package = tmp_path / "home_of_guests"
    package.mkdir()
    head = "from quickstudy.registry import register\n\n"
    (package / "__init__.py").write_text("")
    (package / "plain.py").write_text(head + "@register('guest')\nclass Plain:\n    '''Needs nothing.'''\n")
    (package / "needy.py").write_text(
        "import library_that_is_nowhere.part\n"
        + head
        + "@register('guest', family='x')\nclass Needy:\n    pass\n\n"
        + "@register('guest', 'by-name')\ndef needy():\n    pass\n\n"
        + "@register('other')\nclass Other:\n    pass\n"
    )
    (package / "extra.py").write_text("import cmaes_\n" + head + "@register('guest')\nclass Evolved:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.HOMES, "guest", "home_of_guests")
    monkeypatch.setattr(registry, "ABSENT", {})
    monkeypatch.setattr(registry, "TABLES", {})
    registry.fill.cache_clear()
    yield package  # type: ignore[misc]
    registry.fill.cache_clear()
    for name in [name for name in sys.modules if name.startswith("home_of_guests")]:
        del sys.modules[name]


@pytest.mark.usefixtures("home")
def test_a_name_whose_library_is_absent_says_how_to_install_it() -> None:
    assert list(registry.table("guest")) == ["Plain"]
    assert registry.lookup("guest", "Plain").summary == "Needs nothing."
    assert registry.ABSENT == {"home_of_guests.needy": "library_that_is_nowhere", "home_of_guests.extra": "cmaes_"}
    for name in ("Needy", "by-name"):
        with pytest.raises(
            InputError,
            match=f"guest '{name}' needs library_that_is_nowhere, which is not installed: pip install library_that_is",
        ):
            registry.lookup("guest", name)
    for name in ("Other", "Plane", "needy"):
        with pytest.raises(InputError, match=f"unknown guest '{name}'; did you mean 'Plain'|unknown guest '{name}'"):
            registry.lookup("guest", name)


def test_an_extra_is_named_where_one_has_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["torch>=2.6", 'torch-geometric>=2; extra == "graphs"', 'pandas>=2; extra == "dev"']
    monkeypatch.setattr(registry.importlib.metadata, "requires", lambda name: needs)
    assert errors.how_to_install("torch_geometric") == "pip install 'quickstudy[graphs]'"
    assert errors.how_to_install("pandas") == "pip install pandas"
    assert errors.how_to_install("torch") == "pip install torch"
