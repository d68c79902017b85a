"""Which real data are here: tests that need them are skipped where they are not."""

import pytest

from quickstudy.datasets.reading.files import data_folders


def require(name: str) -> None:
    """Skip the test unless a data folder holds something of a data set."""
    # A failed download may leave an empty folder.
    if not any(any(path.is_file() for path in (folder / name).glob("*")) for folder in data_folders()):
        pytest.skip(f"no {name}: set QUICKSTUDY_DATA to a folder that holds it")
