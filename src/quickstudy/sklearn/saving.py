"""A fitted classifier as one safetensors file: what it was built with, its learner, and what that learned.

Nothing in a file is ever executed. Labels and numbers come back as they were, so the answers are the same to the bit.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quickstudy.core import Learner
from quickstudy.errors import CheckpointError, InputError, QuickstudyError
from quickstudy.registry import build, describe
from quickstudy.sklearn.head import SupportHead
from quickstudy.storage.checkpoint import load_checkpoint, load_weights, save_checkpoint
from quickstudy.storage.pytrees import decode, encode

FORMAT = 1
_DAMAGED = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, RuntimeError, TypeError, ValueError)


def save(path: str | os.PathLike[str], params: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write a fitted classifier, atomically.

    Args:
        path: path of the file, '....safetensors'.
        params: arguments of the constructor other than the learner; strings and numbers.
        facts: attributes of the fitted classifier by name: its learner as 'learner_', arrays, and pytrees of tensors
            and numbers.

    Raises:
        InputError: an argument or a label is of a kind that the file cannot hold.
        CheckpointError: the file cannot be written.
    """
    facts = dict(facts)
    learner = facts.pop("learner_")
    coded = {
        name: ["array", *_array(name, value)] if isinstance(value, np.ndarray) else encode(value)
        for name, value in facts.items()
    }
    content = {
        "classifier": FORMAT,
        "version": _version(),
        "params": {name: _param(name, value) for name, value in params.items()},
        "learner": None if isinstance(learner, SupportHead) else describe(learner),
        "weights": learner.state_dict(),
        "fitted": coded,
    }
    save_checkpoint(Path(path), content)


def load(path: str | os.PathLike[str], learner: Learner | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of the constructor and the attributes that `save` wrote.

    Raises:
        CheckpointError: there is no such file, it is damaged or of another version, or the learner is another one.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; write one with FewShotClassifier.save(path)")
    content = load_checkpoint(path)
    if "classifier" not in content:
        raise CheckpointError(f"{path} holds no classifier; write one with FewShotClassifier.save(path)")
    if content["classifier"] != FORMAT:
        raise CheckpointError(
            f"{path} has classifier format {content['classifier']}, this library reads {FORMAT}; it was written by "
            f"quickstudy {content.get('version')}, so load it with that version"
        )
    try:
        own = _built(content["learner"]) if learner is None else copy.deepcopy(learner)
    except CheckpointError as error:
        if "object of your own" not in str(error):
            raise
        raise CheckpointError(
            f"{path} holds a learner with modules of your own; build the learner as before and pass it: "
            "FewShotClassifier.load(path, learner=...)"
        ) from error
    except _DAMAGED as error:
        raise CheckpointError(f"{path} does not describe a learner: {error}") from error
    if not isinstance(own, Learner):
        raise CheckpointError(f"{path} describes no learner")
    try:
        load_weights(own, content["weights"], path)
        facts = {name: _fact(coded) for name, coded in content["fitted"].items()}
        params = {str(name): value for name, value in content["params"].items()}
    except QuickstudyError:
        raise
    except _DAMAGED as error:
        raise CheckpointError(f"{path} is damaged ({error}); save the classifier again") from error
    return params, {**facts, "learner_": own.eval()}


def _built(description: Any) -> Any:
    return SupportHead() if description is None else build(description)


def _param(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(f"a classifier with {name}={value!r} cannot be saved; give a string, a number or None there")


def _array(name: str, array: NDArray[Any]) -> tuple[str, list[Any]]:
    """Return the dtype and the values of a (N,) array of labels or names."""
    kind = array.dtype.kind
    values = [each.item() if isinstance(each, np.generic) else each for each in array.tolist()]
    if kind not in "biufUOT" or not all(isinstance(each, (bool, int, float, str)) for each in values):
        raise InputError(f"{name} of {array.dtype} cannot be saved; use labels that are strings, integers or Booleans")
    return {"O": "object", "T": "text"}.get(kind, array.dtype.str), values


def _fact(coded: Any) -> Any:
    if coded[0] != "array":
        return decode(coded)
    dtype, values = coded[1:]
    if dtype == "text":
        return np.array(values, dtype=np.dtypes.StringDType())
    kind = np.dtype(object if dtype == "object" else dtype)
    if kind.kind not in "biufUO":
        raise CheckpointError(f"the file holds an array of dtype {dtype}, which no label has")
    found = np.empty(len(values), dtype=kind)
    found[:] = values
    return found


def _version() -> str:
    from quickstudy import __version__

    return __version__
