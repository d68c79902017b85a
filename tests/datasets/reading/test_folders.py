from __future__ import annotations

import io
import os
import socket
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest

import quickstudy.datasets as datasets
from quickstudy.datasets.images import unlabelled
from quickstudy.datasets.reading.archives import Limits, open_archive
from quickstudy.errors import DataError, InputError
from tests.datasets.conftest import picture, zipped

PNG = picture(np.zeros((4, 4), dtype=np.uint8))


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


class TestLinks:
    def test_links_to_folders_and_files_count_as_these(self, tmp_path: Path) -> None:
        everything = tree(tmp_path / "all", "a/1.png", "b/1.png", "c/1.png")
        split = tree(tmp_path / "split", "b/1.png")
        (split / "a").symlink_to(everything / "a")
        (split / "c").mkdir()
        (split / "c" / "x.png").symlink_to(everything / "c" / "1.png")
        (split / "d").symlink_to(everything / "a")  # two links to one folder
        assert datasets.images(split, size=4).classes == ("a", "b", "c", "d")
        names, pixels = unlabelled(split, size=4)
        assert names == ("a/1.png", "b/1.png", "c/x.png", "d/1.png")
        assert pixels.shape == (4, 3, 4, 4)
        (tmp_path / "whole").symlink_to(split)
        assert len(datasets.images(tmp_path / "whole", size=4)) == 4

    @pytest.mark.parametrize("target", [".", "..", "../..", "loop"])
    def test_loops_are_named(self, tmp_path: Path, target: str) -> None:
        root = tree(tmp_path / "data", "a/1.png")
        (root / "a" / "loop").symlink_to(target)
        with pytest.raises(DataError, match=r"link .*a/loop leads"):
            datasets.images(root, size=4)

    def test_broken_links_are_named_where_they_matter(self, tmp_path: Path) -> None:
        root = tree(tmp_path / "data", "a/1.png")
        (root / "a" / ".#lock").symlink_to("nowhere")
        assert len(datasets.images(root, size=4)) == 1
        (root / "b").symlink_to("nowhere")
        for read in (datasets.images, unlabelled):
            with pytest.raises(DataError, match=r"link .*data/b leads nowhere"):
                read(root, size=4)

    def test_pipes_and_sockets_are_never_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        root = tree(tmp_path / "data", "a/1.png")
        os.mkfifo(root / "a" / "2.png")
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as open_socket:
            open_socket.bind("data/a/3.png")
            assert len(datasets.images(root, size=4)) == 1
        os.mkfifo(tmp_path / "pipe.csv")
        os.mkfifo(tmp_path / "pipe.zip")
        for name in ("pipe.csv", "pipe.zip"):
            with pytest.raises(DataError, match="plain file"):
                datasets.read(tmp_path / name)
        with pytest.raises(DataError, match="plain file"):
            datasets.images(tmp_path / "pipe.zip")
        with pytest.raises(DataError, match="plain file"):
            datasets.table(tmp_path / "pipe.csv")


class TestNames:
    def test_two_spellings_are_one_class(self, tmp_path: Path) -> None:
        forms = [unicodedata.normalize(form, "crème") for form in ("NFC", "NFD")]
        root = tree(tmp_path / "data", *(f"{form}/{i}.png" for i, form in enumerate(forms)), "b/1.png")
        data = datasets.images(root, size=4)
        assert data.classes == ("b", forms[0])
        assert data.counts.tolist() == [1, 2]
        path = zipped(tmp_path / "f.zip", {f"{form}/{i}.png": PNG for i, form in enumerate(forms)})
        assert datasets.images(path, size=4).classes == (forms[0],)
        assert datasets.arrays([[0.0], [1.0]], forms).classes == (forms[0],)
        assert data.subset([forms[1]]).classes == (forms[0],)
        one = datasets.arrays([[0.0]], [forms[0]], "one")
        with pytest.raises(InputError, match="class names repeat"):
            datasets.join([one, datasets.arrays([[0.0]], [forms[1]], "other")])
        with pytest.raises(InputError, match="two parts"):
            data.split(classes=[[forms[0]], [forms[1]]])

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        folder = os.fsencode(tmp_path / "data") + b"/caf\xe9"
        try:
            os.makedirs(folder)
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
        with open(folder + b"/\xff.png", "wb") as file:
            file.write(PNG)
        data = datasets.images(tmp_path / "data", size=4)
        assert data.classes == ("caf\\xe9",)
        assert data.fingerprint
        assert unlabelled(tmp_path / "data", size=4)[0] == ("caf\\xe9/\\xff.png",)
        with open(folder + b"/\xff.png", "wb") as file:
            file.write(b"x")
        with pytest.raises(DataError, match=r"\\xff\.png is corrupt"):
            datasets.images(tmp_path / "data", size=4)

    @pytest.mark.parametrize(
        "names",
        [
            ["cat\\1.png", "dog\\1.png"],
            ["./cat/1.png", "./dog/1.png"],
            ["cat//1.png", "dog/./1.png"],
            [".\\cat\\1.png", "dog/1.png"],
        ],
    )
    @pytest.mark.parametrize("kind", ["zip", "tar"])
    def test_spellings_of_paths_in_archives(self, tmp_path: Path, names: list[str], kind: str) -> None:
        path = tmp_path / f"f.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as packed:
                for name in names:
                    info = zipfile.ZipInfo("x")
                    info.filename = name
                    packed.writestr(info, PNG)
        else:
            with tarfile.open(path, "w") as tarred:
                for name in names:
                    member = tarfile.TarInfo(name)
                    member.size = len(PNG)
                    tarred.addfile(member, io.BytesIO(PNG))
        assert datasets.images(path, size=4).classes == ("cat", "dog")

    def test_names_of_macos_zips(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "f.zip", {"é/1.png": PNG})
        content = bytearray(path.read_bytes())
        for sign, offset in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
            content[content.index(sign) + offset] &= ~0x08  # the mark of UTF-8
        path.write_bytes(content)
        assert datasets.images(path, size=4).classes == ("é",)


def test_images_of_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", "a/1.png", "a/2.HEIC")
    with pytest.raises(DataError, match=r"2\.HEIC is of a kind that is not read"):
        datasets.images(root, size=4)


def test_an_archive_in_an_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unpack 'x/inner\.zip' first"):
        datasets.images(zipped(tmp_path / "f.zip", {"x/inner.zip": b"PK"}))


def test_a_folder_of_folders_without_end_is_refused(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(DataError, match="without content"), open_archive(tmp_path, Limits(empty=20)):
        pass
