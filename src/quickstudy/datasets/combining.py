"""Further alphabets, made of the characters of one: bases with small marks, and pairs."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.datasets.base import ClassData, as_images
from quickstudy.errors import InputError
from quickstudy.registry import register

CHARACTERS = 22
"""Of each new alphabet, at most: some more than the 20 that tasks of Omniglot have."""
PLACES = tuple((x, y) for y in (-0.65, 0.0, 0.65) for x in (-0.65, 0.0, 0.65))
"""Where small marks stand: centres, -1 to 1."""
SHAKE = 0.08
"""Furthest that the second piece is moved in one drawing, along each side, of half a side."""


class Piece(NamedTuple):
    """One character within a new one: its class, its size as a share of the image's, and its centre, -1 to 1."""

    label: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0


Character = tuple[Piece, Piece | None]


@register("dataset")
def with_combinations(data: ClassData, groups: int, within: str = "alphabet", seed: int = 0) -> ClassData:
    """Return drawings and, beside them, further groups whose characters are put together from those of one group.

    About half of the new groups have a few bases, each with a small other character at one of a few places, or with
    none, as vowels or tones are written; the others have pairs side by side, or one above the other. Many of their
    characters differ by one piece alone, so learners must look closely. Each new drawing is made of drawings by one
    source, and no new group has pieces from two groups, so that a split by group stays one if it is made first:
    combine each part afterwards.

    Args:
        data: drawings (M, channels, height, width), bright on dark, uint8 or from 0 to 1, which know their sources.
        groups: how many to make, of up to 22 classes each. A new class has no fewer sources than that of `data` with
            the fewest; pieces that fewer have drawn both are not put together. With 0, `data` itself is returned.
        within: attribute whose values are groups.
        seed: new groups are a pure function of the data and this number.

    Returns:
        The classes of `data`, then the new ones, with groups such as 'combined3'. Of attributes only `within` is kept,
            and no targets.

    Raises:
        InputError: data are no images, of other numbers, do not know their sources, have no such attribute, or nothing
            that can be combined.

    Examples:
        >>> images, classes, people = torch.rand(12, 1, 8, 8), torch.arange(12) // 6, torch.arange(12) % 6
        >>> data = ClassData(images, classes, ("b", "d"), attributes={"alphabet": ("Latin", "Latin")}, source=people)
        >>> with_combinations(data, groups=1).attributes["alphabet"][:3]
        ('Latin', 'Latin', 'combined0')
    """
    images = as_images(data, "combining needs")
    if data.source is None:
        raise InputError("combining needs data that know who drew what (ClassData.source)")
    if groups < 0:
        raise InputError(f"groups must not be negative, not {groups}")
    if images.dtype != torch.uint8:
        low, high = (float(each) for each in images.aminmax()) if len(data) else (0.0, 1.0)
        if not images.is_floating_point() or not 0 <= low <= high <= 1:
            raise InputError(f"combining needs uint8 or numbers from 0 to 1, not {images.dtype}, {low:g} to {high:g}")
    if not groups:
        return data
    members = [group for group in data.groups(within).values() if len(group) > 1]
    if not members:
        raise InputError(f"no '{within}' has two classes or more; combining needs two in one")
    chance, fewest = Random(seed), int((data.rows_by_source >= 0).sum(1).min())
    plans = [_planned(data.rows_by_source, chance.choice(members), fewest, chance) for _ in range(groups)]
    before = sum(name.startswith("combined") for name in data.groups(within))
    homes = [f"combined{before + number}" for number, plan in enumerate(plans) for _ in plan]
    plan = [each for plan in plans for each in plan]
    if not plan:
        raise InputError(
            f"no two classes of one '{within}' were drawn by the same {fewest} sources; combine fuller data"
        )
    rows = torch.cat([rows for _, rows in plan])
    counts = torch.tensor([len(rows) for _, rows in plan])
    corners = [[each[1:] if each else (1.0, 1.0, 0.0, 0.0) for each in pieces] for pieces, _ in plan]
    boxes = torch.tensor(corners, dtype=torch.float32)
    boxes = boxes.repeat_interleave(counts, 0)
    shake = torch.rand(len(rows), 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float32) * 2 - 1
    room = 1 - boxes[:, 1, :2]
    boxes[:, 1, 2:] = (boxes[:, 1, 2:] + SHAKE * shake).clamp(-room, room)
    where = images.device
    labels = torch.arange(len(plan)).repeat_interleave(counts) + len(data.classes)
    return ClassData(
        inputs=torch.cat([images, _drawn(images, rows.to(where), boxes.to(where))]),
        labels=torch.cat([data.labels.long(), labels.to(data.labels.device)]),
        classes=(*data.classes, *(f"{home}/{number}" for number, home in enumerate(homes))),
        name=data.name,
        attributes={within: (*data.attributes[within], *homes)},
        source=torch.cat([data.source, data.source[rows[:, 0].to(data.source.device)]]),
    )


def _planned(rows: Tensor, group: list[int], fewest: int, chance: Random) -> list[tuple[Character, Tensor]]:
    """Return the characters of a new alphabet and for each the rows (drawings, 2) of its pieces, -1 for none."""
    order = chance.sample(group, len(group))
    characters = (_marked if chance.random() < 0.5 else _paired)(order, chance)
    chance.shuffle(characters)
    found: list[tuple[Character, Tensor]] = []
    for one, other in characters:
        pair = torch.stack([rows[one.label], rows[other.label] if other else torch.full_like(rows[0], -1)], 1)
        drawn = pair[(pair[:, 0] >= 0) & ((pair[:, 1] >= 0) if other else True)]
        if len(drawn) >= fewest:
            found.append(((one, other), drawn))
        if len(found) == CHARACTERS:
            break
    return found


def _marked(order: list[int], chance: Random) -> list[Character]:
    """Return bases, and each of them with each of some marks at each of some places."""
    bases = order[: min(chance.choice((1, 2, 3, 5, 8)), len(order) - 1)]
    marks = order[len(bases) :][: max(3, CHARACTERS // len(bases))]
    places = chance.sample(PLACES, chance.randint(1, 5))
    size = chance.uniform(0.3, 0.5)
    alone = [(Piece(base, 0.8, 0.8), None) for base in bases]
    small = [Piece(mark, size, size, *place) for mark in marks for place in places]
    return alone + [(Piece(base, 0.75, 0.75), mark) for base in bases for mark in small]


def _paired(order: list[int], chance: Random) -> list[Character]:
    """Return pairs of one of a few characters with one of some others, in one direction."""
    first = order[: min(chance.randint(1, 6), len(order) - 1)]
    second = order[len(first) :][: max(8, CHARACTERS // len(first))]
    beside = chance.random() < 0.5

    def half(label: int, centre: float) -> Piece:
        return Piece(label, 0.55, 0.9, centre) if beside else Piece(label, 0.9, 0.55, 0.0, centre)

    return [(half(one, -0.45), half(other, 0.45)) for one in first for other in second]


def _drawn(inputs: Tensor, rows: Tensor, boxes: Tensor) -> Tensor:
    """Return new drawings (n, C, H, W), of rows (n, 2) of their pieces and boxes (n, 2, 4): width, height, x, y."""
    whole = 255.0 if inputs.dtype == torch.uint8 else 1.0
    kind = torch.float32 if inputs.dtype == torch.uint8 else inputs.dtype
    found = []
    for part, box in zip(torch.split(rows, 1024), torch.split(boxes, 1024), strict=True):
        new = _placed(inputs[part[:, 0]].to(kind) / whole, box[:, 0])
        new = torch.maximum(
            new, _placed(inputs[part[:, 1]].to(kind) / whole, box[:, 1]) * (part[:, 1] >= 0).view(-1, 1, 1, 1)
        )
        found.append((new * whole).round().to(inputs.dtype) if whole > 1 else new.to(inputs.dtype))
    return torch.cat(found)


def _placed(images: Tensor, boxes: Tensor) -> Tensor:
    """Return images (n, C, H, W) shrunk into boxes (n, 4), with lines that stay visible."""
    # Lines a pixel wide would vanish in boxes half the size, so these shrink bolder ones; all get a little brighter.
    small = (boxes[:, :2].amin(1) < 0.67).view(-1, 1, 1, 1)
    images = torch.where(small, F.max_pool2d(images, 3, 1, 1), images)
    # Two readings a pixel along each side.
    sides = [
        (torch.arange(2 * size, device=boxes.device, dtype=boxes.dtype) + 0.5) / size - 1
        for size in (images.shape[3], images.shape[2])
    ]
    x, y = ((side - boxes[:, 2 + i, None]) / boxes[:, i, None] for i, side in enumerate(sides))
    grid = (len(boxes), y.shape[1], x.shape[1])
    places = torch.stack([x.unsqueeze(1).expand(grid), y.unsqueeze(2).expand(grid)], 3).to(images.dtype)
    return (1.3 * F.avg_pool2d(F.grid_sample(images, places, align_corners=False), 2)).clamp(0, 1)
