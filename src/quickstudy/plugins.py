"""Methods, nets, data sets, objectives and recipes in files of one's own: importing them, and naming those a run needs.

A run folder names the files that hold what it is made of. Nothing imports them because a folder says so: a file is
imported where a user asks for it, by `--import FILE` or `import_file`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from quickstudy.errors import CheckpointError, InputError
from quickstudy.registry import TABLES, build, describe

IMPORTED: dict[str, ModuleType] = {}
"""The modules of the files that were imported, by the files' absolute paths."""


def import_file(path: str | Path) -> ModuleType:
    """Import a Python file that registers something, once.

    Args:
        path: the file. Its folder joins the places that imports look in, as for `python FILE`.

    Raises:
        InputError: there is no such file, it is not Python, or importing it fails.
    """
    file = Path(path).expanduser().absolute()
    if str(file) in IMPORTED:
        return IMPORTED[str(file)]
    if not file.is_file():
        raise InputError(f"--import {path}: there is no such file; give a Python file that registers your own parts")
    name = file.stem if file.stem.isidentifier() and file.stem not in sys.modules else f"plugin_{_digest(file)[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"--import {path}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    # In the table before it runs, as dataclasses look their module up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in _frames(error) if frame.path == str(file)]
        where = f", line {lines[-1]}" if lines else ""
        raise InputError(f"--import {path}{where}: {type(error).__name__}: {error}") from error
    IMPORTED[str(file)] = module
    return module


class _Frame:
    def __init__(self, path: str, lineno: int) -> None:
        self.path, self.lineno = path, lineno


def _frames(error: BaseException) -> Iterator[_Frame]:
    if isinstance(error, SyntaxError) and error.filename:
        yield _Frame(error.filename, error.lineno or 0)
    trace = error.__traceback__
    while trace is not None:
        yield _Frame(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def needed(*values: Any) -> list[dict[str, Any]]:
    """Return the files outside of the library that hold what objects are made of, for a run's description.

    Args:
        values: objects that `registry.describe` takes.

    Returns:
        For each file its path, the SHA-256 of its content, and the names that it registers.
    """
    files: dict[str, set[str]] = {}
    for value in values:
        for kind, name in _named(describe(value)):
            entry = TABLES.get(kind, {}).get(name)
            file = None if entry is None else _file_of(entry.build)
            if file is not None:
                files.setdefault(file, set()).add(f"{kind} '{name}'")
    return [
        {"path": path, "sha256": _digest(Path(path)), "names": sorted(names)} for path, names in sorted(files.items())
    ]


def _named(description: Any) -> Iterator[tuple[str, str]]:
    if isinstance(description, list):
        for item in description:
            yield from _named(item)
    elif isinstance(description, dict):
        for key, item in description.items():
            if key in TABLES and isinstance(item, str):
                yield key, item
            elif isinstance(item, str) and key == "custom":
                continue
            else:
                yield from _named(item)
    elif isinstance(description, str) and description in TABLES.get("objective", {}):
        yield "objective", description


def _file_of(build: Any) -> str | None:
    """Return the file that defines an object, unless it belongs to the library or is no file."""
    module = sys.modules.get(getattr(build, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is None or module.__name__.partition(".")[0] == "quickstudy" or file is None:
        return None
    return str(Path(file).absolute()) if Path(file).is_file() else None


def learner_of_run(run: Mapping[str, Any], where: object) -> Any:
    """Build the learner that a run's description names.

    Where that holds what is not registered, an imported file may define `learner()`, which builds the learner as for
    training.

    Args:
        run: contents of run.json.
        where: how messages call the run.

    Raises:
        CheckpointError: the learner cannot be built; the message names the files to import.
        InputError: the same, for a name that no file of the run's explains.
    """
    try:
        return build(run["learner"])
    except (CheckpointError, InputError) as error:
        for module in IMPORTED.values():
            made = getattr(module, "learner", None)
            if callable(made) and not isinstance(made, type):
                return made()
        raise say_what_to_import(run, error, where) from error


def say_what_to_import(run: Mapping[str, Any], error: Exception, where: object) -> Exception:
    """Return an error that names the files that a run needs and that are not imported; else the error itself."""
    listed = run.get("imports")
    lacking = [
        each
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict) and isinstance(each.get("path"), str) and each["path"] not in IMPORTED
    ]
    if not lacking:
        return error
    names = ", ".join(str(name) for each in lacking for name in each.get("names", ()))
    options = " ".join(f"--import {each['path']}" for each in lacking)
    return CheckpointError(
        f"{where} needs {names}, of a file of its maker's own; look at the file, and import it: {options} (in Python: "
        "quickstudy.plugins.import_file)"
    )


def changed(run: Mapping[str, Any]) -> list[str]:
    """Return the paths of the imported files whose content is not what it was when a run began."""
    listed = run.get("imports")
    found = []
    for each in listed if isinstance(listed, list) else ():
        path = each.get("path") if isinstance(each, dict) else None
        if isinstance(path, str) and path in IMPORTED and each.get("sha256") != _digest(Path(path)):
            found.append(path)
    return found
