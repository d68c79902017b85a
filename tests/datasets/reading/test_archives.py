from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from quickstudy.datasets.reading.archives import Limits, extract, open_archive, read_gzip
from quickstudy.errors import DataError, DataNotFoundError
from tests.datasets.conftest import zipped

CONTENT = {"a/x.txt": b"one", "a/y.txt": b"two" * 1000, "b.txt": b""}


def tarred(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


WRITERS: list[tuple[Callable[[Path, dict[str, bytes]], Path], str]] = [
    (zipped, "f.zip"),
    (tarred, "f.tgz"),
    (lambda path, members: tarred(path, members, "w"), "f.tar"),
    (folder, "f"),
]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_all_kinds_read_alike(tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], name: str) -> None:
    with open_archive(write(tmp_path / name, CONTENT)) as archive:
        assert sorted(archive.names) == sorted(CONTENT)
        assert dict(archive.read_all(CONTENT)) == CONTENT
        assert archive.find("x.txt") == "a/x.txt"
        with pytest.raises(DataError, match="none"):
            archive.find("z.txt")
        with pytest.raises(DataError, match=r"z\.txt"):
            archive.read("z.txt")


@pytest.mark.parametrize(("write", "name"), WRITERS[:3])
def test_extract(tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], name: str) -> None:
    target = extract(write(tmp_path / name, CONTENT), tmp_path / "out" / "deep")
    assert {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()} == CONTENT
    assert [p.name for p in target.parent.iterdir()] == ["deep"]
    with pytest.raises(DataError, match="exists already"):
        extract(tmp_path / name, target)


@pytest.mark.parametrize("evil", ["../out.txt", "/abs.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt"])
@pytest.mark.parametrize(("write", "name"), WRITERS[:3])
def test_traversal_is_refused(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], name: str, evil: str
) -> None:
    path = write(tmp_path / name, {"good.txt": b"1", evil: b"2"})
    with pytest.raises(DataError, match="outside its folder"), open_archive(path):
        pass
    with pytest.raises(DataError, match="outside its folder"):
        extract(path, tmp_path / "deep" / "out")
    assert not list((tmp_path / "deep").iterdir())
    assert not (tmp_path / "out.txt").exists()


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "f.tar", "w") as file:
        for name, kind in (
            ("l", tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("d", tarfile.CHRTYPE),
            ("p", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        file.addfile(tarfile.TarInfo("plain"))
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as packed:
        linked = zipfile.ZipInfo("l")
        linked.external_attr = 0o120777 << 16
        packed.writestr(linked, "/etc/passwd")
        packed.writestr("plain", "")
    for name in ("f.tar", "f.zip"):
        out = extract(tmp_path / name, tmp_path / f"{name}-out")
        assert [p.name for p in out.iterdir()] == ["plain"]


def test_bombs_are_refused(tmp_path: Path) -> None:
    zeros = {"zeros": bytes(4 << 20)}
    for path in (zipped(tmp_path / "f.zip", zeros), tarred(tmp_path / "f.tgz", zeros)):
        with pytest.raises(DataError, match="decompression bomb"), open_archive(path):
            pass
        with open_archive(path, Limits(ratio=10_000)) as archive:
            assert len(archive.read("zeros")) == 4 << 20
    path = zipped(tmp_path / "g.zip", CONTENT)
    for limits in (Limits(total=100), Limits(member=100), Limits(count=2)):
        with pytest.raises(DataError, match="decompression bomb"), open_archive(path, limits):
            pass


def test_a_member_larger_than_it_claims_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "f.zip", {"zeros": bytes(1 << 20)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, 10)
    path.write_bytes(content)
    with open_archive(path) as archive, pytest.raises(DataError, match="'zeros'"):
        archive.read("zeros")


@pytest.mark.parametrize("name", ["f.zip", "f.tgz", "f.tar"])
def test_truncated(tmp_path: Path, name: str) -> None:
    write = {n: w for w, n in WRITERS}[name]
    path = write(tmp_path / name, {f"{i}": bytes(range(256)) * 8 for i in range(20)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 100])

    def read() -> None:
        with open_archive(path) as archive:
            for each in archive.names:
                archive.read(each)

    with pytest.raises(DataError, match=name):
        read()


def test_flipped_bit_names_member(tmp_path: Path) -> None:
    path = zipped(tmp_path / "f.zip", {"a/b.txt": bytes(range(256))})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with open_archive(path) as archive, pytest.raises(DataError, match=r"a/b\.txt.*f\.zip"):
        archive.read("a/b.txt")


def test_not_an_archive(tmp_path: Path) -> None:
    (tmp_path / "f.zip").write_bytes(b"PKnonsense")
    (tmp_path / "g.zip").write_bytes(b"")
    for name in ("f.zip", "g.zip"):
        with pytest.raises(DataError, match="not a readable"), open_archive(tmp_path / name):
            pass
    with pytest.raises(DataNotFoundError, match="check the path"), open_archive(tmp_path / "nothing"):
        pass


def test_read_gzip(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b"x" * 1000))
    assert read_gzip(path, 1000) == b"x" * 1000
    with pytest.raises(DataError, match="more than 999"):
        read_gzip(path, 999)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="cannot be read"):
        read_gzip(path, 1000)
