from __future__ import annotations

from pathlib import Path

import pytest
import torch

import quickstudy.datasets as datasets
from quickstudy.datasets.glyphs import FACES
from quickstudy.errors import InputError


@pytest.fixture(scope="module")
def georgian() -> datasets.ClassData:
    return datasets.glyphs(scripts=("GEORGIAN", "COPTIC"), cache=False)


def test_shapes_and_names(georgian: datasets.ClassData) -> None:
    assert georgian.inputs.shape == (20 * len(georgian.classes), 1, 28, 28)
    assert georgian.inputs.dtype == torch.uint8
    assert len(georgian.classes) > 80
    assert georgian.counts.tolist() == [20] * len(georgian.classes)
    assert set(georgian.attributes["script"]) == {"GEORGIAN", "COPTIC"}
    assert set(georgian.attributes["case"]) <= {"upper", "lower", "none"}
    assert "GEORGIAN LETTER AN" in georgian.classes


def test_ink_is_white_on_black_and_in_every_picture(georgian: datasets.ClassData) -> None:
    ink = georgian.inputs.float().flatten(1) / 255
    assert float(ink.amax(1).min()) > 0.5
    assert 0.02 < float(ink.mean()) < 0.4
    edge = torch.cat([georgian.inputs[..., 0, :], georgian.inputs[..., -1, :]], -1).float()
    assert float(edge.mean()) < 4  # drawings stay inside, but for a few


def test_examples_come_from_several_faces(georgian: datasets.ClassData) -> None:
    assert georgian.source is not None
    assert int(georgian.source.max()) < len(FACES)
    for start in georgian.starts.tolist():
        assert len(set(georgian.source[start : start + 20].tolist())) >= 4


def test_drawings_depend_only_on_seed_and_character(georgian: datasets.ClassData) -> None:
    again = datasets.glyphs(scripts=("GEORGIAN",), examples=5, cache=False)
    other = datasets.glyphs(scripts=("COPTIC",), seed=1, cache=False)
    name = again.classes[3]
    start = int(georgian.starts[georgian.classes.index(name)])
    assert torch.equal(again.inputs[15:20], georgian.inputs[start : start + 5])
    coptic = georgian.subset([c for c in georgian.classes if c in other.classes])
    assert not torch.equal(other.inputs, coptic.inputs)


def test_no_two_drawings_of_a_class_are_equal(georgian: datasets.ClassData) -> None:
    assert len(torch.unique(georgian.inputs.flatten(1), dim=0)) == len(georgian)


def test_letters_that_look_alike_are_one_class() -> None:
    data = datasets.glyphs(size=8, examples=1, cache=False)
    names = set(data.classes)
    assert len(names) > 1500
    assert "LATIN CAPITAL LETTER A" in names
    for twin in ("GREEK CAPITAL LETTER ALPHA", "CYRILLIC CAPITAL LETTER A", "LATIN SMALL LETTER C", "KELVIN SIGN"):
        assert twin not in names
    train, val, test = data.split(by="script", seed=0)
    assert min(len(part.classes) for part in (train, val, test)) > 150
    scripts = [set(part.attributes["script"]) for part in (train, val, test)]
    assert not scripts[0] & scripts[1]
    assert not (scripts[0] | scripts[1]) & scripts[2]


def test_pixels_do_not_give_the_class_away(georgian: datasets.ClassData) -> None:
    """One-shot 5-way recognition by the nearest picture is far from solved."""
    pixels = georgian.inputs.flatten(1).float()
    generator = torch.Generator().manual_seed(0)
    right = []
    for _ in range(200):
        classes = torch.randperm(len(georgian.classes), generator=generator)[:5]
        rows = torch.stack([georgian.starts[c] + torch.randperm(20, generator=generator)[:6] for c in classes])
        nearest = torch.cdist(pixels[rows[:, 1:]].flatten(0, 1), pixels[rows[:, 0]]).argmin(1)
        right.append((nearest == torch.arange(5).repeat_interleave(5)).float().mean())
    assert 0.3 < float(torch.stack(right).mean()) < 0.65


def test_cache_is_used_and_a_damaged_one_is_made_again(isolated: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = datasets.glyphs(scripts=("COPTIC",), examples=2)
    (file,) = (isolated / "processed").glob("glyphs-*.safetensors")
    content = bytearray(file.read_bytes())
    assert datasets.glyphs(scripts=("COPTIC",), examples=2).fingerprint == first.fingerprint
    assert not caplog.records
    content[-1] ^= 1
    for damaged in (bytes(content), bytes(content[:100]), b"", b"\xff" * 50):
        file.write_bytes(damaged)
        assert datasets.glyphs(scripts=("COPTIC",), examples=2).fingerprint == first.fingerprint
        assert "made again" in caplog.text
        caplog.clear()


def test_unwritable_cache_costs_only_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocker))
    assert len(datasets.glyphs(scripts=("COPTIC",), examples=1)) > 0
    assert "could not be cached" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"size": 4}, "size"), ({"examples": 0}, "examples"), ({"scripts": ("GREK",)}, "did you mean 'GREEK'")],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        datasets.glyphs(**arguments)  # type: ignore[arg-type]
