"""Every name that there was is there still; there may be more."""

import importlib
import json

import pytest

import quickstudy as qs
from quickstudy.cli import main
from tests.frozen import record

STORED = json.loads((record.HERE / "names.json").read_text())


@pytest.mark.parametrize("kind", record.KINDS)
def test_registered_names_are_still_there(kind: str) -> None:
    assert set(STORED["registered"][kind]) <= set(qs.registry.table(kind))
    for name in STORED["registered"][kind]:
        assert qs.registry.lookup(kind, name).name == name


def test_every_comparison_and_row_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for name in STORED["reproduced"]:
        # Whether a name is known is looked at first; nothing is run.
        assert main(["reproduce", name, "--seeds", "0"]) == 2
        assert "--seeds must be positive" in capsys.readouterr().err, name
    assert main(["reproduce", "nothing-of-the-kind", "--seeds", "0"]) == 2
    assert "--seeds must be positive" not in capsys.readouterr().err


@pytest.mark.parametrize("module", sorted(STORED["exported"]))
def test_exported_names_are_still_there(module: str) -> None:
    found = qs if module == "quickstudy" else importlib.import_module(f"quickstudy.{module}")
    assert [name for name in STORED["exported"][module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("kind", record.LISTED)
def test_the_command_lists_them(kind: str) -> None:
    assert set(STORED["listed"][kind]) <= set(record.listed(kind))
