"""Data sets of PyTorch and of other libraries, read into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from quickstudy.datasets.arrays import arrays, numbers
from quickstudy.datasets.base import ClassData
from quickstudy.datasets.reading.decoding import pixels_of
from quickstudy.datasets.reading.greys import Greys
from quickstudy.errors import DataError, InputError


def dataset(data: torch.utils.data.Dataset[Any], name: str | None = None, white: float | None = None) -> ClassData:
    """Return a map-style PyTorch data set, such as torchvision's, read into memory.

    Args:
        data: has a length, and gives (x, y) for 0..M-1: x a tensor, an array, a number or a PIL image, all of one
            shape; y a label as of `arrays`. If it has a list `classes` or a dict `class_to_idx`, as torchvision's
            have, integer labels get their names there. A name of several labels is followed by the label.
        name: how results name the data; None means the data set's type.
        white: value that is white in PIL images of more than 8 bits, as of `images`.

    Returns:
        As `arrays`. PIL images become uint8 of one channel if they are grey and of three if not, as `images` reads
        files: turned as their EXIF says, and on white where they are transparent.

    Raises:
        InputError: it is an iterable without length, its items are not such pairs, or a label has no name among its
            `classes`; the message names the item.
        DataError: an item cannot be read, or is an image of values out of range.
    """
    rows: list[Tensor] = []
    labels: list[Any] = []
    greys = Greys(white)
    for index in range(_length(data)):
        value, label = _pair(data, index)
        if isinstance(value, Image.Image):
            value = pixels_of(value, f"of item {index}", greys)
        row = numbers(value, f"x of item {index}")
        if rows and (row.shape != rows[0].shape or row.dtype != rows[0].dtype):
            raise InputError(
                f"x of item {index} is {tuple(row.shape)} of {row.dtype} and the first {tuple(rows[0].shape)} of "
                f"{rows[0].dtype}; give the data set a transform that makes them equal"
            )
        rows.append(row)
        labels.append(_label(label, index))
    if not rows:
        raise InputError("the data set is empty")
    called = name or type(data).__name__
    greys.check(called)
    known = _names(data) if all(isinstance(label, int) for label in labels) else None
    if known is not None:
        _check_known(labels, known)
    result = arrays(torch.stack(rows), labels, called)
    if known is None:
        return result
    # Only the classes that occur: a subset of a data set may lack some.
    often = Counter(known.values())
    numbered = [int(label) for label in result.classes]
    classes = tuple(known[label] if often[known[label]] == 1 else f"{known[label]} {label}" for label in numbered)
    return ClassData(result.inputs, result.labels, classes, result.name)


def _length(data: Any) -> int:
    try:
        if hasattr(data, "__getitem__"):
            return len(data)
    except (TypeError, ValueError, NotImplementedError):
        pass
    raise InputError("the data set must have a length and items; read an iterable one into arrays first")


def _pair(data: Any, index: int) -> tuple[Any, Any]:
    try:
        item = data[index]
    except (IndexError, KeyError) as error:
        raise InputError(f"the data set says that it has {len(data)} items, but has no item {index}") from error
    except OSError as error:  # PIL's errors among them
        raise DataError(f"item {index} of the data set cannot be read ({error}); mend or leave it out") from error
    if isinstance(item, (tuple, list)) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, Mapping):
        keys = ", ".join(repr(key) for key in item)
        found = f"but a dict with {keys}"
        advice = "give a list such as [(item['image'], item['label']) for item in data]"
    else:
        found = f"but {len(item)} things" if isinstance(item, (tuple, list)) else f"but {type(item).__name__}"
        advice = "wrap the data set in one that gives it, or give a list of pairs"
    raise InputError(f"item {index} of the data set is not a pair (x, y), {found}; {advice}")


def _label(label: Any, index: int) -> Any:
    """Return the label of an item as Python has it."""
    if isinstance(label, (Tensor, np.ndarray, np.generic)):
        if isinstance(label, Tensor) and label.is_meta:
            raise InputError(f"y of item {index} is on the device 'meta', which holds no numbers")
        size = label.numel() if isinstance(label, Tensor) else label.size
        if size != 1:
            shape = tuple(label.shape)
            raise InputError(f"y of item {index} has shape {shape}; give one label, of a one-hot row its argmax()")
        return label.item()
    if isinstance(label, (str, int, float)):
        return label
    raise InputError(f"y of item {index} is a {type(label).__name__}; give one label, a string or an integer")


def _names(data: Any) -> dict[int, str] | None:
    """Return the names of labels that a data set gives; None if it gives none that are names."""
    listed = _listed(getattr(data, "classes", None))
    places = getattr(data, "class_to_idx", None)
    if not isinstance(places, Mapping) or not all(isinstance(place, int) for place in places.values()):
        return listed
    by_place = {place: _name(name) for name, place in places.items()}
    if listed is None:
        return by_place if len(by_place) == len(places) else None
    wrong = [place for place, name in by_place.items() if name in listed.values() and listed.get(place) != name]
    if wrong:
        raise InputError(
            f"the data set's classes and class_to_idx disagree about label {wrong[0]}: {listed.get(wrong[0])!r} and "
            f"{by_place[wrong[0]]!r}; mend one"
        )
    return listed


def _listed(classes: Any) -> dict[int, str] | None:
    if isinstance(classes, Mapping):
        classes = dict(classes)
        numbered = all(isinstance(key, int) and isinstance(value, str) for key, value in classes.items())
        return classes if numbered and classes else None
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if not isinstance(classes, Sequence) or isinstance(classes, str) or not classes:
        return None
    # ImageNet has synonyms for each class.
    plain = all(isinstance(each, str) or (isinstance(each, tuple) and each) for each in classes)
    return {place: _name(each) for place, each in enumerate(classes)} if plain else None


def _name(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _check_known(labels: Iterable[int], known: Mapping[int, str]) -> None:
    labels = list(labels)
    strange = [index for index, label in enumerate(labels) if int(label) not in known]
    if not strange:
        return
    index = strange[0]
    found = sorted({int(label) for label in labels})
    if found[0] == -1:
        advice = "-1 often marks what has no label: leave such items out, with torch.utils.data.Subset"
    elif found[0] == 1 and found[-1] == len(known):
        advice = "labels seem to begin at 1: give the data set a target_transform that takes 1 off"
    else:
        advice = "mend the labels or the names"
    raise InputError(
        f"y of item {index} is {int(labels[index])}, but the data set's classes name the labels {min(known)} to "
        f"{max(known)}; {advice}"
    )
