"""JAX: the whole outer step, vmap, gradient and optax's Adam, is one jitted function. For multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import Tensor, nn

from benchmarks.case import AbsentError, Context, Step
from benchmarks.peers.problems import MAML

Weights = dict[str, Any]


class JaxStep(Step):
    """Outer step of JAX implementations: the gradient of a loss and optax's Adam, jitted as a whole.

    Args:
        net: holds the initial weights.
        tasks: a pytree of tensors.
        loss: (weights by name, tasks) -> scalar.
        dtype: of the arithmetic.
    """

    def __init__(self, net: nn.Module, tasks: Any, loss: Callable[[Weights, Any], Any], dtype: torch.dtype) -> None:
        jax.config.update("jax_enable_x64", dtype == torch.float64)
        optimizer = optax.adam(1e-3)
        self.weights = {name: jnp.asarray(p.detach().numpy()) for name, p in net.named_parameters()}
        self.state = optimizer.init(self.weights)
        self.tasks = jax.tree.map(lambda value: jnp.asarray(value.numpy()), tasks)

        def outer(weights: Weights, state: Any, tasks: Any) -> Any:
            updates, state = optimizer.update(jax.grad(loss)(weights, tasks), state)
            return optax.apply_updates(weights, updates), state

        self.outer = jax.jit(outer, donate_argnums=(0, 1))
        self.gradient = jax.jit(jax.value_and_grad(loss))
        jax.jit(lambda x: x + 1)(0.0).block_until_ready()  # load the compiler before memory is measured

    def step(self) -> None:
        self.weights, self.state = self.outer(self.weights, self.state, self.tasks)
        jax.block_until_ready(self.weights)

    def check(self) -> dict[str, Tensor]:
        loss, grads = self.gradient(self.weights, self.tasks)
        named = {f"gradient of {name}": torch.from_numpy(np.array(g)) for name, g in grads.items()}
        return {"loss": torch.tensor(float(loss), dtype=torch.float64), **named}


class Jax(JaxStep):
    """The outer step of a MAML problem whose net is linear layers with ReLU between."""

    def __init__(self, problem: MAML, dtype: torch.dtype) -> None:
        layers = [name for name, module in problem.net.named_modules() if isinstance(module, nn.Linear)]

        def inner(weights: Weights, x: Any, y: Any) -> Any:
            for name in layers[:-1]:
                x = jax.nn.relu(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])
            x = x @ weights[f"{layers[-1]}.weight"].T + weights[f"{layers[-1]}.bias"]
            return jnp.mean((x - y) ** 2)

        def task_loss(weights: Weights, x: Any, y: Any, query_x: Any, query_y: Any) -> Any:
            for _ in range(problem.steps):
                grads = jax.grad(inner)(weights, x, y)
                if problem.first_order:
                    grads = jax.lax.stop_gradient(grads)
                weights = jax.tree.map(lambda w, g: w - problem.lr * g, weights, grads)
            return inner(weights, query_x, query_y)

        def loss(weights: Weights, tasks: Any) -> Any:
            return jnp.mean(jax.vmap(task_loss, (None, 0, 0, 0, 0))(weights, *tasks))

        super().__init__(problem.net, (*problem.episodes.support, *problem.episodes.query), loss, dtype)


def supported(context: Context) -> None:
    """Raise AbsentError where JAX cannot take part."""
    if context.device != "cpu" or context.dtype == torch.bfloat16:
        raise AbsentError("only its CPU build is installed, and runs in fp32 here")


def build(problem: MAML, context: Context) -> Step:
    supported(context)
    return Jax(problem, context.dtype)
