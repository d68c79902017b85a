"""Shared by the tests of data sets: nothing is downloaded and nothing is written to the user's cache."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Read before the fixture below hides it.
_NAMED = os.environ.get("QUICKSTUDY_DATA")
_SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own, no data folder and no network; return the cache folder."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("QUICKSTUDY_OFFLINE", "1")
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    return cache / "quickstudy"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of publishers' files, or skip."""
    folder = Path(_NAMED) if _NAMED else _SHARED
    if not folder.is_dir():
        pytest.skip("publishers' data files: set QUICKSTUDY_DATA to a folder that holds omniglot/ and mnist/")
    return folder


def picture(array: np.ndarray, suffix: str = "png") -> bytes:
    """Return an array as an image file."""
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, {"jpg": "jpeg"}.get(suffix, suffix))
    return stream.getvalue()


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path
