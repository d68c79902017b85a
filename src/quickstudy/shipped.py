"""Meta-trained objects as single safetensors files: those that come with the library, and your own.

A file holds how to build the object (registered names and their arguments), its weights, and a card that says how it
was made. Nothing in it is ever executed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from quickstudy.core import Learner
from quickstudy.errors import CheckpointError, nearest, unknown_name
from quickstudy.registry import describe
from quickstudy.storage.checkpoint import RUN, check_weights, load_checkpoint, read_run, save_checkpoint, weights_of
from quickstudy.storage.checkpoint import load as load_run
from quickstudy.storage.rebuilding import rebuilt

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the files that come with the library, each with a model card beside it."""
Item = TypeVar("Item", bound=nn.Module)


def save(item: nn.Module, path: str | os.PathLike[str], kind: str, card: dict[str, Any] | None = None) -> None:
    """Write a learner or a rule as one file.

    Args:
        item: the object to save. All its parts must be the library's, none your own.
        path: path of the file, '....safetensors'.
        kind: 'learner' or 'rule'.
        card: plain values that say how it was made.
    """
    save_checkpoint(Path(path), {kind: describe(item), "weights": item.state_dict(), "card": card or {}})


def save_run(run_dir: str | os.PathLike[str], path: str | os.PathLike[str], checkpoint: str = "best") -> None:
    """Write the meta-trained learner of a run folder as one file, with a card made from the run's run.json.

    Args:
        run_dir: folder that `meta_train` or the command wrote. All parts of the learner must be the library's.
        path: path of the file, '....safetensors'.
        checkpoint: 'best' (by validation) or 'last'; a run without validation has only the last.

    Raises:
        CheckpointError: there is no run folder, or it is damaged.
        InputError: the checkpoint is neither of these.
    """
    if checkpoint not in ("best", "last"):
        raise unknown_name("checkpoint", checkpoint, ("best", "last"))
    if not (Path(run_dir) / f"{checkpoint}.safetensors").exists():
        checkpoint = "last"
    learner = load_run(run_dir, checkpoint=checkpoint)
    facts = read_run(Path(run_dir))
    how = {name: facts.get(name) for name in ("version", "steps", "meta_batch", "seed", "batch_norm")}
    settings = facts.get("settings") or {}
    how |= {"recipe": settings.get("recipe"), "options": settings.get("options"), "checkpoint": checkpoint}
    how["tasks"] = {
        name: facts.get("tasks", {}).get(name) for name in ("name", "classes", "ways", "shots", "fingerprint")
    }
    save(learner, path, "learner", how)


def card(name: str) -> dict[str, Any]:
    """Return the card in the file of a shipped object, which says how the object was made.

    Raises:
        CheckpointError: there is no such file.
    """
    return dict(load_checkpoint(WEIGHTS / f"{name}.safetensors")["card"])


def load(path: str | os.PathLike[str], kind: str, base: type[Item]) -> Item:
    """Return the object that `save` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or holds nothing of this kind.
    """
    content = load_checkpoint(Path(path))
    if not {kind, "weights"} <= set(content):
        raise CheckpointError(f"{path} holds no {kind}; write one with quickstudy.shipped.save")
    file = Path(path)
    weights = weights_of(content, "weights", file)
    item = rebuilt(content[kind], base, weights, file, lambda empty: check_weights(empty, weights, file, kind))
    item.load_state_dict(weights)
    return item


def shipped(name: str, kind: str, base: type[Item]) -> Item:
    """Return the object that comes with the library under a name.

    Raises:
        InputError: there is no object of that name and kind.
    """
    path = WEIGHTS / f"{name}.safetensors"
    with suppress(ValueError):  # a name with an end that no path can have
        if path.parent == WEIGHTS and path.is_file() and kind in load_checkpoint(path):
            return load(path, kind, base)
    raise unknown_name(f"pretrained {kind}", name, names(kind))


@dataclass(frozen=True)
class Trained:
    """A meta-trained learner, wherever it was found.

    Attributes:
        name: of the run folder, of the file, or of what comes with the library.
        learner: in evaluation mode.
        facts: how it was made: `version`, `steps`, `seed`, `tasks` and so on; of a run folder, its run.json.
        folder: the run folder; None for a learner in a single file.
    """

    name: str
    learner: Learner
    facts: dict[str, Any]
    folder: Path | None = None

    @property
    def tasks(self) -> dict[str, Any]:
        """Facts about its meta-training tasks: `name`, `classes`, `ways`, `shots`, as far as they are known."""
        found = self.facts.get("tasks")
        return found if isinstance(found, dict) else {}


def trained(run: str | os.PathLike[str], checkpoint: str = "best") -> Trained:
    """Return the learner of a run folder, of a file that `save` wrote, or that comes with the library, by its name.

    A folder goes before a name of the library's.

    Args:
        run: path of a run folder or of a '.safetensors' file, or a name such as 'drawings'.
        checkpoint: 'best' or 'last', for a run folder; a file has one.

    Raises:
        CheckpointError: there is neither, and the message has the nearest name; or the folder or the file is damaged
            or holds something else.
    """
    path = Path(run)
    if (path / RUN).exists() or (path.is_dir() and str(run) not in names("learner")):
        facts = read_run(path)
        return Trained(path.resolve().name, load_run(path, checkpoint=checkpoint).eval(), facts, path)
    if path.suffix == ".safetensors" and path.is_file():
        return Trained(path.stem, load(path, "learner", Learner).eval(), dict(load_checkpoint(path).get("card") or {}))
    if str(run) in names("learner"):
        return Trained(str(run), pretrained(str(run)), card(str(run)))
    raise _not_found(path)


def _not_found(path: Path) -> CheckpointError:
    """Return the error for what is neither a run folder nor a name, with the nearest of both."""
    known = names("learner")
    siblings = []
    with suppress(OSError, ValueError):
        siblings = [str(each) for each in path.parent.iterdir() if (each / RUN).exists()]
        if path.parent == Path():  # a bare name may be meant to lie in the folder where runs go by default
            siblings += [str(each) for each in Path("runs").iterdir() if (each / RUN).exists()]
    near = nearest(path.name, {**{Path(each).name: each for each in siblings}, **{each: each for each in known}})
    meant = (
        f"did you mean the built-in learner '{near}'? " if near in known else f"did you mean '{near}'? " if near else ""
    )
    return CheckpointError(
        f"there is no run folder '{path}'; {meant}Give the folder of a meta-training run, or a learner that comes with "
        f"the library: {', '.join(known)}"
    )


def names(kind: str) -> list[str]:
    """Return the names of the objects of one kind that come with the library."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors") if kind in load_checkpoint(path))


def pretrained(name: str) -> Learner:
    """Return a meta-trained learner that comes with the library, in evaluation mode.

    Raises:
        InputError: there is no learner of that name; the message lists the names.
    """
    return shipped(name, "learner", Learner).eval()
