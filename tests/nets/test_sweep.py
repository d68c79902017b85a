"""Nets of torchvision and timm: as with plain PyTorch, or refused by a message that names the layer."""

from __future__ import annotations

import json

import pytest

from tests.nets import sweep

NETS = sweep.nets()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(NETS) or ["none"])
def test_nets_of_other_libraries(name: str) -> None:
    if name not in NETS:
        pytest.skip("neither torchvision nor timm is installed; pip install quickstudy[nets]")
    row = sweep.judged(NETS[name])
    assert sweep.right(row), row


def test_what_is_kept_is_right() -> None:
    rows = json.loads(sweep.KEPT.read_text())
    assert len(rows) >= 30
    assert [name for name, row in rows.items() if not sweep.right(row)] == []
