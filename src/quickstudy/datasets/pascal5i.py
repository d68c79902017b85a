"""PASCAL-5i: few-shot segmentation of the 20 classes of PASCAL VOC 2012, in four folds.

Shaban, Bansal, Liu, Essa and Boots, 'One-Shot Learning for Semantic Segmentation', BMVC 2017, section 5: fold i tests
on the classes 5i+1 .. 5i+5, in alphabetical order, and trains on the other 15. Images and masks are those of Everingham
et al., VOC 2012 (http://host.robots.ox.ac.uk/pascal/VOC/voc2012), with the further masks of Hariharan et al. (ICCV
2011) where `SegmentationClassAug` is there.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.archives import Archive, open_archive
from quickstudy.datasets.reading.decoding import decode, decode_indices
from quickstudy.datasets.reading.files import PublishedFile, find
from quickstudy.errors import DataError, InputError

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle"),
    *("bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person"),
    *("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""VOC's classes; a mask's value is the index here plus 1."""

_FILE = PublishedFile(
    "pascal/VOCtrainval_11-May-2012.tar",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
)
_BORDER = 255


def pascal5i(
    path: str | os.PathLike[str] | None = None,
    fold: int = 0,
    size: int = 128,
    keep_border: bool = False,
) -> tuple[ClassData, ClassData]:
    """Return the meta-train and meta-test data of a fold.

    An image is an example of each class in it, with that class's mask. As in the paper, training images come from VOC's
    training list and test images from its validation list, and test classes that happen to be in training images are
    background there.

    Args:
        path: folder `VOC2012` (or one above it), or a zip or tar archive, which holds `JPEGImages`,
            `ImageSets/Segmentation/train.txt` and `val.txt`, and `SegmentationClass`. If `SegmentationClassAug` is
            there, masks come from it, and so do the names in a list `trainaug.txt` if there is one. None searches for
            `pascal/VOC2012` and for the official archive as described in `quickstudy.datasets.reading.files`.
        fold: 0 to 3.
        size: height and width of images and masks.
        keep_border: keep 255 at the pixels that VOC marks as borders or void; otherwise they are background.

    Returns:
        Training data of up to 15 classes and test data of up to 5, inputs (M, 3, size, size) uint8 and `targets`
        (M, size, size) uint8, 1 inside the example's class; `source` numbers the image, so that a task can keep one
        image out of both support and query. Examples whose mask vanishes at this size are left out.

    Raises:
        DataNotFoundError: nothing was found; the message says what to put where.
        DataError: a list, an image or a mask is missing or corrupt, or a part has no example.
        InputError: the fold or size is out of range.
    """
    if fold not in range(4):
        raise InputError(f"fold must be 0, 1, 2 or 3, not {fold}")
    if size < 1:
        raise InputError(f"size must be positive, not {size}")
    place = find([_FILE, PublishedFile("pascal/VOC2012")]) if path is None else path
    test = tuple(range(5 * fold + 1, 5 * fold + 6))
    train = tuple(value for value in range(1, 21) if value not in test)
    with open_archive(place) as archive:
        return (
            _read(archive, ("trainaug", "train"), train, size, keep_border, f"pascal5i fold {fold} train"),
            _read(archive, ("val",), test, size, keep_border, f"pascal5i fold {fold} test"),
        )


def _read(
    archive: Archive, lists: tuple[str, ...], values: tuple[int, ...], size: int, keep_border: bool, name: str
) -> ClassData:
    """Read the images of the first of `lists` that is there, as examples of the classes `values`."""
    base = archive.find("ImageSets/Segmentation/val.txt").removesuffix("ImageSets/Segmentation/val.txt")
    stored = set(archive.names)
    augmented = any(each.startswith(f"{base}SegmentationClassAug/") for each in archive.names)
    folder = "SegmentationClassAug" if augmented else "SegmentationClass"
    options = [f"{base}ImageSets/Segmentation/{each}.txt" for each in lists if augmented or each != "trainaug"]
    file = next((each for each in options if each in stored), None)
    if file is None:
        raise DataError(f"{archive.path} lacks {options[-1]}; is it VOC 2012?")
    # Lists for augmented masks name files ('/JPEGImages/x.jpg /SegmentationClassAug/x.png') or stems ('x').
    lines = archive.read(file).decode("ascii", errors="replace").split("\n")
    stems = sorted({line.split()[0].rsplit("/", 1)[-1].removesuffix(".jpg") for line in lines if line.strip()})
    masks = {f"{base}{folder}/{stem}.png": stem for stem in stems}
    photos = {f"{base}JPEGImages/{stem}.jpg": stem for stem in stems}
    absent = (set(masks) | set(photos)) - stored
    if absent:
        raise DataError(f"{file} of {archive.path} names {min(absent)}, which is missing")
    targets: dict[str, list[tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]]] = {}
    for each, content in archive.read_all(masks):
        indices = decode_indices(content, f"{archive.path}: {each}", size)
        border = (indices == _BORDER) * np.uint8(_BORDER if keep_border else 0)
        found = sorted(set(np.unique(indices).tolist()) & set(values))
        targets[masks[each]] = [(value, (indices == value) + border) for value in found]
    photos = {each: stem for each, stem in photos.items() if targets[stem]}
    if not photos:
        raise DataError(f"no image of {file} in {archive.path} shows a class of {name}")
    number = {stem: i for i, stem in enumerate(stems)}
    classes = sorted({value for stem in photos.values() for value, _ in targets[stem]})
    pictures, labels, shapes, source = [], [], [], []
    for each, content in archive.read_all(photos):
        picture = torch.from_numpy(decode(content, f"{archive.path}: {each}", 3, size))
        for value, mask in targets[photos[each]]:
            pictures.append(picture)
            labels.append(classes.index(value))
            shapes.append(torch.from_numpy(mask.astype(np.uint8)))
            source.append(number[photos[each]])
    return ClassData(
        inputs=torch.stack(pictures),
        labels=torch.tensor(labels),
        classes=tuple(CLASSES[value - 1] for value in classes),
        name=name,
        source=torch.tensor(source),
        targets=torch.stack(shapes),
    )
