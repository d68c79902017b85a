"""What all tests share: one thread, fixed random numbers, tiny tasks."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from tests.helpers.blobs import make_blobs

torch.set_num_threads(1)
# Warnings are errors, so each must come every time and not only the first.
torch.set_warn_always(True)
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def glyph_cache(tmp_path_factory) -> Iterator[None]:
    """Render glyphs once for all tests, into a cache of their own that parallel workers share."""
    patch = pytest.MonkeyPatch()
    own = tmp_path_factory.getbasetemp()
    patch.setenv("XDG_CACHE_HOME", str((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"))
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _real_data(monkeypatch) -> None:
    """Look for real data where QUICKSTUDY_DATA says, else beside the project."""
    if "QUICKSTUDY_DATA" not in os.environ and SHARED.is_dir():
        monkeypatch.setenv("QUICKSTUDY_DATA", str(SHARED))


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    """Start every test from the same random state, and put back the default dtype."""
    torch.manual_seed(0)
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


@pytest.fixture(scope="session")
def runs(glyph_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with tiny runs of the command: protonet, maml, finetune and sinusoid."""
    from quickstudy.cli import main

    folder = tmp_path_factory.mktemp("runs")
    glyphs = ["--hidden", "8", "--queries", "4", "--validate-every", "20", "--meta-batch", "2", "--device", "cpu"]
    for name, options in {
        "protonet": ["glyphs-protonet", "--steps", "20", "--train-ways", "5", *glyphs],
        "maml": ["glyphs-maml", "--steps", "20", *glyphs],
        "finetune": ["glyphs-finetune", "--steps", "20", *glyphs],
        "sinusoid": ["sinusoid-maml", "--steps", "20", "--compile", "False", "--device", "cpu"],
    }.items():
        assert main(["train", *options, "--run-dir", str(folder / name)]) == 0
    return folder


@pytest.fixture
def float64() -> Iterator[None]:
    """Make float64 the default dtype, for comparisons to rounding error."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def blobs() -> qs.datasets.ClassData:
    """Return 12 classes of 10 points each in 4 dimensions, in three groups, from two sources."""
    return make_blobs()
