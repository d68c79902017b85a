"""Muon for matrices and AdamW for all else, as one optimiser.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", with the size of updates of Liu et al.
2025, "Muon is Scalable for LLM Training", section 2.2:

    B <- momentum B + (1 - momentum) g
    W <- W - lr 0.2 sqrt(max(rows, columns)) U V^T,    U S V^T = (1 - momentum) g + momentum B

so that an entry moves about as far as Adam would move it, and one rate serves both. A convolution's weight is the
matrix (filters, all else). Both rules are PyTorch's, whose Muon takes nothing but matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from quickstudy.errors import CheckpointError


class MuonAdamW(Optimizer):
    """`torch.optim.Muon` for parameters of two or more dimensions, `torch.optim.AdamW` for the others.

    Args:
        groups: dicts with 'params' and whatever else belongs to them; 'lr' of a group may change from step to step.
        lr: learning rate.
        weight_decay: decoupled, as in both.
        fused: AdamW in one call for all parameters.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float = 1e-3, weight_decay: float = 0.0, fused: bool = True
    ) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        # Muon moves matrices that share the parameters' memory.
        self._matrices = [
            {p: nn.Parameter(p.detach().view(len(p), -1)) for p in group["params"] if p.ndim > 1}
            for group in self.param_groups
        ]
        pairs = list(zip(self.param_groups, self._matrices, strict=True))
        others = [{"params": [p for p in group["params"] if p not in flat]} for group, flat in pairs]
        matrices = [{"params": list(flat.values())} for flat in self._matrices]
        self._rules: dict[str, Optimizer] = {
            "matrices": torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            "others": AdamW(others, weight_decay=weight_decay, fused=fused),
        }

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move all parameters that have a gradient; return what `closure`, called first, gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for flat in self._matrices:
            for p, matrix in flat.items():
                matrix.grad = None if p.grad is None else p.grad.reshape(matrix.shape)
        for rule in self._rules.values():
            for own, group in zip(rule.param_groups, self.param_groups, strict=True):
                own["lr"] = group["lr"]
            rule.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both rules."""
        return {name: rule.state_dict() for name, rule in self._rules.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            CheckpointError: it is another optimiser's.
        """
        if set(state_dict) != set(self._rules):
            raise CheckpointError(
                "the saved state is another optimiser's than Muon's; go on with the one it was saved by"
            )
        for name, rule in self._rules.items():
            rule.load_state_dict(state_dict[name])
