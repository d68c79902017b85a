from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import quickstudy.datasets as datasets
from quickstudy.errors import DataError, DataNotFoundError, InputError
from tests.datasets.conftest import picture, zipped


def drawing(mark: int) -> bytes:
    """Return a drawing in black on white with a stroke at row `mark`."""
    paper = np.full((105, 105), True)
    paper[mark : mark + 8, 10:90] = False
    return picture(paper)


def members(alphabets: dict[str, int], drawers: int = 3) -> dict[str, bytes]:
    return {
        f"images_background/{alphabet}/character{c:02d}/{c:04d}_{d:02d}.png": drawing(10 * c + d)
        for alphabet, characters in alphabets.items()
        for c in range(1, characters + 1)
        for d in range(1, drawers + 1)
    }


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return zipped(tmp_path / "images_background.zip", members({"Greek": 3, "Ge_ez": 2}))


def test_layout(archive: Path) -> None:
    data = datasets.omniglot(archive)
    assert data.inputs.shape == (15, 1, 28, 28)
    assert data.inputs.dtype == torch.uint8
    assert data.classes[0] == "Ge_ez/character01"
    assert data.attributes["alphabet"] == ("Ge_ez", "Ge_ez", "Greek", "Greek", "Greek")
    assert data.source is not None
    assert data.source.tolist() == [1, 2, 3] * 5


def test_ink_is_white_and_reduced_by_area(archive: Path) -> None:
    data = datasets.omniglot(archive, size=21)
    expected = np.zeros((105, 105))
    expected[11:19, 10:90] = 255
    expected = expected.reshape(21, 5, 21, 5).mean((1, 3))
    assert np.abs(data.inputs[0, 0].numpy() - expected).max() <= 1


def test_zip_folder_and_extracted_folder_agree(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "extracted"
    for name, content in members({"Greek": 3, "Ge_ez": 2}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    expected = datasets.omniglot(archive).fingerprint
    assert datasets.omniglot(tmp_path).fingerprint == expected
    assert datasets.omniglot(folder).fingerprint == expected
    assert datasets.omniglot(folder / "images_background").fingerprint == expected


def test_found_through_the_environment(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "omniglot").mkdir()
    archive.rename(tmp_path / "omniglot" / archive.name)
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path))
    assert len(datasets.omniglot()) == 15


def test_cached_by_content(archive: Path, isolated: Path) -> None:
    datasets.omniglot(archive)
    assert len(list((isolated / "processed").iterdir())) == 1
    zipped(archive, members({"Greek": 1}))
    assert len(datasets.omniglot(archive)) == 3


def test_offline_says_what_to_put_where(isolated: Path) -> None:
    with pytest.raises(DataNotFoundError) as caught:
        datasets.omniglot()
    message = str(caught.value)
    assert "https://github.com/brendenlake/omniglot" in message
    assert str(isolated / "omniglot" / "images_background.zip") in message
    assert "QUICKSTUDY_DATA" in message
    with pytest.raises(DataNotFoundError, match="subset='background'"):
        datasets.omniglot_vinyals()


def test_errors(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'evaluation'"):
        datasets.omniglot(archive, subset="evaluatoin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="size"):
        datasets.omniglot(archive, size=0)
    with pytest.raises(DataNotFoundError, match=r"images_background\.zip"):
        datasets.omniglot(tmp_path / "nothing")
    with pytest.raises(DataError, match="is it Omniglot"):
        datasets.omniglot(zipped(tmp_path / "other.zip", {"a.png": drawing(1)}))
    bad = zipped(tmp_path / "bad.zip", {"i/Greek/character01/0001_07.png": drawing(1)[:60]})
    with pytest.raises(DataError, match=r"0001_07\.png"):
        datasets.omniglot(bad)


def test_vinyals_lists(archive: Path, tmp_path: Path) -> None:
    lists = tmp_path / "splits_vinyals"
    lists.mkdir()
    turns = ("000", "090", "180", "270")
    for name, classes in {"train": ["Greek/character01", "Greek/character03", "Else/character01"], "val": []}.items():
        (lists / f"{name}.txt").write_text("".join(f"{c}/rot{t}\n" for c in classes for t in turns))
    with pytest.raises(DataError, match="'val'"):
        datasets.omniglot_vinyals(tmp_path, subset="background")
    (lists / "val.txt").write_text("Ge_ez/character02/rot000\n")
    train, val = datasets.omniglot_vinyals(tmp_path, subset="background")
    assert len(train.classes) == 8
    assert len(val.classes) == 4
    assert "Greek/character03@90" in train.classes
    plain, _ = datasets.omniglot_vinyals(tmp_path, subset="background", rotations=False)
    assert plain.classes == ("Greek/character01", "Greek/character03")


def test_real_background_set(real_data: Path) -> None:
    data = datasets.omniglot(real_data / "omniglot" / "images_background_32.zip")
    assert len(data.classes) == 964
    assert len(set(data.attributes["alphabet"])) == 30
    assert 0.05 < float(data.inputs.float().mean()) / 255 < 0.12
    train, val = datasets.omniglot_vinyals(real_data, subset="background", rotations=False)
    assert (len(train.classes), len(val.classes)) == (792, 172)
    parts = data.split(by="alphabet")
    alphabets = [set(part.attributes["alphabet"]) for part in parts]
    assert sum(map(len, alphabets)) == 30


def test_real_minimal_sets_agree_with_the_reduced_one(real_data: Path) -> None:
    folder = real_data / "omniglot"
    small = datasets.omniglot(folder, subset="small1", size=16)
    reduced = datasets.omniglot(folder / "images_background_32.zip", size=16)
    assert len(small.classes) == 136
    assert small.source is not None
    assert reduced.source is not None
    name = small.classes[5]
    one, other = small.subset([name]), reduced.subset([name])
    assert one.source is not None
    assert other.source is not None
    kept = torch.isin(one.source, other.source)
    a, b = one.inputs[kept].flatten().double(), other.inputs.flatten().double()
    assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) > 0.97
