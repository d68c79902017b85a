from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import random
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quickstudy.datasets.reading.archives import Limits, open_archive, read_gzip
from quickstudy.errors import DataError
from tests.datasets.conftest import zipped

CONTENT = {
    "a/x": b"one",
    "ordner/ä.txt": b"two" * 400,
    "l" * 90 + "/" + "o" * 90 + "/" + "n" * 150: b"",
    "z": b"0" * 512,
}


def packed(form: int, content: dict[str, bytes] = CONTENT, **options: Any) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form, **options) as file:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, value in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(value)
            info.mtime = 1e9 + 0.5
            file.addfile(info, io.BytesIO(value))
    return stream.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_tarfile_writes_is_read(tmp_path: Path, form: int, pack: Callable[[bytes], bytes]) -> None:
    content = {"p" * 90 + "/x": b"1"} if form == tarfile.USTAR_FORMAT else CONTENT
    (tmp_path / "f").write_bytes(pack(packed(form, content)))
    with open_archive(tmp_path / "f") as archive:
        assert archive.names == list(content)
        assert dict(archive.read_all(archive.names)) == content
        assert archive.folders == ["a"]
        assert all(archive.read(name) == content[name] for name in reversed(archive.names))


def test_the_later_of_two_members_counts_and_the_end_may_be_missing(tmp_path: Path) -> None:
    once, again = packed(tarfile.PAX_FORMAT, {"a": b"old"}), packed(tarfile.GNU_FORMAT, {"a": b"new"})
    whole = once[: once.rindex(b"old") + 512] + again[: again.rindex(b"new") + 512]
    (tmp_path / "f.tar").write_bytes(whole)
    with open_archive(tmp_path / "f.tar") as archive:
        assert archive.read("a") == b"new"


def test_global_headers_and_other_marks(tmp_path: Path) -> None:
    (tmp_path / "f.tar").write_bytes(packed(tarfile.PAX_FORMAT, pax_headers={"comment": "of git"}))
    with open_archive(tmp_path / "f.tar") as archive:
        assert archive.names == list(CONTENT)


def header(kind: bytes, size: int, name: str = "h") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


HOSTILE = {
    "a long name of 20 MB": header(b"L", 20 << 20) + bytes(20 << 20),
    "pax records of 20 MB": header(b"x", 20 << 20) + bytes(20 << 20),
    "a global header of 20 MB": header(b"g", 20 << 20) + bytes(20 << 20),
    "forty headers": (header(b"x", 1 << 20) + bytes(1 << 20)) * 40,
    "holes": header(b"S", 512) + bytes(512),
    "holes by pax": header(b"x", 22) + b"22 GNU.sparse.major=1\n".ljust(512, b"\0") + header(b"0", 0),
    "one name for all": header(b"g", 10) + b"10 path=a\n".ljust(512, b"\0") + header(b"0", 0),
    "a record beyond the end": header(b"x", 10) + b"99 path=a\n".ljust(512, b"\0") + header(b"0", 0),
    "a size that is none": header(b"x", 10) + b"10 size=-\n".ljust(512, b"\0") + header(b"0", 0),
    "a size beyond the end": header(b"0", 1 << 20) + bytes(512),
    "many empty members": header(b"0", 0) * 30_000,
    "many folders": header(b"5", 0, "d/") * 20_000,
    "no tar": b"x" * 2000,
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers_cost_nothing(tmp_path: Path, what: str) -> None:
    (tmp_path / "f.tar.xz").write_bytes(lzma.compress(HOSTILE[what], preset=0))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"f\.tar\.xz") as error, open_archive(tmp_path / "f.tar.xz"):
            pass
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)


def test_headers_count_towards_the_limits(tmp_path: Path) -> None:
    (tmp_path / "f.tar").write_bytes(packed(tarfile.GNU_FORMAT))
    with pytest.raises(DataError, match="more than 2000"), open_archive(tmp_path / "f.tar", Limits(total=2000)):
        pass


def test_damaged_tars_end_in_one_kind_of_error(tmp_path: Path) -> None:
    whole = packed(tarfile.PAX_FORMAT)
    for seed in range(300):
        chance = random.Random(seed)
        content = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        del content[len(content) - chance.choice((0, 0, chance.randrange(len(content)))) :]
        (tmp_path / "f.tar").write_bytes(content)
        try:
            with open_archive(tmp_path / "f.tar") as archive:
                list(archive.read_all(archive.names))
        except DataError:
            pass


class TestZips:
    def test_overlapping_members_are_refused(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "f.zip", {"a": b"1" * 100, "b": b"1" * 100})
        content = bytearray(path.read_bytes())
        second = content.rindex(b"PK\x01\x02")
        struct.pack_into("<I", content, second + 42, 0)  # its data begin where those of the first do
        path.write_bytes(content)
        with pytest.raises(DataError, match="overlap"), open_archive(path):
            pass

    def test_two_members_of_one_name_are_refused(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "f.zip", "w") as file:
            file.writestr("a/b", "1")
            file.writestr("a//b", "2")
        with pytest.raises(DataError, match="two members"), open_archive(tmp_path / "f.zip"):
            pass

    @pytest.mark.parametrize(
        ("offset", "value", "message"), [(8, 1, "encrypted"), (10, 9, "method 9"), (10, 93, "method 93")]
    )
    def test_what_cannot_be_unpacked_is_told(self, tmp_path: Path, offset: int, value: int, message: str) -> None:
        path = zipped(tmp_path / "f.zip", {"a": b"1"})
        content = bytearray(path.read_bytes())
        struct.pack_into("<H", content, content.index(b"PK\x01\x02") + offset, value)
        struct.pack_into("<H", content, offset - 2, value)
        path.write_bytes(content)
        with open_archive(path) as archive, pytest.raises(DataError, match=message):
            archive.read("a")

    def test_damaged_zips_end_in_one_kind_of_error(self, tmp_path: Path) -> None:
        whole = zipped(tmp_path / "g.zip", {name[:200]: value for name, value in CONTENT.items()}).read_bytes()
        for seed in range(300):
            chance = random.Random(seed)
            content = bytearray(whole)
            for _ in range(chance.randint(1, 3)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            (tmp_path / "f.zip").write_bytes(content)
            try:
                with open_archive(tmp_path / "f.zip") as archive:
                    list(archive.read_all(archive.names))
            except DataError:
                pass

    def test_many_empty_members_are_refused(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "f.zip", {str(number): b"" for number in range(50)})
        with pytest.raises(DataError, match="without content"), open_archive(path, Limits(empty=20)):
            pass


@pytest.mark.parametrize("start", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd"])
def test_other_archives_are_named(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "f").write_bytes(start + bytes(600))
    with (
        pytest.raises(DataError, match=r"is a (7z|RAR|Zstandard) file, which is not read"),
        open_archive(tmp_path / "f"),
    ):
        pass


def test_a_gzip_bomb_stops_early(tmp_path: Path) -> None:
    engine = zlib.compressobj(9, wbits=31)
    parts = itertools.chain((engine.compress(bytes(1 << 20)) for _ in range(64)), (engine.flush() for _ in range(1)))
    (tmp_path / "f.gz").write_bytes(b"".join(parts))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="holds more than"):
            read_gzip(tmp_path / "f.gz", 1 << 30)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
