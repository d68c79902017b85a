"""Descriptions in JSON build equal objects, and nothing else."""

import inspect
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.errors import CheckpointError, InputError, unknown_name
from quickstudy.learners import MAML, ProtoNet
from quickstudy.registry import TABLES, build, describe, lookup, register, table
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_every_learner_is_described_and_rebuilt(name: str) -> None:
    learner = CLASSIFICATION[name](mlp, WAYS)
    description = json.loads(json.dumps(describe(learner)))
    again = build(description)
    assert type(again) is type(learner)
    assert describe(again) == describe(learner)
    again.load_state_dict(learner.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), learner.parameters(), strict=True))


def test_every_entry_has_a_summary() -> None:
    for kind in ("learner", "net", "outer", "objective", "tasks", "rule"):
        assert table(kind)
        for name, entry in table(kind).items():
            assert entry.summary.endswith("."), name
    assert list(table("learner")) == sorted(table("learner"))


def test_subclasses_of_registered_learners_are_themselves() -> None:
    class Mine(MAML):
        pass

    description = describe(Mine(mlp(3)))
    assert description["learner"] == "MAML" or "custom" in description


def test_a_class_without_an_init_of_its_own_is_rebuilt() -> None:
    @register("learner")
    class Nothing(qs.Learner):
        """Knows nothing."""

    try:
        assert describe(Nothing()) == {"learner": "Nothing", "arguments": {}}
        assert isinstance(build(describe(Nothing())), Nothing)
    finally:
        del TABLES["learner"]["Nothing"]


def test_keywords_that_are_passed_on_are_described_with_their_defaults() -> None:
    outer = qs.outer.Truncated(length=3, momentum=0.5)
    arguments = describe(outer)["arguments"]
    assert (arguments["length"], arguments["clip"], arguments["momentum"]) == (3, 1.0, 0.5)
    assert arguments["halve_every"] == qs.outer.Gradient().halve_every
    assert list(inspect.signature(qs.outer.Truncated).parameters) == list(arguments)
    assert vars(build(describe(outer))) == vars(outer)
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentun'"):
        qs.outer.Truncated(momentun=0.5)


def test_numpy_numbers_are_numbers() -> None:
    assert describe(np.int64(3)) == 3
    assert build(describe(qs.nets.mlp(int(np.int64(2)), (np.int64(3),)))).features == 3


def test_values_survive() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": 1}}
    assert build(json.loads(json.dumps(describe(value)))) == {"a": (1, 2.5, None, True, "x"), "b": {"c": 1}}


def test_objects_of_the_users_own_are_named() -> None:
    description = describe(ProtoNet(nn.Linear(2, 2)))
    assert description["arguments"]["net"] == {"custom": "torch.nn.modules.linear.Linear"}
    with pytest.raises(CheckpointError, match=r"an object of your own, torch\.nn\.modules\.linear\.Linear.*learner="):
        build(description)


@pytest.mark.parametrize(
    "description",
    [
        {"learner": "os.system", "arguments": {"command": "true"}},
        {"learner": "MAML"},
        {"learner": "MAML", "arguments": []},
        {"learner": "MAML", "arguments": {"net": "x"}},
        {"learner": "MetaSGD", "arguments": {"net": 3}},
        {"learner": "MAML", "arguments": {"network": 3}},
        {"learner": ["MAML"], "arguments": {}},
        {"learner": "MAML", "net": "mlp", "arguments": {}},
        {"dataset": "images", "arguments": {"path": "/etc"}},
        {"tasks": "Sinusoid", "arguments": {}},
        {"recipe": "glyphs-maml", "arguments": {}},
        {"objective": "query_loss", "arguments": {}},
        {"__class__": "os.system", "arguments": {}},
        {"arguments": {}},
        {},
        {"dict": 3},
        {"net": "mlp", "arguments": {"inputs": -1}},
        {"net": "mlp", "arguments": {"inputs": "many"}},
        {"net": "conv4", "arguments": {"size": 2}},
        {"learner": "ProtoNet", "arguments": {"net": {"net": "mlp", "arguments": {"inputs": 2}}, "distance": "far"}},
    ],
)
def test_hostile_descriptions_are_refused(description: Any) -> None:
    try:
        value = build(description)
    except CheckpointError:
        return
    # What can be built of nonsense has no parameters, so that no weights fit it.
    assert not list(value.parameters())


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'ProtoNet'"):
        lookup("learner", "Protonet")
    with pytest.raises(InputError, match="unknown learner 'zzz'"):
        lookup("learner", "zzz")
    assert "did you mean" not in str(unknown_name("learner", "", ["ADML", "MAML"]))


def test_a_name_that_begins_or_is_part_of_another_is_near() -> None:
    known = ["sinusoid-maml-10-steps", "sinusoid-metasgd", "omniglot-mann-presentation-2", "balancing"]
    for typed, meant in (("sinusoid-mam", known[0]), ("mann", known[2]), ("balancin", known[3])):
        assert f"did you mean '{meant}'?" in str(unknown_name("reproduction", typed, known))
