"""Implementations that several cases share, by the names that tables show."""

from __future__ import annotations

from typing import Any

from benchmarks.case import Implementation

MAML_RIVALS = {
    "plain loop": Implementation("peers.loop"),
    "higher": Implementation("peers.higher_maml"),
    "TorchOpt": Implementation("peers.torchopt_maml"),
    "learn2learn": Implementation("peers.learn2learn_maml"),
}
"""MAML, for any net. The plain loop is what the others are compared with."""

LIMIT = {"JAX jit": Implementation("peers.jax_maml", compiles=True)}
"""MAML for multilayer perceptrons: what a compiler makes of the whole step."""

PROTO_RIVALS = {"plain PyTorch": Implementation("peers.proto"), "easyfsl": Implementation("peers.easyfsl_proto")}
"""Training steps of prototypical networks."""


def ours(precision: str | None = None, quick: bool = True, **options: Any) -> Implementation:
    """Return Quickstudy with options of `benchmarks.ours.build`, such as compile=True or via='meta_train'."""
    rounded = precision == "bfloat16"
    return Implementation(
        "ours",
        options,
        ours=True,
        # The whole loop takes the same steps, and compiling them once more for this alone is not worth it.
        exact=not rounded and options.get("via") != "meta_train",
        checks="loss" if rounded else "all",
        dtype=precision,
        compiles=bool(options.get("compile")),
        quick=quick,
    )
