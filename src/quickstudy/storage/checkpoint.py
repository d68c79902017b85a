"""Run folders and checkpoints: safetensors and plain JSON, written atomically, read without unpickling.

A checkpoint is one safetensors file: tensors by name, and JSON in its header. So it is either whole or absent, and
reading it can run no code. A run folder holds:

    run.json            the run: learner, outer optimiser, tasks, settings, environment, library version
    classes.json        the class split: names of meta-training and meta-validation classes
    metrics.csv         one row per logged step
    last.safetensors    everything that training needs to continue
    best.safetensors    the learner at its best validation
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from quickstudy.core import Learner
from quickstudy.errors import CheckpointError
from quickstudy.plugins import learner_of_run

VERSION = 1
LAST, BEST, RUN = "last.safetensors", "best.safetensors", "run.json"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a kill or a full disk leaves either the old content or the new, never a part.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile's: its files are private, and a run folder is for everybody whom the umask lets in.
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def remove_unfinished(folder: Path) -> None:
    """Remove files that a kill in the middle of `write_atomically` left in a run folder."""
    for name in (LAST, BEST, RUN, "classes.json", "metrics.csv"):
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> CheckpointError:
    """Return the error that says why a file could not be written, and what to do."""
    if error.errno == errno.ENOSPC:
        return CheckpointError(f"disk full while writing {path}; free space and resume: the old content is intact")
    return CheckpointError(f"cannot write {path}: {error.strerror}; choose a folder that you may write to")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        CheckpointError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; is {path.parent} a run folder?") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def flatten(value: Any, prefix: str = "") -> tuple[dict[str, Tensor], Any]:
    """Split a nested dict/list into tensors by path and JSON with references to them."""
    if isinstance(value, Tensor):
        return {prefix: value.detach().cpu().contiguous().clone()}, {"tensor": prefix}
    if isinstance(value, dict):
        tensors: dict[str, Tensor] = {}
        items = []
        for key, item in value.items():
            inner, rest = flatten(item, f"{prefix}/{key}")
            tensors.update(inner)
            items.append([key, rest])
        return tensors, {"dict": items}
    if isinstance(value, (list, tuple)):
        tensors = {}
        rows = []
        for index, item in enumerate(value):
            inner, rest = flatten(item, f"{prefix}/{index}")
            tensors.update(inner)
            rows.append(rest)
        return tensors, {"list": rows}
    return {}, {"value": value}


def unflatten(tensors: dict[str, Tensor], tree: Any) -> Any:
    """Undo `flatten`; tuples come back as lists."""
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "dict" in tree:
        return {key: unflatten(tensors, item) for key, item in tree["dict"]}
    if "list" in tree:
        return [unflatten(tensors, item) for item in tree["list"]]
    return tree["value"]


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a nested dict of tensors and JSON values as one safetensors file, atomically."""
    tensors, tree = flatten(content)
    # One entry only: safetensors writes several in an order that changes, and equal content should be equal bytes.
    facts = {"version": VERSION, "tree": json.dumps(tree)}
    write_atomically(path, save(tensors, {"checkpoint": json.dumps(facts)}))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Raises:
        CheckpointError: missing, truncated, corrupt, or of another version.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; the run has no checkpoint yet")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("checkpoint", "{}"))
            version = facts.get("version")
            if version != VERSION:
                raise CheckpointError(
                    f"{path} has checkpoint version {version}, this library reads {VERSION}; use the library version "
                    "that wrote it (see run.json)"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = unflatten(tensors, json.loads(facts["tree"]))
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is truncated or corrupt ({error}); restore it, or train again with resume=False"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a checkpoint of this library")
    return content


def load_weights(learner: Learner, weights: dict[str, Tensor], path: Path) -> None:
    """Load a learner's state dict.

    Raises:
        CheckpointError: the weights belong to another learner; the message names the differences.
    """
    own = learner.state_dict()
    missing, foreign = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    shapes = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if missing or foreign or shapes:
        facts = [f"lacks {missing[:3]}"] * bool(missing) + [f"has unknown {foreign[:3]}"] * bool(foreign)
        facts += [f"'{n}' is {tuple(weights[n].shape)}, not {tuple(own[n].shape)}" for n in shapes[:3]]
        raise CheckpointError(f"{path} belongs to another learner than {type(learner).__name__}: {'; '.join(facts)}")
    dtypes = {value.dtype for value in weights.values() if value.dtype.is_floating_point}
    if len(dtypes) == 1:
        # A run in another precision gives back a learner of that precision.
        learner.to(dtypes.pop())
    learner.load_state_dict(weights)


def load(run_dir: str | os.PathLike[str], learner: Learner | None = None, checkpoint: str = "best") -> Learner:
    """Return the meta-trained learner of a run folder, in evaluation mode.

    Args:
        run_dir: folder that `meta_train` or the command wrote.
        learner: a learner built as for training, needed only where it holds modules of your own.
        checkpoint: 'best' (by validation) or 'last'; a run without validation has only the last.

    Raises:
        CheckpointError: no run folder, a damaged file, or another learner's weights.
    """
    folder = Path(run_dir)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; give the run_dir of a meta-training run")
    run = read_json(folder / RUN)
    if not isinstance(run, dict) or "learner" not in run:
        raise CheckpointError(f"{folder / RUN} does not describe a run")
    if run.get("format") != VERSION:
        raise CheckpointError(f"{folder / RUN} has format {run.get('format')}, this library reads {VERSION}")
    if learner is None:
        learner = learner_of_run(run, folder)
    if not isinstance(learner, Learner):
        raise CheckpointError(f"{folder / RUN} describes no learner")
    path = folder / (BEST if checkpoint == "best" and (folder / BEST).exists() else LAST)
    content = load_checkpoint(path)
    if not isinstance(content.get("learner"), dict):
        raise CheckpointError(f"{path} holds no learner")
    load_weights(learner, content["learner"], path)
    return learner.eval()
