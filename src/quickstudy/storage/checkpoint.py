"""Run folders and checkpoints: safetensors and plain JSON, written atomically, read without unpickling.

A checkpoint is one safetensors file: tensors by name, and JSON in its header, with a digest of both. So it is either
whole or absent, a bit that has changed since is noticed, and reading it can run no code. A run folder holds:

    run.json            the run: learner, outer optimiser, tasks, settings, environment, library version
    classes.json        the class split: names of meta-training and meta-validation classes
    metrics.csv         one row per logged step: the only place where a run's history is kept
    last.safetensors    everything else that training needs to continue
    best.safetensors    the learner at its best validation
    .lock               while a process trains there: its number and its machine
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from quickstudy.annotations import fits
from quickstudy.core import Learner
from quickstudy.errors import CheckpointError, unknown_name
from quickstudy.plugins import learner_of_run
from quickstudy.storage.files import (
    BEST,
    LAST,
    RUN,
    exists,
    kind_of,
    read_bytes,
    read_json,
    remove_unfinished,
    write_atomically,
    write_error,
    write_json,
)
from quickstudy.storage.rebuilding import rebuilt

__all__ = [
    "BEST",
    "LAST",
    "RUN",
    "VERSION",
    "load",
    "load_checkpoint",
    "load_weights",
    "read_json",
    "remove_unfinished",
    "save_checkpoint",
    "write_atomically",
    "write_error",
    "write_json",
]

VERSION = 1
OBJECT = dict[str, Any]
FIELDS: dict[str, Any] = {
    "version": str, "ranks": int, "outer": OBJECT, "objective": str | OBJECT, "tasks": OBJECT,
    "validation": OBJECT | None, "meta_batch": int, "seed": int, "precision": str, "steps": int,
    "settings": OBJECT | None, "batch_norm": str, "environment": OBJECT,
}  # fmt: skip
"""The fields of run.json, and what each is. Runs of before lack some."""


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


def digest(tensors: dict[str, Tensor], tree: str) -> str:
    """Return what tells these tensors (names, dtypes, shapes, bits) and this JSON from all others."""
    # Against bits that change by themselves, not against people. SHA-256 is the fastest where processors have it.
    found = hashlib.sha256(tree.encode(), usedforsecurity=False)
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a nested dict of tensors and JSON values as one safetensors file, atomically."""
    tensors, structure = flatten(content)
    tree = json.dumps(structure)
    # One entry only: safetensors writes several in an order that changes, and equal content should be equal bytes.
    facts = {"version": VERSION, "tree": tree, "digest": digest(tensors, tree)}
    write_atomically(path, safetensors.torch.save(tensors, {"checkpoint": json.dumps(facts)}))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Files of before there were digests are read as well; nobody can tell whether their bits have changed.

    Raises:
        CheckpointError: missing, unreadable, truncated, corrupt, or of another version.
    """
    if not exists(path):
        raise CheckpointError(f"{path} does not exist; the run has no checkpoint yet")
    content = read_bytes(path)
    try:
        tensors = safetensors.torch.load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        facts = json.loads((header.get("__metadata__") or {}).get("checkpoint", "{}"))
        version = facts.get("version")
        if version != VERSION:
            raise CheckpointError(
                f"{path} has checkpoint version {version!r:.80}, this library reads {VERSION}; use the library version "
                "that wrote it (see run.json)"
            )
        if "digest" in facts and facts["digest"] != digest(tensors, facts["tree"]):
            raise ValueError("its checksum differs: bits have changed since it was written")
        found = unflatten(tensors, json.loads(facts["tree"]))
    except (
        SafetensorError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise CheckpointError(
            f"{path} is truncated or corrupt ({error}); restore it from a copy, or train again with resume=False"
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a checkpoint of this library")
    return found


def check_weights(item: nn.Module, weights: dict[str, Tensor], path: Path, kind: str = "learner") -> None:
    """Raise CheckpointError unless weights are the state dict of such an object; the message names the differences."""
    own = item.state_dict()
    missing, foreign = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    both = [name for name in own if name in weights]
    facts = [f"lacks {missing[:3]}"] * bool(missing) + [f"has unknown {foreign[:3]}"] * bool(foreign)
    facts += [
        f"'{name}' is {tuple(weights[name].shape)}, not {tuple(own[name].shape)}"
        for name in both
        if own[name].shape != weights[name].shape
    ][:3]
    facts += [
        f"'{name}' holds {weights[name].dtype}, not {own[name].dtype}"
        for name in both
        if own[name].is_floating_point() != weights[name].is_floating_point()
    ][:3]
    if facts:
        raise CheckpointError(f"{path} holds weights of another {kind} than {type(item).__name__}: {'; '.join(facts)}")


def load_weights(learner: Learner, weights: dict[str, Tensor], path: Path) -> None:
    """Load a learner's state dict.

    Raises:
        CheckpointError: the weights belong to another learner; the message names the differences.
    """
    check_weights(learner, weights, path)
    dtypes = {value.dtype for value in weights.values() if value.dtype.is_floating_point}
    if len(dtypes) == 1:
        # A run in another precision gives back a learner of that precision.
        learner.to(dtypes.pop())
    learner.load_state_dict(weights)


def weights_of(content: dict[str, Any], name: str, path: Path) -> dict[str, Tensor]:
    """Return the weights that a checkpoint holds under a name.

    Raises:
        CheckpointError: it holds none.
    """
    weights = content.get(name)
    if not isinstance(weights, dict):
        raise CheckpointError(f"{path} holds no {name}")
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path} holds no weights under {name}: {key!r:.80} is no tensor; restore the file")
    return weights


def read_run(folder: Path) -> dict[str, Any]:
    """Return the description of a run.

    Raises:
        CheckpointError: there is no run folder, its description cannot be read, or it is of another version.
    """
    kind = kind_of(folder)
    if kind != "a folder":
        raise CheckpointError(f"{folder} is not a folder; give the run_dir of a meta-training run")
    run = read_json(folder / RUN)
    if not isinstance(run, dict) or "learner" not in run:
        raise CheckpointError(f"{folder / RUN} does not describe a run")
    if run.get("format") != VERSION:
        raise CheckpointError(f"{folder / RUN} has format {run.get('format')!r:.80}, this library reads {VERSION}")
    for name, hint in FIELDS.items():
        if name in run and not fits(run[name], hint):
            raise CheckpointError(
                f"{folder / RUN}: its field '{name}' is {run[name]!r:.80}, which no run has; restore the file"
            )
    return run


def load(run_dir: str | os.PathLike[str], learner: Learner | None = None, checkpoint: str = "best") -> Learner:
    """Return the meta-trained learner of a run folder, in evaluation mode.

    A run folder may come from a stranger: it can name registered parts alone, and takes no more memory than a small
    multiple of the size of its weights.

    Args:
        run_dir: folder that `meta_train` or the command wrote.
        learner: a learner built as for training, needed only where it holds modules of your own.
        checkpoint: 'best' (by validation) or 'last'; a run without validation has only the last.

    Raises:
        CheckpointError: no run folder, a damaged file, or another learner's weights.
        InputError: the checkpoint is neither of these.
    """
    if checkpoint not in ("best", "last"):
        raise unknown_name("checkpoint", str(checkpoint), ("best", "last"))
    folder = Path(run_dir)
    run = read_run(folder)
    path = folder / (BEST if checkpoint == "best" and exists(folder / BEST) else LAST)
    weights = weights_of(load_checkpoint(path), "learner", path)

    def fits(empty: Learner) -> None:
        check_weights(empty, weights, path)

    if learner is None:
        learner = learner_of_run(run, folder, lambda: rebuilt(run["learner"], Learner, weights, folder / RUN, fits))
    if not isinstance(learner, Learner):
        raise CheckpointError(f"{folder / RUN} describes no learner")
    load_weights(learner, weights, path)
    return learner.eval()
