"""Going on with the run of a folder: weights, the optimiser, and how far it has come."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.errors import CheckpointError
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage.run_folder import RunFolder, damaged
from quickstudy.training.settings import Settings, Standing

log = logging.getLogger(__name__)
MOST_COPIED = 10**8
"""Parameters of the largest learner whose optimiser is copied, to see what its state is made of."""


def restored(asked: Settings, folder: RunFolder, optimizer: torch.optim.Optimizer) -> Standing:
    """Restore weights and whatever lasts of a folder's run; return how far it has come.

    Raises:
        CheckpointError: the checkpoint is damaged, or of another learner or optimiser.
    """
    content, last = folder.load(), folder.path / ckpt.LAST
    ckpt.load_weights(asked.learner, content["learner"], last)
    _restore_optimizer(asked, optimizer, content["optimizer"], last)
    try:
        asked.outer.load_state_dict(content.get("outer", {}))
    except CheckpointError:
        raise
    except Exception as error:  # whatever it raises, the state is not one that it wrote
        raise damaged(last, "outer", f"is of no {type(asked.outer).__name__} ({error})") from error
    best = folder.load_best(content)
    if best is None and content["best_step"]:
        log.warning(
            "the best weights of %s, of step %d, are gone: the run goes on, and chooses among those to come",
            folder.path, content["best_step"],
        )  # fmt: skip
        return replace(Standing.of(content, None), best=math.nan, best_step=0)
    if best is not None:
        ckpt.check_weights(asked.learner, best, folder.path / ckpt.BEST)
    standing = Standing.of(content, best)
    if best is not None and folder.best_is_older(standing.best_step):
        folder.save(ckpt.BEST, standing.best_content())
    return standing


def _restore_optimizer(asked: Settings, optimizer: torch.optim.Optimizer, saved: dict[str, Any], last: Path) -> None:
    count = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    expected = _after_a_step(asked) if count <= MOST_COPIED else None
    wrong = "" if expected is None else _unlike(saved, expected, "", older=True)
    if wrong:
        raise damaged(last, "optimizer", f"is of no such optimiser ({wrong})")
    try:
        optimizer.load_state_dict(saved)
        found = optimizer.state_dict()
    except CheckpointError:
        raise
    except Exception as error:  # whatever it raises, the state is not one that it wrote
        raise damaged(last, "optimizer", f"is of no such optimiser ({_said(error)})") from error
    wrong = "" if expected is None else _unlike(found, expected, "")
    if wrong:
        raise damaged(last, "optimizer", f"is of no such optimiser ({wrong})")


def _after_a_step(asked: Settings) -> dict[str, Any]:
    """Return the state of an optimiser like that of the run after a step."""
    named = [(name, p) for name, p in asked.learner.named_parameters() if p.requires_grad]
    copies = [(name, nn.Parameter(torch.zeros_like(p))) for name, p in named]
    for _, copy in copies:
        copy.grad = torch.zeros_like(copy)
    dry = asked.outer.optimizer(copies)
    dry.step()
    return dry.state_dict()


def _unlike(found: Any, expected: Any, path: str, older: bool = False) -> str:
    """Return where a state is not made as another one is; '' if nowhere. A parameter without a gradient has none.

    Args:
        found: the state.
        expected: the other one.
        path: where they are.
        older: the state may lack options that an earlier PyTorch did not have.
    """
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return f"{path} is no dictionary"
        optional = older and "param_groups" in path
        parts = [key for key in expected if key in found or not (optional or isinstance(key, int))]
        lacking = [key for key in parts if key not in found]
        if lacking:
            return f"{path} lacks {lacking[0]!r}"
        return next(
            filter(None, (_unlike(found[key], expected[key], f"{path} {key}".strip(), older) for key in parts)), ""
        )
    if isinstance(expected, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(found) != len(expected):
            return f"{path} has another length"
        if path.endswith("params") and found != expected:
            return f"{path} are not numbered"
        pairs = enumerate(zip(found, expected, strict=True))
        return next(filter(None, (_unlike(one, other, f"{path} {i}", older) for i, (one, other) in pairs)), "")
    if isinstance(expected, Tensor):
        right = isinstance(found, Tensor) and found.shape == expected.shape
        return "" if right else f"{path} is no tensor of shape {tuple(expected.shape)}"
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (found, expected))
    right = numbers or type(found) is type(expected) or expected is None
    return "" if right else f"{path} is {found!r:.40}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
