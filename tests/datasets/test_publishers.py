"""Readers of publishers' formats, on small files in the same layout."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import quickstudy.datasets as datasets
from quickstudy.datasets.pascal5i import CLASSES
from quickstudy.datasets.reading.archives import extract
from quickstudy.datasets.reading.pickles import load_pickle
from quickstudy.errors import DataError, DataNotFoundError, InputError
from tests.datasets.conftest import picture, zipped


def shade(value: int, height: int = 20, width: int = 30) -> bytes:
    return picture(np.full((height, width, 3), value, dtype=np.uint8))


# miniImageNet


def mini_members() -> dict[str, bytes]:
    members = {}
    for p, part in enumerate(("train", "val", "test")):
        lines = ["filename,label"]
        for c in range(2):
            label = f"n{p}{c}"
            for i in range(3):
                name = f"{label}{i:08d}.jpg"
                lines.append(f"{name},{label}")
                members[f"mini/images/{name}"] = shade(50 * p + 20 * c + i)
        members[f"mini/{part}.csv"] = "\r\n".join(lines).encode()
    return members


def test_mini_imagenet_lists(tmp_path: Path) -> None:
    path = zipped(tmp_path / "mini.zip", mini_members())
    parts = datasets.mini_imagenet(path, size=10)
    assert [part.classes for part in parts] == [("n00", "n01"), ("n10", "n11"), ("n20", "n21")]
    assert parts[1].inputs.shape == (6, 3, 10, 10)
    assert parts[1].inputs[:, 0, 5, 5].tolist() == pytest.approx([50, 51, 52, 70, 71, 72], abs=1)
    folder = extract(path, tmp_path / "mini_imagenet")
    assert datasets.mini_imagenet(folder, size=10)[2].fingerprint == parts[2].fingerprint


def test_mini_imagenet_is_found_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataNotFoundError, match="licence allows no direct download"):
        datasets.mini_imagenet()
    zipped(tmp_path / "mini_imagenet.zip", mini_members())
    monkeypatch.setenv("QUICKSTUDY_DATA", str(tmp_path))
    assert len(datasets.mini_imagenet(size=4)) == 3


def test_mini_imagenet_errors(tmp_path: Path) -> None:
    members = mini_members()
    for change, message in (
        ({"mini/val.csv": b"filename,label\nn0100000000.jpg,n01"}, "'n01' .* both train and val"),
        ({"mini/val.csv": b"filename,label\nlost.jpg,n10"}, r"names 'lost\.jpg', which is missing"),
        ({"mini/val.csv": b"a,b\nc,d"}, "must have a header"),
        ({"mini/images/n1000000001.jpg": b"no image"}, r"n1000000001\.jpg is corrupt"),
    ):
        with pytest.raises(DataError, match=message):
            datasets.mini_imagenet(zipped(tmp_path / "bad.zip", members | change), size=4)
    twice = {"mini/other/n1000000001.jpg": members["mini/images/n1000000001.jpg"]}
    with pytest.raises(DataError, match="lies in several folders"):
        datasets.mini_imagenet(zipped(tmp_path / "bad.zip", members | twice), size=4)
    del members["mini/test.csv"]
    with pytest.raises(DataError, match=r"neither test\.csv nor"):
        datasets.mini_imagenet(zipped(tmp_path / "bad.zip", members), size=4)


def cache_files(folder: Path, protocol: int) -> Path:
    folder.mkdir()
    for p, part in enumerate(("train", "val", "test")):
        pixels = np.arange(6, dtype=np.uint8)[:, None, None, None] + np.full((6, 8, 8, 3), 40 * p, dtype=np.uint8)
        content = {"image_data": pixels, "class_dict": {f"b{p}": [0, 2, 4], f"a{p}": [1, 3, 5]}}
        (folder / f"mini-imagenet-cache-{part}.pkl").write_bytes(pickle.dumps(content, protocol))
    return folder


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_mini_imagenet_pickles(tmp_path: Path, protocol: int) -> None:
    folder = cache_files(tmp_path / "cache", protocol)
    train, val, _ = datasets.mini_imagenet(folder, size=8)
    assert train.classes == ("a0", "b0")
    assert val.inputs[:, 0, 0, 0].tolist() == [41, 43, 45, 40, 42, 44]
    assert datasets.mini_imagenet(folder, size=4)[0].inputs.shape == (6, 3, 4, 4)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_hostile_pickles_do_nothing(tmp_path: Path) -> None:
    folder = cache_files(tmp_path / "cache", 4)
    file = folder / "mini-imagenet-cache-val.pkl"
    objects = np.array([Hostile(tmp_path / "pwned")], dtype=object)
    for content in (Hostile(tmp_path / "pwned"), {"image_data": objects, "class_dict": {}}):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=r"cache-val\.pkl was refused.*(system|O8)"):
            datasets.mini_imagenet(folder)
    assert not (tmp_path / "pwned").exists()
    for evil in (b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"c__main__\nx\n."):
        with pytest.raises(DataError, match="refused"):
            load_pickle(evil, "f")


def test_corrupt_pickles(tmp_path: Path) -> None:
    folder = cache_files(tmp_path / "cache", 4)
    file = folder / "mini-imagenet-cache-val.pkl"
    good = file.read_bytes()
    for content in (b"", good[:50], b"\xff" * 20):
        file.write_bytes(content)
        with pytest.raises(DataError, match="truncated or corrupt"):
            datasets.mini_imagenet(folder)
    pixels = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    for wrong, message in (
        ([1], "no 4-dimensional"),
        ({"image_data": pixels.astype(float), "class_dict": {}}, "no 4-dimensional"),
        ({"image_data": pixels}, "class_dict"),
        ({"image_data": pixels, "class_dict": {"a": [0, 2]}}, "names rows"),
        ({"image_data": pixels, "class_dict": {"a": []}}, "names rows"),
    ):
        file.write_bytes(pickle.dumps(wrong))
        with pytest.raises(DataError, match=message):
            datasets.mini_imagenet(folder)
    file.unlink()
    with pytest.raises(DataError, match=r"lacks mini-imagenet-cache-val\.pkl"):
        datasets.mini_imagenet(folder)


def test_pickles_of_python_2() -> None:
    assert load_pickle(b"(dp0\nS'a'\np1\n(lp2\nI1\naI2\nas.", "f") == {"a": [1, 2]}


# CUB


def bird_folder(root: Path) -> Path:
    root.mkdir()
    names = ["001.Albatross", "002.Auklet"]
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "bounding_boxes": [], "train_test_split": []}
    for i in range(6):
        label = i % 2
        file = f"{names[label]}/bird_{i}.jpg"
        (root / "images" / names[label]).mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((20, 30, 3), dtype=np.uint8)
        pixels[5:15, 10:20] = 200
        (root / "images" / file).write_bytes(picture(pixels))
        lists["images"].append(f"{i + 1} {file}")
        lists["image_class_labels"].append(f"{i + 1} {label + 1}")
        lists["bounding_boxes"].append(f"{i + 1} 10.0 5.0 10.0 10.0")
        lists["train_test_split"].append(f"{i + 1} {int(i < 4)}")
    for name, lines in lists.items():
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / "classes.txt").write_text("1 001.Albatross\n2 002.Auklet\n")
    return root


def test_cub(tmp_path: Path, isolated: Path) -> None:
    root = bird_folder(tmp_path / "CUB_200_2011")
    data = datasets.cub(root, size=10)
    assert data.classes == ("001.Albatross", "002.Auklet")
    assert data.inputs.shape == (6, 3, 10, 10)
    assert data.source is not None
    assert data.source.tolist() == [1, 1, 0, 1, 1, 0]
    assert 30 < float(data.inputs.float().mean()) < 40
    assert int(datasets.cub(root, size=10, crop=True).inputs.min()) == 200
    with tarfile.open(tmp_path / "CUB_200_2011.tgz", "w:gz") as file:
        file.add(root, "CUB_200_2011")
        (tmp_path / "attributes.txt").touch()
        file.add(tmp_path / "attributes.txt", "attributes.txt")  # lies beside the folder in the official archive
    for _ in range(2):
        packed = datasets.cub(tmp_path / "CUB_200_2011.tgz", size=10)
        assert packed.inputs.float().mean() == data.inputs.float().mean()
        assert packed.counts.tolist() == [3, 3]
    assert len(list((isolated / "processed").iterdir())) == 1


def test_cub_errors(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"data\.caltech\.edu"):
        datasets.cub()
    with pytest.raises(DataNotFoundError, match="check the path"):
        datasets.cub(tmp_path / "nothing")
    root = bird_folder(tmp_path / "CUB_200_2011")
    for name, content, message in (
        ("bounding_boxes.txt", "1 a b c d", "disagree"),
        ("bounding_boxes.txt", "\n".join(f"{i} 1 2 x 4" for i in range(1, 7)), "four numbers"),
        ("bounding_boxes.txt", "\n".join(f"{i} 1 2 0 4" for i in range(1, 7)), "empty or outlying"),
        ("image_class_labels.txt", "1 1", "disagree"),
        ("image_class_labels.txt", "\n".join(f"{i} 9" for i in range(1, 7)), "disagree"),
        ("images.txt", "one two", "has the line 'one two'"),
        ("images.txt", "", "is empty"),
        ("images.txt", "1 ../../etc/passwd.jpg", "which is missing"),
    ):
        good = (root / name).read_text()
        (root / name).write_text(content)
        with pytest.raises(DataError, match=message):
            datasets.cub(root, crop=True)
        (root / name).write_text(good)
    (root / "images" / "001.Albatross" / "bird_0.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=r"bird_0\.jpg is corrupt"):
        datasets.cub(root)


# PASCAL-5i


def voc_folder(root: Path, augmented: bool = False) -> Path:
    """Write an image for each class, which also shows a person (15), in both lists."""
    folder = "SegmentationClassAug" if augmented else "SegmentationClass"
    for part in ("JPEGImages", "ImageSets/Segmentation", folder):
        (root / part).mkdir(parents=True)
    for part in ("train", "val"):
        for value in range(1, 21):
            stem = f"{part}_{value:02d}"
            (root / "JPEGImages" / f"{stem}.jpg").write_bytes(shade(value * 10, 16, 16))
            mask = np.zeros((16, 16), dtype=np.uint8)
            mask[:8, :8], mask[8:, 8:], mask[:, 8] = value, 15, 255
            image = Image.fromarray(mask)
            if not augmented:
                image.putpalette([i % 256 for i in range(768)])
            image.save(root / folder / f"{stem}.png")
        stems = "\n".join(f"{part}_{value:02d}" for value in range(1, 21))
        (root / "ImageSets" / "Segmentation" / f"{part}.txt").write_text(stems + "\n")
    return root


def test_pascal5i(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "VOCdevkit" / "VOC2012")
    for fold in range(4):
        train, test = datasets.pascal5i(tmp_path, fold, size=16)
        assert test.classes == CLASSES[5 * fold : 5 * fold + 5]
        assert set(train.classes) == set(CLASSES) - set(test.classes)
        assert test.targets is not None
        assert test.targets.shape == (len(test), 16, 16)
        assert set(test.targets.unique().tolist()) == {0, 1}
    # In fold 2 person is tested, and seen in all 20 images.
    _, test = datasets.pascal5i(root, 2, size=16)
    assert test.classes[4] == "person"
    assert test.counts.tolist() == [1, 1, 1, 1, 20]
    assert test.source is not None
    assert len(set(test.source.tolist())) == 20
    _, bordered = datasets.pascal5i(root, 0, size=16, keep_border=True)
    assert bordered.targets is not None
    assert int((bordered.targets[0] == 255).sum()) == 16
    assert int((bordered.targets[0] == 1).sum()) == 64
    assert bordered.inputs.shape == (5, 3, 16, 16)


def test_pascal5i_augmented(tmp_path: Path) -> None:
    root = voc_folder(tmp_path / "VOC2012", augmented=True)
    lists = root / "ImageSets" / "Segmentation"
    (lists / "trainaug.txt").write_text("/JPEGImages/train_07.jpg /SegmentationClassAug/train_07.png\n")
    train, _ = datasets.pascal5i(root, 0, size=8)
    assert train.classes == ("car", "person")


def test_pascal5i_errors(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="VOCtrainval"):
        datasets.pascal5i()
    with pytest.raises(InputError, match="fold"):
        datasets.pascal5i(tmp_path, 4)
    root = voc_folder(tmp_path / "VOC2012")
    mask = root / "SegmentationClass" / "val_01.png"
    mask.write_bytes(shade(1))
    with pytest.raises(DataError, match=r"val_01\.png is in mode RGB"):
        datasets.pascal5i(root)
    mask.unlink()
    with pytest.raises(DataError, match=r"names .*val_01\.png, which is missing"):
        datasets.pascal5i(root)
    (root / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(DataError, match=r"lacks .*train\.txt"):
        datasets.pascal5i(root)


# ORBIT


def orbit_members(*modes: str) -> dict[str, bytes]:
    members = {}
    for mode in modes:
        for user in ("P1", "P2"):
            for thing in ("keys", "mug"):
                for clip, videos in (("clean", 2), ("clutter", 1)):
                    for v in range(videos):
                        for f in range(5):
                            name = f"{user}/{thing}/{clip}/{user}--{thing}--{v}/frame-{f + 1:05d}.jpg"
                            members[f"{mode}/{name}" if mode else name] = shade(10 * f, 6, 6)
    return members


def test_orbit(tmp_path: Path) -> None:
    root = extract(zipped(tmp_path / "orbit.zip", orbit_members("train", "test")), tmp_path / "orbit")
    data = datasets.orbit(root, "test", size=4, frames=3)
    assert data.classes == ("P1/keys", "P1/mug", "P2/keys", "P2/mug")
    assert data.attributes["user"] == ("P1", "P1", "P2", "P2")
    assert data.attributes["object"] == ("keys", "mug", "keys", "mug")
    assert data.counts.tolist() == [9] * 4
    assert data.inputs[:3, 0, 0, 0].tolist() == [0, 20, 40]  # first, middle and last
    assert data.source is not None
    assert (data.source % 2).tolist() == ([0] * 6 + [1] * 3) * 4
    assert len(set((data.source // 2).tolist())) == 12
    direct = datasets.orbit(root / "test", "test", size=4, frames=3)
    assert direct.fingerprint == data.fingerprint
    packed = zipped(tmp_path / "train.zip", orbit_members(""))
    assert datasets.orbit(packed, "train", size=4, frames=9).counts.tolist() == [15] * 4


def test_orbit_errors(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="figshare"):
        datasets.orbit()
    path = zipped(tmp_path / "train.zip", orbit_members(""))
    with pytest.raises(InputError, match="make them agree"):
        datasets.orbit(path, "test")
    with pytest.raises(InputError, match="did you mean 'validation'"):
        datasets.orbit(path, "validatoin")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="positive"):
        datasets.orbit(path, frames=0)
    with pytest.raises(DataError, match="holds no frame of 'test'"):
        datasets.orbit(zipped(tmp_path / "o.zip", orbit_members("train")), "test")
    bad = orbit_members("") | {"P1/mug/clean/P1--mug--0/frame-00001.jpg": b"x"}
    with pytest.raises(DataError, match=r"frame-00001\.jpg is corrupt"):
        datasets.orbit(zipped(tmp_path / "bad.zip", bad))


def test_everything_is_exported() -> None:
    for name in datasets.__all__:
        assert getattr(datasets, name).__doc__
    assert isinstance(datasets.glyphs(scripts=("COPTIC",), examples=1, cache=False).inputs, torch.Tensor)
