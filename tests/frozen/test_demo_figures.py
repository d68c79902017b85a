"""The demonstration prints the figures that it printed."""

import json
from pathlib import Path

import pytest

from tests.frozen import record

STORED = json.loads((record.HERE / "demo.json").read_text())


@pytest.mark.slow
def test_the_quick_demonstration_prints_the_same_figures(tmp_path: Path, glyph_cache: None) -> None:
    found = record.figures(record.demonstrated(tmp_path, quick=True))
    stored = record.figures("\n".join(STORED["quick"]["table"]))
    assert len(stored) == 6
    if STORED["quick"]["machine"] == record.machine():
        assert found == stored
        return
    assert sorted(found) == sorted(stored)
    for name, (accuracy, *_) in stored.items():
        assert found[name][0] == pytest.approx(accuracy, abs=0.03), name
