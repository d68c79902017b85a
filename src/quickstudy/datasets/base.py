"""The common form of all data sets: examples in memory, grouped by class.

Shapes: M examples in all, C classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from quickstudy.datasets.splitting import chosen, divided, groups_of
from quickstudy.errors import InputError, unknown_name
from quickstudy.functional.checks import check_tree, row_shapes
from quickstudy.functional.names import composed
from quickstudy.functional.remembered import Made
from quickstudy.operators import trees
from quickstudy.registry import TABLES, Entry, register


@dataclass(frozen=True)
class ClassData:
    """Examples in memory, sorted by class, with what is known about classes and examples.

    Args:
        inputs: (M, ...) tensor, or a pytree of such tensors, say a dict of token ids and their mask or a tuple of an
            image and a sound: every tensor has M rows. A net is given a dict as keyword arguments, a tuple as
            positional ones. Images are (M, channels, height, width); `uint8` tensors stay so in memory and become
            floats in [0, 1] when a task is drawn. All others keep their dtype, so masks are Booleans and token ids
            are of another integer type.
        labels: (M,) integer class of each example, 0..C-1.
        classes: C names, unique.
        name: how results name the data.
        attributes: for each attribute (say 'script' or 'alphabet') its value for each of the C classes.
        source: (M,) integer telling who or what made an example (a drawer, a font face, a camera), or None.
        targets: (M, ...) dense targets such as segmentation masks, or None.
        origin: where the data, or those that they are a part of, come from, as JSON; empty where nobody said. See
            `datasets.read`.

    Raises:
        InputError: shapes disagree, a label is out of range, a class has no example, names repeat, or inputs hold
            NaN or infinity (the message names the tensor by its path in the pytree).
    """

    inputs: Any
    labels: Tensor
    classes: tuple[str, ...]
    name: str = "data"
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: Tensor | None = None
    targets: Tensor | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = check_tree(self.inputs)
        for key in ("labels", "source", "targets"):
            value = getattr(self, key)
            if not isinstance(value, Tensor) and (value is not None or key == "labels"):
                kind = type(value).__name__
                raise InputError(f"{key} must be a tensor, not {kind}; datasets.arrays(X, y) takes lists and arrays")
            if value is not None and len(value) != rows:
                raise InputError(f"{key} has {len(value)} rows and inputs {rows}; give one per example")
        if self.labels.ndim != 1 or self.labels.dtype.is_floating_point:
            raise InputError(f"labels must be (M,) integers, not {tuple(self.labels.shape)} of {self.labels.dtype}")
        for name in self.classes:
            if not isinstance(name, str):
                raise InputError(f"class names must be strings, not {type(name).__name__}; use str(...)")
        # Names are compared in one spelling from here on.
        if not all(name.isascii() for name in self.classes):
            object.__setattr__(self, "classes", tuple(map(composed, self.classes)))
        if len(set(self.classes)) != len(self.classes):
            twice = next(name for place, name in enumerate(self.classes) if name in self.classes[:place])
            raise InputError(f"class names repeat, such as '{twice}'; each class needs a name of its own")
        for key, values in self.attributes.items():
            if len(values) != len(self.classes):
                raise InputError(f"attribute '{key}' has {len(values)} values for {len(self.classes)} classes")
        if rows and (int(self.labels.min()) < 0 or int(self.labels.max()) >= len(self.classes)):
            raise InputError(f"labels must lie in 0..{len(self.classes) - 1}, the number of class names less one")
        for path, leaf in trees.named_leaves(self.inputs):
            if leaf.dtype.is_floating_point and not torch.isfinite(leaf).all():
                bad = int((~torch.isfinite(leaf).reshape(rows, -1)).any(1).nonzero()[0])
                raise InputError(
                    f"inputs{path} hold NaN or infinity, first in example {bad}; clean or drop such examples"
                )
        counts = torch.bincount(self.labels.long(), minlength=len(self.classes))
        if len(self.classes) and int(counts.min()) == 0:
            raise InputError(f"class '{self.classes[int(counts.argmin())]}' has no example; leave it out of classes")
        # Sorted rows make a class a contiguous range, so that drawing an example is arithmetic and one gather.
        if rows and bool((self.labels[1:] < self.labels[:-1]).any()):
            order = torch.argsort(self.labels, stable=True)
            for key in ("inputs", "labels", "source", "targets"):
                value = getattr(self, key)
                if value is not None:
                    object.__setattr__(self, key, trees.map_leaves(lambda leaf: leaf[order.to(leaf.device)], value))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"ClassData({self.name}: {len(self)} examples of shape {row_shapes(self.inputs)}, "
            f"{len(self.classes)} classes, attributes {sorted(self.attributes)})"
        )

    @cached_property
    def counts(self) -> Tensor:
        """(C,) number of examples of each class."""
        return torch.bincount(self.labels.long(), minlength=len(self.classes))

    @cached_property
    def starts(self) -> Tensor:
        """(C,) row at which each class begins."""
        return torch.cumsum(self.counts, 0) - self.counts

    @cached_property
    def rows_by_source(self) -> Tensor:
        """(C, sources) the last row of each class from each source, in the order of their numbers, -1 for none.

        Raises:
            InputError: the data do not know their sources.
        """
        if self.source is None:
            raise InputError(f"the data '{self.name}' do not know their sources; give ClassData.source")
        kinds, columns = torch.unique(self.source.cpu(), return_inverse=True)
        rows = torch.full((len(self.classes) * len(kinds),), -1)
        # The greatest: of repeated places, which one an assignment leaves is undefined.
        rows.scatter_reduce_(0, self.labels.cpu().long() * len(kinds) + columns, torch.arange(len(self)), "amax")
        return rows.view(len(self.classes), len(kinds))

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of contents and class names: test banks and runs store it to notice that data changed.

        The order in which a dict of inputs was made does not matter.
        """
        digest = hashlib.sha256("\0".join(self.classes).encode("utf-8", "surrogatepass"))
        hash_inputs(digest, self.inputs)
        for value in (self.labels, self.source, self.targets):
            if value is not None:
                digest.update(bytes_of(value))
        return digest.hexdigest()[:16]

    def subset(self, classes: Sequence[int] | Sequence[str], name: str | None = None) -> ClassData:
        """Return the data of these classes (indices or names), relabelled 0.. in the order given.

        Raises:
            InputError: there is no such class, or one is named twice.
        """
        picked = chosen(classes, self.classes, "class", "classes")
        rows = [torch.arange(int(self.starts[c]), int(self.starts[c] + self.counts[c])) for c in picked]
        index = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.long)
        new = torch.repeat_interleave(torch.arange(len(picked)), self.counts.cpu()[picked]).to(self.labels)
        found = ClassData(
            inputs=trees.map_leaves(lambda leaf: leaf[index.to(leaf.device)], self.inputs),
            labels=new,
            classes=tuple(self.classes[c] for c in picked),
            name=name or self.name,
            attributes={key: tuple(values[c] for c in picked) for key, values in self.attributes.items()},
            source=None if self.source is None else self.source[index.to(self.source.device)],
            targets=None if self.targets is None else self.targets[index.to(self.targets.device)],
            origin=self.origin,
        )
        made_of(found, self, "subset", {"classes": [self.classes[c] for c in picked], "name": name})
        return found

    def split(
        self,
        by: str | None = None,
        fractions: Sequence[float] = (0.64, 0.16, 0.20),
        seed: int = 0,
        classes: Sequence[Sequence[str]] | None = None,
    ) -> tuple[ClassData, ...]:
        """Split into meta-train, -validation and -test data with disjoint classes.

        Args:
            by: keep classes with the same value of this attribute together (say, whole alphabets); None splits
                classes one by one.
            fractions: share of the classes in each part.
            seed: the split is a pure function of the class names and this number.
            classes: explicit lists of class names instead; overlapping ones are refused.

        Raises:
            InputError: lists overlap, the attribute is unknown, or a part would be empty.
        """
        if classes is not None:
            seen: set[str] = set()
            for part in classes:
                names = set(map(composed, part))
                if seen & names:
                    raise InputError(
                        f"class '{min(seen & names)}' is in two parts of the split; parts must be disjoint"
                    )
                seen |= names
            parts = tuple(self.subset(list(part)) for part in classes)
        else:
            places = divided(self.classes if by is None else self._values(by), fractions, seed, by or "class")
            parts = tuple(self.subset(sorted(part)) for part in places)
        how = {"by": by, "fractions": fractions, "seed": seed, "classes": classes, "count": len(parts)}
        for number, each in enumerate(parts):
            made_of(each, self, "part_of_split", {**how, "number": number})
        return parts

    def groups(self, attribute: str) -> dict[str, list[int]]:
        """Return the classes (indices) of each value of an attribute, values in alphabetical order.

        Raises:
            InputError: the data have no such attribute.
        """
        return groups_of(self._values(attribute))

    def _values(self, attribute: str) -> tuple[str, ...]:
        if attribute not in self.attributes:
            raise unknown_name("attribute", attribute, self.attributes)
        return self.attributes[attribute]

    def to(self, device: torch.device | str) -> ClassData:
        """Return the data with all tensors on a device."""

        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device)

        moved = replace(
            self,
            inputs=trees.map_leaves(lambda leaf: leaf.to(device), self.inputs),
            labels=self.labels.to(device),
            source=move(self.source),
            targets=move(self.targets),
        )
        if "config" in vars(self):
            object.__setattr__(moved, "config", vars(self)["config"])
        return moved

    def map(self, function: Callable[[Any], Any]) -> ClassData:
        """Return the data with `function` applied to all inputs at once, say to resize or normalise them.

        Where inputs are a pytree, the function takes and returns the pytree.
        """
        return replace(self, inputs=function(self.inputs))


def made_of(data: ClassData, whole: ClassData, how: str, arguments: dict[str, Any]) -> None:
    """Note how data were made of others, so that a run folder can name them (`registry.describe`) and they can be made
    again. Nothing is noted where the others do not say how they were made."""
    config = vars(whole).get("config")
    if config is not None:
        # Not the others themselves, which would stay in memory.
        object.__setattr__(data, "config", {"dataset": how, "arguments": {"data": Made(config), **arguments}})


def subset(data: ClassData, classes: Sequence[str], name: str | None) -> ClassData:
    """Return `data.subset(classes, name)`."""
    return data.subset(list(classes), name)


def part_of_split(data: ClassData, number: int, count: int, **how: Any) -> ClassData:
    """Return part `number` of `data.split(...)`, which has `count` parts."""
    return data.split(**how)[number]


# Not recorded as calls: the methods describe what they return.
TABLES["dataset"] |= {each.__name__: Entry(each.__name__, each) for each in (subset, part_of_split)}


def bytes_of(value: Tensor) -> bytes:
    """Return the bytes of a tensor."""
    return value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def digests(data: ClassData) -> tuple[str, ...]:
    """Return a short hash of what each class holds, whatever its name and the order of its examples: a class that was
    trained on is known again under another name. Empty where the inputs of an example are several tensors."""
    if not isinstance(data.inputs, Tensor) or not len(data):
        return ()
    rows = data.inputs.cpu().contiguous().flatten(1).view(torch.uint8).numpy()
    found = []
    for start, count in zip(data.starts.tolist(), data.counts.tolist(), strict=True):
        each = sorted(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows[start : start + count])
        found.append(hashlib.blake2b(b"".join(each), digest_size=8).hexdigest())
    return tuple(found)


def hash_inputs(digest: Any, inputs: Any) -> None:
    """Add a tensor's bytes, or the paths, shapes and bytes of a pytree's tensors, to a hash."""
    for path, leaf in sorted(trees.named_leaves(inputs)):
        # Nothing but its bytes for a single tensor: banks of such data are stored with this hash.
        if path:
            digest.update(f"\0{path} {leaf.dtype} {tuple(leaf.shape)}\0".encode())
        digest.update(bytes_of(leaf))


def as_images(data: ClassData, what: str) -> Tensor:
    """Return the images (M, channels, height, width) of data, or raise InputError with a message that begins so."""
    if isinstance(data.inputs, Tensor) and data.inputs.ndim == 4:
        return data.inputs
    found = tuple(data.inputs.shape) if isinstance(data.inputs, Tensor) else row_shapes(data.inputs)
    alone = "" if isinstance(data.inputs, Tensor) else "; take the images alone, with data.map(...), and add the rest"
    raise InputError(f"{what} images (M, channels, height, width), not {found}{alone}")


@register("dataset")
def with_rotations(data: ClassData, turns: Sequence[int] = (0, 1, 2, 3)) -> ClassData:
    """Return image data in which each class rotated by a multiple of 90 degrees is a class of its own.

    The usual augmentation of Omniglot (Santoro et al. 2016, section 4.1). Names gain a suffix such as '@90'.
    Rotations of one class stay on one side of a split only if the split is made first: rotate each part afterwards.
    """
    images = as_images(data, "rotations need")
    inputs = torch.cat([torch.rot90(images, turn, (-2, -1)) for turn in turns])
    labels = torch.cat([data.labels + len(data.classes) * i for i in range(len(turns))])
    return ClassData(
        inputs=inputs,
        labels=labels,
        classes=tuple(f"{name}@{90 * turn}" if turn else name for turn in turns for name in data.classes),
        name=data.name,
        attributes={key: tuple(values) * len(turns) for key, values in data.attributes.items()},
        source=None if data.source is None else data.source.repeat(len(turns)),
        origin=data.origin,
    )
