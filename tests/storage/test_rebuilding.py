"""A description takes no more memory than its weights, whatever it asks for."""

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import quickstudy as qs
from quickstudy import nets, shipped
from quickstudy.errors import CheckpointError
from quickstudy.registry import build, describe
from quickstudy.storage import checkpoint as ckpt
from quickstudy.storage.checkpoint import check_weights
from quickstudy.storage.rebuilding import NoLarger, rebuilt
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp


def again(description: Any, weights: dict[str, torch.Tensor]) -> Any:
    path = Path("last.safetensors")
    return rebuilt(description, qs.Learner, weights, Path("run.json"), lambda item: check_weights(item, weights, path))


@pytest.mark.parametrize("name", sorted(CLASSIFICATION))
def test_every_learner_is_built_without_memory_first(name: str) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS)
    state = torch.get_rng_state()
    found = again(describe(learner), learner.state_dict())
    assert describe(found) == describe(learner)
    assert not any(value.is_meta for value in (*found.state_dict().values(), *found.buffers()))
    assert torch.equal(torch.get_rng_state(), state)


def wide(inputs: int = 14_000, hidden: tuple[int, ...] = (14_000,)) -> dict[str, Any]:
    net = {"net": "mlp", "arguments": {"inputs": inputs, "hidden": list(hidden), "outputs": 2}}
    return {"learner": "ProtoNet", "arguments": {"net": net}}


def transformer(depth: int) -> Any:
    learner = describe(CLASSIFICATION["InContext"](mlp, WAYS))
    learner["arguments"]["depth"] = depth
    return learner


HUGE = {
    "wide": lambda: wide(),
    "very wide": lambda: wide(10**12),
    "deep": lambda: wide(4, (4,) * 200_000),
    "blocks": lambda: transformer(10**9),
    "particles": lambda: {
        "learner": "EnsembleMAML",
        "arguments": {**describe(CLASSIFICATION["EnsembleMAML"](mlp, WAYS))["arguments"], "particles": 10**9},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_nothing_takes_more_memory_than_its_weights(tmp_path: Path, name: str) -> None:
    learner = qs.learners.ProtoNet(nets.mlp(4, (8,), 2))
    ckpt.save_checkpoint(tmp_path / "last.safetensors", {"learner": learner.state_dict()})
    (tmp_path / "run.json").write_text(json.dumps({"format": 1, "learner": HUGE[name]()}))
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(CheckpointError, match=r"run\.json: |another learner"):
        qs.load(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert time.process_time() - begun < 20


def test_a_file_of_a_learner_takes_no_more_either(tmp_path: Path) -> None:
    path = tmp_path / "learner.safetensors"
    ckpt.save_checkpoint(path, {"learner": wide(), "weights": {"net.body.0.weight": torch.zeros(2, 2)}})
    with pytest.raises(CheckpointError, match=r"weights of another learner|far more than the weights"):
        shipped.load(path, "learner", qs.Learner)


def test_the_degree_of_products_is_bounded() -> None:
    with pytest.raises(CheckpointError, match=r"too many|more than"):
        build({"net": "Monomials", "arguments": {"scale": [1.0, 1.0], "degree": 10**9}})


def test_options_that_ask_for_too_much_are_stopped_before_they_get_it() -> None:
    for make in (
        lambda: torch.nn.Linear(10**6, 10**6),
        lambda: torch.zeros(10**6, 10**6),
        lambda: torch.randn((10**6, 10**6), generator=torch.Generator()),
    ):
        with pytest.raises(CheckpointError, match="far more"), NoLarger(10**7):
            make()
    with NoLarger(10**7):
        assert torch.nn.Linear(3, 4)(torch.zeros(1, 3)).shape == (1, 4)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (json.loads("[" * 900 + "]" * 900), "nested more than"),
        (json.loads('{"dict": {"a": ' * 300 + "1" + "}}" * 300), "nested more than"),
        ({"learner": ["MAML"], "arguments": {}}, "the name of a learner is"),
        ({"net": "mlp", "arguments": {"inputs": "4"}}, "'inputs' is '4', which is no int"),
        ({"net": "mlp", "arguments": {"inputs": True}}, "'inputs' is True, which is no int"),
        ({"net": "mlp", "arguments": {"inputs": 4, "hidden": ["x"]}}, "'hidden' is"),
        ({"rule": "SGD", "arguments": {"lr": "0.1"}}, "'lr' is '0.1'"),
        ({"net": "mlp", "arguments": {"inputs": 4, "other": 1}}, "other"),
        ({"net": "mlp", "arguments": {}}, "cannot rebuild net 'mlp'"),
        ({"learner": "ProtoNet", "arguments": {"net": 3}}, "'net' is 3, which is no Module"),
        ({"objective": "all_pairs", "arguments": {"learner": 6, "task": 3, "key": 6}}, "cannot rebuild"),
        ({"objective": "AdversarialQuery", "arguments": {"limits": "x"}}, "'limits' is 'x'"),
        ({"net": "PlasticLinear", "arguments": {"inputs": 0, "outputs": 6, "rule": 1}}, "cannot rebuild"),
    ],
)  # fmt: skip
def test_descriptions_of_nothing(description: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build(description)
