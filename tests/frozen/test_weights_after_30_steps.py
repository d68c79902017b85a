"""Recipes as unlike as possible train to the weights that they trained to when `record.py` wrote them down."""

import json
from typing import Any

import pytest

from tests.frozen import record

STORED = json.loads((record.HERE / "weights_after_30_steps.json").read_text())


def need_the_same_glyphs(name: str) -> None:
    """Skip a test of glyphs where they are drawn otherwise: on another machine, never on that of the files."""
    runs = json.loads((record.HERE / "runs.json").read_text())
    if name.startswith("glyphs") and record.machine() != runs["machine"] and record.fingerprint() != runs["glyphs"]:
        pytest.skip("other fonts or vector instructions draw other glyphs")


def agree(found: dict[str, Any], stored: dict[str, Any], machine: dict[str, Any]) -> None:
    """Compare weights: to the last bit on the machine that they are of, and within rounding errors on any.

    With other vector instructions or two threads, sums and norms differ by up to 1.4e-4 of the norm after 30 steps.
    """
    assert list(found["tensors"]) == list(stored["tensors"])
    for name, (total, norm) in stored["tensors"].items():
        near = {"rel": 0, "abs": 1e-6 + 1e-3 * max(norm, abs(total))}
        assert found["tensors"][name] == [pytest.approx(total, **near), pytest.approx(norm, **near)], name
    if machine == record.machine():
        assert found["sha256"] == stored["sha256"]


@pytest.mark.usefixtures("glyph_cache")
@pytest.mark.parametrize("name", sorted(record.RECIPES))
def test_a_recipe_trains_as_ever(name: str) -> None:
    need_the_same_glyphs(name)
    found, stored = record.trained(name), STORED["recipes"][name]
    # A run folder is gone on with only where its description is the same.
    assert found["described"] == stored["described"]
    agree(found, stored, STORED["machine"])


def test_all_of_them_are_kept() -> None:
    assert sorted(STORED["recipes"]) == sorted(record.RECIPES)
