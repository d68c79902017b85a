"""Every command and recipe has the options that it had; there may be more."""

import json

import pytest

from tests.frozen import record

STORED = json.loads((record.HERE / "options.json").read_text())


def test_options_are_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    gone = {command: sorted(set(known) - set(record.options(*command.split()))) for command, known in STORED.items()}
    assert {command: names for command, names in gone.items() if names} == {}


def test_every_command_and_recipe_is_among_them() -> None:
    assert set(STORED) <= {" ".join(each) for each in record.commands()}
