"""Training of a learned optimiser in JAX: vmap over problems, `lax.scan` over steps, all of an outer step jitted."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax.flatten_util import ravel_pytree
from torch import nn

from benchmarks.case import Context, Step
from benchmarks.peers.jax_maml import JaxStep, Weights, supported
from benchmarks.peers.learned_optimizer import Unroll


def lstm(weights: Weights, name: str, x: Any, state: Any) -> Any:
    """Return the new state (h, c) of a cell, rows (B, D)."""
    h, c = state
    seen = x @ weights[f"{name}.weight_ih"].T + weights[f"{name}.bias_ih"]
    i, f, g, o = jnp.split(seen + h @ weights[f"{name}.weight_hh"].T + weights[f"{name}.bias_hh"], 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


class Jax(JaxStep):
    """The training step of an Unroll problem."""

    def __init__(self, problem: Unroll, dtype: torch.dtype) -> None:
        rule, classes = problem.rule, not problem.query[1].dtype.is_floating_point
        layers = [(name, isinstance(layer, nn.Linear)) for name, layer in problem.net.named_children()]
        cells = [f"cells.{i}" for i in range(len(rule.cells))]

        def mean_loss(theta: Weights, x: Any, y: Any) -> Any:
            for name, linear in layers:
                x = x @ theta[f"{name}.weight"].T + theta.get(f"{name}.bias", 0) if linear else jax.nn.sigmoid(x)
            if classes:
                return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1))
            return jnp.mean((x - y) ** 2)

        def move(weights: Weights, grad: Any, states: Any) -> Any:
            large = jnp.abs(grad) >= math.exp(-rule.p)
            logs = jnp.log(jnp.maximum(jnp.abs(grad), math.exp(-rule.p))) / rule.p
            x = jnp.stack([jnp.where(large, logs, -1), jnp.where(large, jnp.sign(grad), math.exp(rule.p) * grad)], 1)
            after = []
            for name, state in zip(cells, states, strict=True):
                after.append(lstm(weights, name, x, state))
                x = after[-1][0]
            return rule.scale * (x @ weights["head.weight"].T + weights["head.bias"])[:, 0], after

        def task_loss(weights: Weights, start: Weights, support: Any, query: Any, picked: Any) -> Any:
            theta, whole = ravel_pytree(start)
            zeros = jnp.zeros((len(theta), rule.head.in_features), theta.dtype)

            def step(carry: Any, rows: Any) -> Any:
                theta, states = carry
                grad = jax.grad(lambda theta: mean_loss(whole(theta), support[0][rows], support[1][rows]))(theta)
                moved, states = move(weights, jax.lax.stop_gradient(grad), states)
                return (theta + moved, states), mean_loss(whole(theta + moved), *query)

            return jnp.mean(jax.lax.scan(step, (theta, [(zeros, zeros) for _ in cells]), picked)[1])

        def loss(weights: Weights, tasks: Any) -> Any:
            return jnp.mean(jax.vmap(task_loss, (None, 0, 0, 0, 0))(weights, *tasks))

        super().__init__(rule, (problem.start, problem.support, problem.query, problem.picked), loss, dtype)


def build(problem: Unroll, context: Context) -> Step:
    supported(context)
    return Jax(problem, context.dtype)
