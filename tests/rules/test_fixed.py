import pytest
import torch

from quickstudy.errors import InputError
from quickstudy.rules.fixed import AdamW


def test_adamw_is_torch_optim():
    generator = torch.Generator().manual_seed(0)
    theta = {"a": torch.randn(3, generator=generator), "b": torch.randn(2, 2, generator=generator)}
    own = [value.clone().requires_grad_(True) for value in theta.values()]
    settings = {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.3}
    rule, peer = AdamW(**settings), torch.optim.AdamW(own, **settings)
    state = rule.start(theta)
    for _ in range(5):
        grads = {name: torch.randn(value.shape, generator=generator) for name, value in theta.items()}
        theta, state = rule.update(grads, state, theta)
        for value, gradient in zip(own, grads.values(), strict=True):
            value.grad = gradient
        peer.step()
    for value, found in zip(own, theta.values(), strict=True):
        torch.testing.assert_close(found, value.detach())


def test_decay_is_not_negative():
    with pytest.raises(InputError, match="weight_decay must be 0 or more, not -1"):
        AdamW(weight_decay=-1)
