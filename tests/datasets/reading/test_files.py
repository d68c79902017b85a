from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pooch
import pytest
import torch

from quickstudy.datasets import ClassData
from quickstudy.datasets.reading.files import (
    PublishedFile,
    cache_folder,
    cached,
    data_folders,
    find,
    sha256,
    write_atomic,
)
from quickstudy.errors import DataNotFoundError

FILE = PublishedFile("some/thing.zip", "https://example.org/thing.zip", "ab" * 32)


def test_search_order(tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for root in (tmp_path / "given", tmp_path / "named", isolated):
        (root / "some").mkdir(parents=True)
        (root / FILE.path).touch()
    assert find(FILE) == isolated / FILE.path
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path / "named"))
    assert data_folders()[0] == tmp_path / "named"
    assert find(FILE) == tmp_path / "named" / FILE.path
    for given in (tmp_path / "given", tmp_path / "given" / "some", tmp_path / "given" / FILE.path):
        assert find(FILE, given) == tmp_path / "given" / FILE.path
    assert find([PublishedFile("other"), FILE]) == tmp_path / "named" / FILE.path


def test_not_found(tmp_path: Path, isolated: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        find(FILE)
    assert isinstance(caught.value, FileNotFoundError)
    for part in ("QUICKSTUDY_OFFLINE", FILE.url, str(isolated / FILE.path)):
        assert part in str(caught.value)
    with pytest.raises(DataNotFoundError, match=r"neither a file nor a folder that holds thing\.zip"):
        find(FILE, tmp_path)
    with pytest.raises(DataNotFoundError, match="ask the publisher"):
        find(PublishedFile("x", note="ask the publisher"))


def test_a_path_given_is_never_replaced_by_another_copy(tmp_path: Path, isolated: Path) -> None:
    (isolated / "some").mkdir(parents=True)
    (isolated / FILE.path).touch()
    with pytest.raises(DataNotFoundError):
        find(FILE, tmp_path)


class Site:
    """Stands in for pooch's downloader."""

    content = b"hello"
    error: Exception | None = None

    def __init__(self, **_: object) -> None:
        pass

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        if self.error:
            raise self.error
        Path(output_file).write_bytes(self.content)


def test_download(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICKSTUDY_OFFLINE", "0")
    monkeypatch.setattr(pooch, "HTTPDownloader", Site)
    file = PublishedFile("a/b.bin", "https://example.org/b.bin", hashlib.sha256(Site.content).hexdigest())
    path = find(file)
    assert path == isolated / "a" / "b.bin"
    assert path.read_bytes() == Site.content
    assert sha256(path) == file.sha256
    wrong = PublishedFile("a/c.bin", "https://example.org/c.bin", "00" * 32)
    with pytest.raises(DataNotFoundError, match="hash"):
        find(wrong)
    assert sorted(p.name for p in (isolated / "a").iterdir()) == ["b.bin"]
    monkeypatch.setattr(Site, "error", ConnectionError("name not resolved"))
    with pytest.raises(DataNotFoundError, match=r"name not resolved.*save it as"):
        find(wrong)


def test_download_shows_progress_on_a_terminal(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(Site):
        def __init__(self, progressbar: Any, **_: object) -> None:
            self.bar = progressbar

        def __call__(self, url: str, output_file: str, pooch: object) -> None:
            # What pooch does with a bar of its caller's.
            self.bar.total = 5
            self.bar.update(3)
            self.bar.reset()
            self.bar.update(5)
            self.bar.close()
            super().__call__(url, output_file, pooch)

    monkeypatch.setenv("QUICKSTUDY_OFFLINE", "0")
    monkeypatch.setattr(pooch, "HTTPDownloader", Watched)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    file = PublishedFile("a/b.bin", "https://example.org/b.bin", hashlib.sha256(Site.content).hexdigest())
    assert find(file).read_bytes() == Site.content


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "quickstudy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().name == "quickstudy"


def test_write_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 1


def test_cached_keeps_everything(tmp_path: Path) -> None:
    data = ClassData(
        inputs=torch.arange(12, dtype=torch.uint8).view(4, 3),
        labels=torch.tensor([0, 0, 1, 1]),
        classes=("é", "b"),
        name="n",
        attributes={"script": ("x", "y")},
        source=torch.arange(4),
        targets=torch.ones(4, 2, dtype=torch.bool),
    )
    made = []

    def make() -> ClassData:
        made.append(1)
        return data

    for parameters in ({"a": 1}, {"a": 1}, {"a": 2}):
        again = cached("thing", parameters, make, tmp_path)
        assert again.fingerprint == data.fingerprint
        assert (again.name, again.classes, dict(again.attributes)) == (data.name, data.classes, dict(data.attributes))
        assert again.targets is not None
        assert again.targets.dtype == torch.bool
    assert len(made) == 2
