"""Walk through a folder as through an archive: links are followed, and nothing but plain files is ever opened."""

from __future__ import annotations

import os
from pathlib import Path

from quickstudy.datasets.reading.limits import Check, Limits
from quickstudy.errors import DataError


def walk(root: Path, limits: Limits) -> tuple[list[str], list[str], list[str]]:
    """Return the plain files, the folders and the broken links below a folder, each in order of their names.

    Links to files and folders count as these, as for torchvision's ImageFolder. Pipes, sockets and devices are left
    out.

    Args:
        root: the folder.
        limits: `count` and `empty` bound how long it takes.

    Raises:
        DataError: a link leads back to a folder that holds it, a folder cannot be read, or there is too much.
    """
    files: list[str] = []
    folders: list[str] = []
    broken: list[str] = []
    check = Check(root, limits)
    # The folders above, by which a link back is known; two links to one folder elsewhere are fine.
    whole = root.resolve()
    waiting = [("", tuple(_identity(each) for each in (whole, *whole.parents)))]
    while waiting:
        inside, above = waiting.pop()
        try:
            with os.scandir(root / inside) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{root / inside} cannot be read ({error.strerror}); change its permissions") from error
        for entry in found:
            name = f"{inside}/{entry.name}" if inside else entry.name
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:  # a link to itself
                raise DataError(f"link {root / name} leads nowhere ({error.strerror}); mend or remove it") from error
            if is_folder:
                identity = _identity(root / name)
                if identity in above:
                    raise DataError(f"link {root / name} leads back to a folder that holds it; remove it")
                check.found(entry.name, 0)
                folders.append(name)
                waiting.append((name, (*above, identity)))
            elif is_file:
                check.found(entry.name, 1)
                files.append(name)
            elif entry.is_symlink() and not os.path.exists(entry.path):
                broken.append(name)
    return sorted(files), sorted(folders), sorted(broken)


def _identity(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
