"""Glyphs are rendered once for all recipes, into a cache of the tests' own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def glyph_cache(tmp_path_factory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _shared_data(monkeypatch):
    """Look for real data where QUICKSTUDY_DATA says, else beside the project."""
    if "QUICKSTUDY_DATA" not in os.environ and SHARED.is_dir():
        monkeypatch.setenv("QUICKSTUDY_DATA", str(SHARED))
