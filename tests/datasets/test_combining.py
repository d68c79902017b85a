"""Alphabets put together from the characters of one."""

import dataclasses

import pytest
import torch
from torch import Tensor

from quickstudy.datasets import ClassData, combining, with_combinations
from quickstudy.errors import InputError
from tests.helpers.blobs import make_blobs

SIDE = 16


@pytest.fixture
def data() -> ClassData:
    """Two alphabets of seven characters by six people: one drawn in the first channel, the other in the second.

    The brighter, the higher the number of who drew it; a character is a bar whose place and direction are its own.
    """
    inputs, labels, source = [], [], []
    for label in range(14):
        for who in range(6):
            if (label + who) % 7 == 0:
                continue  # Not everyone drew everything.
            image = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
            bar = image[label // 7].T if label % 2 else image[label // 7]
            bar[3 + label % 7 : 6 + label % 7, 2:-2] = 30 * (who + 1)
            inputs.append(image)
            labels.append(label)
            source.append(10 + who)
    return ClassData(
        torch.stack(inputs),
        torch.tensor(labels),
        tuple(f"{'ab'[i // 7]}{i}" for i in range(14)),
        name="bars",
        attributes={"alphabet": tuple("ab"[i // 7] for i in range(14)), "size": ("s",) * 14},
        source=torch.tensor(source),
    )


def new(data: ClassData) -> list[tuple[str, list[Tensor], Tensor]]:
    """Return of each new class its alphabet, and its drawings and who made them."""
    found = []
    for alphabet, classes in data.groups("alphabet").items():
        for c in classes if alphabet.startswith("combined") else []:
            rows = slice(int(data.starts[c]), int(data.starts[c] + data.counts[c]))
            found.append((alphabet, list(data.inputs[rows]), data.source[rows]))
    return found


def test_old_classes_stay_and_new_ones_are_drawn_by_one_person_from_one_alphabet(data: ClassData) -> None:
    whole = with_combinations(data, 12)
    assert whole.subset(data.classes).fingerprint == data.fingerprint
    assert whole.inputs.dtype == torch.uint8
    assert set(whole.attributes) == {"alphabet"}
    drawn = new(whole)
    channels: dict[str, set[int]] = {}
    for alphabet, drawings, source in drawn:
        assert len(set(source.tolist())) == len(drawings)
        for drawing, who in zip(drawings, source.tolist(), strict=True):
            channels.setdefault(alphabet, set()).add(int(drawing.amax((1, 2)).argmax()))
            # Of two people's drawings together the brighter would be 30 levels off or more, times 1.3.
            assert int(drawing.max()) == pytest.approx(min(255, 1.3 * 30 * (who - 9)), abs=15)
            assert int(drawing.amax((1, 2)).min()) == 0
    assert all(len(each) == 1 for each in channels.values())
    assert len(set.union(*channels.values())) == 2
    sizes = [len(classes) for name, classes in whole.groups("alphabet").items() if name.startswith("combined")]
    assert len(sizes) == 12
    assert max(sizes) <= 22


def test_the_seed_alone_says_what_is_made(data: ClassData) -> None:
    assert with_combinations(data, 5, seed=1).fingerprint == with_combinations(data, 5, seed=1).fingerprint
    assert with_combinations(data, 5, seed=1).fingerprint != with_combinations(data, 5, seed=2).fingerprint
    assert with_combinations(data, 0) is data


def test_characters_of_an_alphabet_differ(data: ClassData) -> None:
    by_person: dict[tuple[str, int], list[Tensor]] = {}
    for alphabet, drawings, source in new(with_combinations(data, 8)):
        for drawing, who in zip(drawings, source.tolist(), strict=True):
            by_person.setdefault((alphabet, who), []).append(drawing.float().flatten())
    nearest = [torch.pdist(torch.stack(drawings)).min() for drawings in by_person.values() if len(drawings) > 1]
    assert len(nearest) > 20
    assert min(nearest) > 0


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.0, 0.0), (0.75, 0.5, -0.25, 0.25), (0.5, 1.0, 0.5, 0.0)])
def test_a_piece_fills_its_box(box: tuple[float, float, float, float]) -> None:
    """A white image becomes the box: width and height as shares of the image's, about a centre."""
    width, height, x, y = box
    placed = combining._placed(torch.ones(1, 1, SIDE, SIDE), torch.tensor([box]))[0, 0]
    centres = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    inside = ((centres - y).abs() < height).unsqueeze(1) & ((centres - x).abs() < width)
    torch.testing.assert_close(placed.round(), inside.float())


def test_floats_stay_floats_and_lines_stay_visible(data: ClassData) -> None:
    thin = torch.zeros_like(data.inputs, dtype=torch.float32)
    thin[:, 0, 8] = 1.0
    whole = with_combinations(dataclasses.replace(data, inputs=thin), 8)
    brightest = whole.inputs.amax((1, 2, 3))
    assert whole.inputs.dtype == torch.float32
    assert brightest.max() <= 1
    assert brightest.min() > 0.6


def test_combined_twice(data: ClassData) -> None:
    twice = with_combinations(with_combinations(data, 2), 3)
    names = {name for name in twice.groups("alphabet") if name.startswith("combined")}
    assert names == {f"combined{i}" for i in range(5)}


def test_no_new_class_has_fewer_people_than_any_had(data: ClassData) -> None:
    whole = with_combinations(data, 12)
    assert int(whole.counts.min()) == int(data.counts.min()) == 5


def test_what_cannot_be_combined_is_refused(data: ClassData) -> None:
    with pytest.raises(InputError, match="needs images"):
        with_combinations(make_blobs(), 3, within="group")
    with pytest.raises(InputError, match="who drew what"):
        with_combinations(dataclasses.replace(data, source=None), 3)
    with pytest.raises(InputError, match="must be 0 or more"):
        with_combinations(data, -1)
    with pytest.raises(InputError, match="unknown attribute 'script'"):
        with_combinations(data, 1, within="script")
    with pytest.raises(InputError, match="no 'alphabet' has two classes"):
        with_combinations(data.subset([0, 7]), 1)
    with pytest.raises(InputError, match=r"numbers from 0 to 1, not torch\.float32, 0 to 180"):
        with_combinations(dataclasses.replace(data, inputs=data.inputs.float()), 1)
    with pytest.raises(InputError, match=r"not torch\.int64"):
        with_combinations(dataclasses.replace(data, inputs=data.inputs.long()), 1)
    strangers = dataclasses.replace(data, source=torch.arange(len(data)))
    with pytest.raises(InputError, match="no two classes of one 'alphabet' were drawn by the same 5 sources"):
        with_combinations(strangers, 1)
