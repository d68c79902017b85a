"""One check of every number, and the arguments of everything that is registered."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.errors import InputError, QuickstudyError
from quickstudy.functional.numbers import checks_of, real, whole, whole_range
from quickstudy.registry import TABLES, describe, register, table
from quickstudy.testing.specimens import CLASSIFICATION, REGRESSION, WAYS, mlp


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3), torch.tensor(3).int()])
def test_whole_numbers_of_all_libraries(value: Any) -> None:
    found = whole("n", value)
    assert (found, type(found)) == (3, int)
    assert whole_range("n", value) == (3, 3)
    assert whole_range("n", (value, 4)) == (3, 4)


@pytest.mark.parametrize(
    "value",
    [
        *(2.5, 3.0, math.nan, math.inf, "3", b"3", True, np.True_, torch.tensor(True), None, [3], (3,), {}, 3 + 0j),
        *(np.float32(3), np.array([3]), torch.tensor([3]), torch.tensor(3.0), torch.tensor(3, device="meta"), len),
        *(np.ma.masked, np.timedelta64(3, "s"), np.datetime64("2020-01-01"), object()),
    ],
    ids=lambda value: repr(value).partition(" object at")[0],
)
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(InputError, match="steps must be a whole number, not "):
        whole("steps", value)
    with pytest.raises(InputError, match="steps must be a positive number or a range"):
        whole_range("steps", value)


def test_ranges_of_whole_numbers() -> None:
    assert whole("n", 0, 0) == 0
    assert whole("n", -5, None) == -5
    for value, least, most, said in (
        (0, 1, 9, "at least 1, not 0"),
        (-1, 0, 9, "0 or more, not -1"),
        (10, 1, 9, "at most 9, not 10"),
        (2**70, 1, 2**63 - 1, f"at most {2**63 - 1}, not {2**70}"),
    ):
        with pytest.raises(InputError, match=f"n must be {said}"):
            whole("n", value, least, most)
    for wrong in ((3, 2), (1, 2, 3), (), (0, 2), (1, 2.5), (1, True)):
        with pytest.raises(InputError, match="n must be a positive number or a range"):
            whole_range("n", wrong)


def test_real_numbers() -> None:
    assert real("lr", 1) == 1
    assert type(real("lr", 1)) is int
    for value in (
        0.5,
        np.float32(0.5),
        np.float64(0.5),
        np.array(0.5),
        torch.tensor(0.5),
        torch.tensor(0.5).bfloat16(),
    ):
        found = real("lr", value, above=0)
        assert (found, type(found)) == (0.5, float)
    for value, said in (
        (math.nan, "finite, not nan"),
        (torch.tensor(math.inf), "finite, not inf"),
        ("0.5", "a number, not '0.5'"),
        (True, "a number, not True"),
        (None, "a number, not None"),
        (0.5j, "a number, not 0.5j"),
        (2**70, "a number, not"),
        (0, "positive, not 0"),
    ):
        with pytest.raises(InputError, match=f"lr must be {said}"):
            real("lr", value, above=0)
    for value, limits, said in (
        (-1, {"least": 0}, "0 or more"),
        (1.0, {"least": 0, "below": 1}, "0 or more and below 1"),
        (2, {"above": 0, "most": 1}, "above 0 and at most 1"),
    ):
        with pytest.raises(InputError, match=f"share must be {said}, not {value}"):
            real("share", value, **limits)


def test_annotations_say_what_is_a_number() -> None:
    def build(
        a: int,
        b: float | None = None,
        c: tuple[int, int] = (1, 2),
        d: tuple[float, ...] = (),
        e: dict[str, int] | None = None,
        f: int | tuple[int, int] = 1,
        seed: int = 0,
        net: torch.nn.Module | None = None,
        word: str = "",
    ) -> None: ...

    checks = checks_of(inspect.signature(build))
    assert set(checks) == {"a", "b", "c", "d", "e", "f", "seed"}
    for name, good, same in (
        ("a", np.int64(0), 0),
        ("b", None, None),
        ("c", [np.int8(1), 2], (1, 2)),
        ("d", np.array([0.5, 1.0]), (0.5, 1.0)),
        ("e", {"x": torch.tensor(2)}, {"x": 2}),
        ("f", (1, np.int64(2)), (1, 2)),
        ("f", torch.tensor(4), 4),
        ("seed", -1, -1),
    ):
        assert checks[name](name, good) == same
    for name, wrong, said in (
        ("a", -1, "a must be 0 or more"),
        ("a", None, "a must be a whole number, not None"),
        ("b", math.nan, "b must be finite"),
        ("c", (1, 2, 3), "c must be 2 numbers"),
        ("c", 5, "c must be a tuple of numbers, not 5"),
        ("d", "12", "d must be a tuple of numbers"),
        ("d", (1.0, "x"), "each of d must be a number, not 'x'"),
        ("e", [1], "e must be a dict of numbers by name"),
        ("e", {"x": 1.5}, r"e\['x'\] must be a whole number"),
        ("f", "x", r"f must be int or tuple\[int, int\], not 'x'"),
    ):
        with pytest.raises(InputError, match=said):
            checks[name](name, wrong)


def test_whatever_is_registered_has_its_numbers_checked_and_stored_as_pythons() -> None:
    @register("rule")
    class Halved(qs.rules.SGD):
        """Gradient descent at half the rate."""

        def __init__(self, lr: float, times: int = 1, *, shares: tuple[float, ...] = ()) -> None:
            super().__init__(lr / 2)
            assert type(times) is int
            self.times, self.shares = times, shares

    try:
        built = Halved(np.float32(0.5), times=torch.tensor(3), shares=[np.float64(0.5)])
        assert describe(built)["arguments"] == {"lr": 0.5, "times": 3, "shares": [0.5]}
        with pytest.raises(InputError, match=r"times must be a whole number, not 2\.5"):
            Halved(0.5, 2.5)
        with pytest.raises(TypeError, match="unexpected keyword argument 'time'"):
            Halved(0.5, time=2)
    finally:
        del TABLES["rule"]["Halved"]


ODD = [-1, 2.5, math.nan, math.inf, "3", True, np.int64(2), torch.tensor(0.5), 2**70, {}, (3, 1), (math.nan, 1), 0, 1j]


def parts() -> list[tuple[Any, dict[str, Any]]]:
    """Return a class or function of every kind with arguments that it takes."""
    data = qs.datasets.arrays(np.random.default_rng(0).normal(size=(120, 6)), np.arange(120) % 6)
    t, net = qs.tasks, torch.nn.Linear(6, 6)
    built: list[Any] = [CLASSIFICATION[name](mlp, WAYS) for name in CLASSIFICATION]
    built += [REGRESSION[name](mlp, 1) for name in ("CNP", "ExactGP", "Ridge")]
    built += [entry.build() for name, entry in table("outer").items() if name not in ("PES", "Truncated")]
    built += [qs.outer.PES(length=2), qs.rules.AdamW(), qs.rules.LSTMRule(), qs.rules.MLPRule(), qs.rules.VeLO()]
    built += [t.FewShot(data, 2, 1, 2), t.Sequential(data, 2, 2), t.Supervised(data, 4), t.Fitting(net, data, 12, 6)]
    built += [
        t.Sinusoid(),
        t.MultiModal(),
        t.GaussianProcess(),
        t.LinearRegression(),
        t.Motion(),
        t.PatternCompletion(),
    ]
    built += [t.Copy(), t.AssociativeRecall(), t.Quadratics(), t.LogisticRegression(), t.Imitation(net, 6)]
    built += [qs.nets.conv4(), qs.nets.mlp(3, (4,), 2), qs.nets.resnet12()]
    found = []
    for each in built:
        kind = next(key for key in each.config if key != "arguments")
        found.append((table(kind)[each.config[kind]].build, each.config["arguments"]))
    return found


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("share", [0.07, pytest.param(1.0, marks=pytest.mark.slow)])
def test_odd_numbers_of_every_part_are_taken_or_refused(share: float) -> None:
    raw: Counter[str] = Counter()
    tried, g = 0, np.random.default_rng(0)
    for build, arguments in parts():
        for name, parameter in inspect.signature(build).parameters.items():
            if not any(word in str(parameter.annotation) for word in ("int", "float", "Range", "Scale")):
                continue
            for value in ODD:
                if g.random() > share:
                    continue
                tried += 1
                try:
                    build(**{**arguments, name: value})
                except QuickstudyError:
                    continue
                except Exception as error:
                    raw[f"{build.__name__}({name}={value!r}): {type(error).__name__}: {str(error)[:80]}"] += 1
                assert isinstance(value, (int, float, tuple, np.integer, torch.Tensor, dict)), (build, name, value)
                assert not (isinstance(value, float) and not math.isfinite(value)), (build, name, value)
                assert value is not True, (build, name, value)
    assert not raw, raw
    assert tried > 3000 * share
