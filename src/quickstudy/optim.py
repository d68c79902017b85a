"""Learned update rules as optimisers for any training script, in place of `torch.optim.Adam`."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from quickstudy import shipped as files
from quickstudy.errors import CheckpointError, InputError
from quickstudy.functional.numbers import real, whole
from quickstudy.rules import LearnedRule
from quickstudy.storage.checkpoint import load

DEFAULT = "learned-optimizer"


class LearnedOptimizer(Optimizer):
    """An optimiser whose update rule was meta-trained. It is used like `torch.optim.Adam`, and needs no learning rate.

    The rule sees all parameters that have a gradient at once. It computes in their precision or in float32, whichever
    is wider, and is itself never changed. Its memory of a parameter is in `state`, and so in checkpoints.

    Args:
        params: parameters, named parameters or groups of them, as for any optimiser. A group may have its own `lr` and
            `weight_decay`.
        rule: the name of a rule that comes with the library, or a rule of your own, which is copied.
        lr: factor of the rule's updates. The rule was trained for 1. Schedulers change it.
        weight_decay: the share lr * weight_decay of a parameter is taken away before each update (decoupled, Loshchilov
            & Hutter 2019). AdamW takes its own lr times its weight_decay, by default 1e-5 in all.
        steps: number of steps that training will have, for rules that use the number of steps left.

    Raises:
        InputError: the name is unknown, the rule is not learned, or an argument is out of range; in `step`, a gradient
            is sparse or a parameter complex.

    Examples:
        >>> import torch, quickstudy as qs
        >>> net = torch.nn.Linear(3, 1)
        >>> optimizer = qs.optim.LearnedOptimizer(net.parameters())  # doctest: +SKIP
    """

    def __init__(
        self,
        params: Any,
        rule: LearnedRule | str = DEFAULT,
        *,
        lr: float = 1.0,
        weight_decay: float = 0.0,
        steps: int | None = None,
    ) -> None:
        if isinstance(rule, str):
            rule = shipped(rule)
        if not isinstance(rule, LearnedRule):
            raise InputError(
                f"rule must be a learned rule or the name of one, not {type(rule).__name__}; for rules of fixed form "
                "use the optimisers of torch.optim"
            )
        steps = None if steps is None else whole("steps", steps)
        self.rule, self.steps = copy.deepcopy(rule).eval().requires_grad_(False), steps
        self._placed: dict[tuple[torch.device, torch.dtype], LearnedRule] = {}
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @classmethod
    def from_run(cls, run_dir: str | os.PathLike[str], params: Any, checkpoint: str = "best", **options: Any) -> Any:
        """Return an optimiser with the rule that `meta_train` trained in a run folder.

        Args:
            run_dir: folder of a run whose learner is `learners.L2O` around a learned rule.
            params: as above.
            checkpoint: 'best' (by validation) or 'last'.
            options: `lr`, `weight_decay`, `steps`.
        """
        learner = load(run_dir, checkpoint=checkpoint)
        rule = getattr(learner, "rule", None)
        if not isinstance(rule, LearnedRule):
            raise InputError(f"the run in {run_dir} trained {type(learner).__name__}, which learned no update rule")
        return cls(params, rule, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, which may have its own `lr` and `weight_decay`."""
        for name in ("lr", "weight_decay"):
            value = param_group.get(name, self.defaults[name])
            # A tensor stays one: schedulers change it in place.
            real(name, value, least=0)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, *, loss: Tensor | float | None = None) -> Any:
        """Move all parameters that have a gradient.

        Args:
            closure: computes gradients anew and returns the loss, as for any optimiser.
            loss: the scalar loss at which the gradients were taken, for rules that use it.

        Returns:
            The loss if it is known, else None.
        """
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for (device, dtype), slots in self._by_place().items():
            rule = self._at(device, dtype)
            theta = {name: p.detach().to(dtype) for name, (p, _) in slots.items()}
            grads = {name: p.grad.to(dtype) for name, (p, _) in slots.items() if p.grad is not None}
            fresh = {name: theta[name] for name, (p, _) in slots.items() if not self.state[p]}
            started = rule.start(fresh, self.steps) if fresh else {}
            state = {name: started[name] if name in fresh else self.state[p] for name, (p, _) in slots.items()}
            value = None if loss is None else torch.as_tensor(loss, device=device).detach().to(dtype)
            moved, state = rule.update(grads, state, theta, value)
            for name, (p, group) in slots.items():
                self.state[p] = state[name]
                p.copy_(_scaled(theta[name], moved[name], group["lr"], group["weight_decay"]))
        return loss

    def _by_place(self) -> dict[tuple[torch.device, torch.dtype], dict[str, tuple[Tensor, dict[str, Any]]]]:
        """Return parameters with a gradient, and their groups, by device and by the precision to compute in."""
        found: dict[Any, dict[str, tuple[Tensor, dict[str, Any]]]] = {}
        for number, (p, group) in enumerate(self._all()):
            if p.grad is None:
                continue
            if p.grad.layout != torch.strided:
                raise InputError(
                    f"parameter {number} {tuple(p.shape)} has a sparse gradient, which LearnedOptimizer does not take; "
                    "build the layer with sparse=False"
                )
            if p.is_complex():
                raise InputError(f"parameter {number} {tuple(p.shape)} is complex; learned rules move real numbers")
            # Rules mix tensors in the order of their names' numbers, the same in every step.
            found.setdefault((p.device, _wide(p.dtype)), {})[str(number)] = (p, group)
        return found

    def _all(self) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        return ((p, group) for group in self.param_groups for p in group["params"])

    def _at(self, device: torch.device, dtype: torch.dtype) -> LearnedRule:
        """Return the rule on a device, in a precision."""
        if (device, dtype) not in self._placed:
            self._placed[device, dtype] = copy.deepcopy(self.rule).to(device, dtype)
        return self._placed[device, dtype]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned; training then goes on as if it had not stopped."""
        given: dict[str, Any] = {}

        def keep(_: Optimizer, final: dict[str, Any]) -> None:
            given.update(final)

        def restore(_: Optimizer) -> None:
            # PyTorch gives whatever is remembered the parameter's dtype: too narrow for bfloat16, wrong for counts.
            numbers = [n for group in given["param_groups"] for n in group["params"]]
            for n, (p, _group) in zip(numbers, self._all(), strict=True):
                if n in given["state"]:
                    expected = set(self.rule.start({"": p.detach()})[""])
                    if set(given["state"][n]) != expected:
                        raise CheckpointError(
                            f"the state of parameter {n} holds {sorted(given['state'][n])}, but a "
                            f"{type(self.rule).__name__} remembers {sorted(expected)}: it is another optimiser's; "
                            "build this one with the rule that was used in training"
                        )
                    self.state[p] = {name: _placed_as(value, p) for name, value in given["state"][n].items()}

        # Between the user's own hooks: after those that may change what is given, before those that see the result.
        hooks = self.register_load_state_dict_pre_hook(keep), self.register_load_state_dict_post_hook(restore, True)
        try:
            super().load_state_dict(state_dict)
        finally:
            for hook in hooks:
                hook.remove()

    def __getstate__(self) -> dict[str, Any]:
        """Return what copying and pickling need: the rule too, which PyTorch does not know of."""
        kept: dict[str, Any] = super().__getstate__()
        return {**kept, "rule": self.rule, "steps": self.steps, "_placed": {}}


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _placed_as(value: Any, p: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(p.device, _wide(p.dtype) if value.is_floating_point() else value.dtype)


def _scaled(theta: Tensor, moved: Tensor, lr: float | Tensor, weight_decay: float) -> Tensor:
    # Where nothing is scaled, what the rule says, to the last bit.
    if isinstance(lr, Tensor) or lr != 1:
        moved = theta + lr * (moved - theta)
    return moved - lr * weight_decay * theta if weight_decay else moved


def save_rule(rule: LearnedRule, path: str | os.PathLike[str], card: dict[str, Any] | None = None) -> None:
    """Write a rule as one safetensors file: how to build it, its weights, and a card that says how it was made."""
    files.save(rule, path, "rule", card)


def load_rule(path: str | os.PathLike[str]) -> LearnedRule:
    """Return the rule of a file that `save_rule` wrote.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no learned rule.
    """
    return files.load(path, "rule", LearnedRule)


def shipped(name: str = DEFAULT) -> LearnedRule:
    """Return a rule that comes with the library.

    Raises:
        InputError: there is no rule of that name.
    """
    return files.shipped(name, "rule", LearnedRule)
