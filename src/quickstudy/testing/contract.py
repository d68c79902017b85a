"""The contract of a learner, as checks that anybody can run on a learner of their own.

`check_learner(learner, task)` is to learners what scikit-learn's `check_estimator` is to estimators. A learner states
its promises by its properties (`permutation_invariant`, `independent_queries`, `exact_meta_gradient`, `stochastic`). A
check passes if the learner does not promise what it checks. Each check may also be called by itself. The learner is
copied first, so it stays as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from quickstudy import batching
from quickstudy.core import Examples, Learner, State, Task
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.operators import trees
from quickstudy.operators.calls import BATCH_NORMS

Check = Callable[[Learner, Task], None]


def check_learner(learner: Learner, task: Task, *, skip: Collection[str] = ()) -> None:
    """Check that a learner keeps the contract of `quickstudy.core`.

    Args:
        learner: any learner.
        task: one small task that it can learn: tensors without a leading task dimension, at least two support rows a
            class. Second-order finite differences are taken, so let net and task be tiny and dropout be off.
        skip: names of checks to leave out (see `CHECKS`).

    Raises:
        AssertionError: the contract is broken; the message says how.
        InputError: `skip` names no check.

    Examples:
        >>> import quickstudy as qs
        >>> learner = qs.learners.ProtoNet(qs.nets.mlp(2, (4,)))
        >>> support = qs.Examples(torch.randn(6, 2), [0, 1, 2, 0, 1, 2])
        >>> check_learner(learner, Task(support, support))
    """
    unknown = sorted(set(skip) - set(CHECKS))
    if unknown:
        raise InputError(f"no check is named {unknown}; known: {', '.join(CHECKS)}")
    for name, check in CHECKS.items():
        if name not in skip:
            check(learner, task)


def check_prediction_repeats(learner: Learner, task: Task) -> None:
    """Check that predicting changes neither state nor learner, and that a second prediction is the same."""
    learner, task = _doubles(learner, task)
    state = _adapt(learner, task)
    before, weights = _copies(state), _copies(dict(learner.state_dict()))
    modes = [module.training for module in learner.modules()]
    first, second = learner.predict(state, task.query.inputs), learner.predict(state, task.query.inputs)
    _require(_equal(first, second), learner, "predicting twice gives different results; predict must be pure")
    same = all(torch.equal(a, b) for a, b in zip(before, _copies(state), strict=True))
    _require(same, learner, "predict changed the state; states are immutable")
    same = all(torch.equal(a, b) for a, b in zip(weights, _copies(dict(learner.state_dict())), strict=True))
    _require(same, learner, "adapt or predict changed the learner's parameters or buffers; only the outer loop may")
    unchanged = modes == [module.training for module in learner.modules()]
    _require(unchanged, learner, "predict changed a module's training mode")
    again = learner.predict(_adapt(learner, task), task.query.inputs)
    _require(_equal(first, again), learner, "adapting twice gives different results; take randomness from the key")


def check_queries_independent(learner: Learner, task: Task) -> None:
    """Check that the prediction of a query row depends on no other query row, where the learner promises so."""
    if not learner.independent_queries:
        return
    learner, task = _doubles(learner, task)
    state = _adapt(learner, task)
    together = learner.predict(state, task.query.inputs)
    for row in range(len(task.query)):
        one = trees.map_leaves(lambda leaf, r=row: leaf[r : r + 1], task.query.inputs)
        alone = batching.select(learner.predict(state, one), 0)
        _close(alone, batching.select(together, row), learner, f"query row {row} alone is predicted otherwise")


def check_support_order(learner: Learner, task: Task) -> None:
    """Check that the order of support rows does not matter, where the learner promises so."""
    if not learner.permutation_invariant:
        return
    learner, task = _doubles(learner, task)
    order = random.permutation(random.key(7), len(task.support))
    shuffled = _each_row(task.support, lambda leaf: leaf[order])
    expected = learner.predict(_adapt(learner, task), task.query.inputs)
    found = learner.predict(_adapt(learner, Task(shuffled, task.query)), task.query.inputs)
    _close(found, expected, learner, "the order of support rows matters; say so by permutation_invariant")


def check_batched_equals_looped(learner: Learner, task: Task) -> None:
    """Check the law of batching: outputs, losses and gradients of a batch are those of its tasks one by one."""
    learner, task = _doubles(learner, task)
    tasks = _variants(task, 3)
    batch, keys = batching.stack(tasks), torch.stack([_key(i) for i in range(3)])
    with torch.no_grad():
        states = batching.adapt(learner, batch.support, keys)
        outputs = batching.predict(learner, states, batch.query.inputs)
        for i, each in enumerate(tasks):
            state = _adapt(learner, each, i)
            own = learner.predict(state, each.query.inputs)
            _close(batching.select(outputs, i), own, learner, f"task {i} of a batch is predicted otherwise than alone")
            for found, expected in zip(_leaves(batching.select(states, i)), _leaves(state), strict=True):
                if expected.dtype.is_floating_point:
                    _close(found, expected, learner, f"the state of task {i} of a batch is not its state alone")
    names, values = _parameters(learner)
    if not values:
        return
    # Summed over tasks with unequal weights, so that an exchange of tasks would show.
    weights = torch.arange(1.0, 4.0, dtype=torch.float64)
    together = batching.map_tasks(lambda one, key: _loss(learner, one, key), batch, keys)
    alone = torch.stack([_loss(learner, each, _key(i)) for i, each in enumerate(tasks)])
    _close(together, alone, learner, "losses of a batch are not those of its tasks alone")
    batched, looped = _gradient((together * weights).sum(), values), _gradient((alone * weights).sum(), values)
    for name, a, b in zip(names, batched, looped, strict=True):
        _close(a, b, learner, f"the meta-gradient of '{name}' over a batch is not the sum over its tasks", 1e-8)


def check_dtype_and_device(learner: Learner, task: Task) -> None:
    """Check that outputs and state keep the dtype and device of learner and inputs."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for device in devices:
        for dtype in (torch.float32, torch.float64):
            own = copy.deepcopy(learner).to(device, dtype).eval()
            one = trees.map_leaves(lambda leaf, d=device: leaf.to(d), batching.to_dtype(task, dtype))
            state = _adapt(own, one)
            output = own.predict(state, one.query.inputs)
            found = {leaf.dtype for leaf in _leaves(output)}
            _require(found == {dtype}, learner, f"inputs of {dtype} give outputs of {found}")
            for leaf in (*_leaves(output), *_leaves(state)):
                _require(leaf.device.type == device, learner, f"inputs on {device} give tensors on {leaf.device}")
                kept = leaf.dtype == dtype or not leaf.dtype.is_floating_point
                _require(kept, learner, f"inputs of {dtype} give a state that holds {leaf.dtype}")


def check_state_round_trip(learner: Learner, task: Task) -> None:
    """Check that a state, saved as tensors and rebuilt, predicts the same."""
    learner, task = _doubles(learner, task)
    state = _adapt(learner, task)
    leaves, structure = trees.flatten(state)
    strays = sorted({type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor)})
    _require(not strays, learner, f"the state holds {strays}; states are pytrees of tensors")
    content = save({str(i): leaf.detach().contiguous().clone() for i, leaf in enumerate(leaves)})
    stored = load(content)
    rebuilt = trees.unflatten([stored[str(i)] for i in range(len(leaves))], structure)
    found, expected = (learner.predict(each, task.query.inputs) for each in (rebuilt, state))
    # Not to the bit: tensors of another memory layout may be summed in another order.
    text = "a state that was saved and loaded predicts otherwise; keep all of it in its tensors"
    _close(found, expected, learner, text)


def check_state_dict_round_trip(learner: Learner, task: Task) -> None:
    """Check that the state dict holds everything that was learned across tasks."""
    learner, task = _doubles(learner, task)
    other = copy.deepcopy(learner)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(load(save({k: v.contiguous().clone() for k, v in learner.state_dict().items()})))
    expected = learner.predict(_adapt(learner, task), task.query.inputs)
    found = other.predict(_adapt(other, task), task.query.inputs)
    _require(_equal(found, expected), learner, "a learner with the same state dict predicts otherwise")


def check_meta_gradient(learner: Learner, task: Task) -> None:
    """Check the meta-gradient against central differences in random directions, where the learner says it is exact."""
    if not learner.exact_meta_gradient:
        return
    learner, task = _doubles(learner, task)
    _, values = _parameters(learner)
    if not values:
        return
    gradient = _gradient(_loss(learner, task, _key(0)), values)
    at = [value.detach().clone() for value in values]
    for number in range(2):
        keys = [random.fold_in(random.key(number), i) for i in range(len(at))]
        way = [random.normal(k, *v.shape, dtype=v.dtype).to(v.device) for k, v in zip(keys, at, strict=True)]
        length = torch.stack([w.square().sum() for w in way]).sum().sqrt()
        way = [w / length for w in way]
        claimed = float(torch.stack([(g * w).sum() for g, w in zip(gradient, way, strict=True)]).sum())
        slopes = []
        # A large step may cross a kink of a ReLU or of pooling, a small one loses digits: one that agrees is enough.
        for step in (1e-5, 1e-6, 1e-7):
            ends = [_loss_at(learner, task, values, at, way, sign * step) for sign in (1, -1)]
            slopes.append((ends[0] - ends[1]) / (2 * step))
            if abs(claimed - slopes[-1]) < 1e-6 * max(1.0, abs(claimed)):
                break
        else:
            _require(False, learner, f"the meta-gradient {claimed:.9g} is not the slope of the loss, about {slopes}")


def check_padding(learner: Learner, task: Task) -> None:
    """Check that rows masked out change nothing, whatever they hold."""
    learner, task = _doubles(learner, task)
    padded = Task(_pad(task.support, 3, 11), _pad(task.query, 2, 12))
    before, after = _adapt(learner, task), _adapt(learner, padded)
    expected = learner.predict(before, task.query.inputs)
    found = learner.predict(after, task.query.inputs)
    _close(found, expected, learner, "padding rows of the support (mask False) change predictions")
    if learner.independent_queries:
        a, b = learner.loss(after, padded.query), learner.loss(before, task.query)
        _close(a, b, learner, "padding rows of the query (mask False) change the loss")


def check_absent_class(learner: Learner, task: Task) -> None:
    """Check that a class without a support row gets probability zero, and the others finite logits."""
    ways = task.support.ways
    if ways is None or ways < 3 or task.support.labels.ndim != 1:
        return
    learner, task = _doubles(learner, task)
    old = task.support.mask
    keep = task.support.labels != ways - 1
    mask = keep if old is None else keep & old
    support = _but(task.support, mask=mask)
    logits = learner.predict(_adapt(learner, Task(support, support)), task.query.inputs)
    _require(bool(torch.isfinite(logits).all()), learner, "with a class absent from the support, logits are not finite")
    share = torch.softmax(logits, 1)[:, ways - 1]
    _require(bool((share == 0).all()), learner, "a class absent from the support gets a probability above zero")


def check_ways(learner: Learner, task: Task) -> None:
    """Check that a task of many more ways is learned with that many logits, or refused with an InputError."""
    known = task.support.ways
    if known is None or task.support.labels.ndim != 1:
        return
    learner, task = _doubles(learner, task)
    ways = known + 40
    support = _but(task.support, ways=ways)
    try:
        output = learner.predict(_adapt(learner, Task(support, task.query)), task.query.inputs)
    except InputError:
        return
    fits = output.shape[:2] == (len(task.query), ways)
    _require(fits, learner, f"a task of {ways} ways gives outputs {tuple(output.shape)}; raise InputError instead")


CHECKS: dict[str, Check] = {
    "state_round_trip": check_state_round_trip,
    "prediction_repeats": check_prediction_repeats,
    "queries_independent": check_queries_independent,
    "support_order": check_support_order,
    "batched_equals_looped": check_batched_equals_looped,
    "dtype_and_device": check_dtype_and_device,
    "state_dict_round_trip": check_state_dict_round_trip,
    "meta_gradient": check_meta_gradient,
    "padding": check_padding,
    "absent_class": check_absent_class,
    "ways": check_ways,
}
"""All checks by name, in the order in which `check_learner` runs them."""


def _require(condition: bool, learner: Learner, text: str) -> None:
    if not condition:
        raise AssertionError(f"{type(learner).__name__}: {text}")


def _close(found: Any, expected: Any, learner: Learner, text: str, tolerance: float = 1e-9) -> None:
    for a, b in zip(_leaves(found), _leaves(expected), strict=True):
        _require(a.shape == b.shape, learner, f"{text}: {tuple(a.shape)}, not {tuple(b.shape)}")
        a, b = a.detach(), b.detach()
        error = float(((a - b).abs() / b.abs().clamp_min(1)).max()) if a.numel() else 0.0
        _require(error <= tolerance, learner, f"{text} (error {error:.1e})")


def _equal(found: Any, expected: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_leaves(found), _leaves(expected), strict=True))


def _doubles(learner: Learner, task: Task) -> tuple[Learner, Task]:
    """Return a copy of the learner in float64 and evaluation mode, and the task in float64."""
    own = copy.deepcopy(learner).double().eval()
    for module in own.modules():
        # A net may be used while it is being meta-trained, when batch norm layers are in training mode.
        if isinstance(module, BATCH_NORMS):
            module.training = True
    return own, batching.to_dtype(task, torch.float64)


def _key(number: int) -> Tensor:
    return random.fold_in(random.key(5), number)


def _adapt(learner: Learner, task: Task, number: int = 0) -> State:
    return learner.learn(task.support, _key(number).to(task.support.labels.device))


def _loss(learner: Learner, task: Task, key: Tensor) -> Tensor:
    return learner.loss(learner.learn(task.support, key), task.query)


def _loss_at(
    learner: Learner, task: Task, values: list[Tensor], at: list[Tensor], way: list[Tensor], step: float
) -> float:
    with torch.no_grad():
        for value, start, direction in zip(values, at, way, strict=True):
            value.copy_(start + step * direction)
        loss = float(_loss(learner, task, _key(0)).detach())
        for value, start in zip(values, at, strict=True):
            value.copy_(start)
    return loss


def _parameters(learner: Learner) -> tuple[list[str], list[Tensor]]:
    named = [(name, value) for name, value in learner.named_parameters() if value.requires_grad]
    return [name for name, _ in named], [value for _, value in named]


def _gradient(loss: Tensor, values: list[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(value) for value in values]
    found = torch.autograd.grad(loss, values, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, values, strict=True)]


def _leaves(tree: Any) -> list[Tensor]:
    return [leaf for leaf in trees.leaves(tree) if isinstance(leaf, Tensor)]


def _copies(tree: Any) -> list[Tensor]:
    return [leaf.detach().clone() for leaf in _leaves(tree)]


def _variants(task: Task, count: int) -> list[Task]:
    """Return tasks of the same shape: inputs and targets scaled, classes renamed."""

    def vary(rows: Examples, number: int) -> Examples:
        def scale(leaf: Tensor) -> Tensor:
            return leaf * (1 + 0.3 * number) if leaf.dtype.is_floating_point else leaf

        labels = scale(rows.labels)
        if rows.ways is not None and not labels.dtype.is_floating_point:
            labels = (labels + number) % rows.ways
        return _but(rows, inputs=trees.map_leaves(scale, rows.inputs), labels=labels)

    return [Task(vary(task.support, i), vary(task.query, i)) for i in range(count)]


def _pad(rows: Examples, count: int, seed: int) -> Examples:
    """Return rows with `count` rows of garbage appended, masked out."""
    picked = torch.arange(count, device=rows.labels.device) % len(rows)

    def extend(leaf: Tensor) -> Tensor:
        extra = leaf[picked]
        if leaf.dtype.is_floating_point:
            extra = 10 * random.normal(random.key(seed), *extra.shape, dtype=leaf.dtype).to(leaf.device)
        return torch.cat([leaf, extra])

    mask = rows.counted
    mask = torch.cat([mask, torch.zeros(count, dtype=torch.bool, device=mask.device)])
    return _but(rows, inputs=trees.map_leaves(extend, rows.inputs), labels=extend(rows.labels), mask=mask)


def _but(rows: Examples, **changes: Any) -> Examples:
    """Return rows of the same kind, with all that a subclass holds besides, but for some changes."""
    changed = copy.copy(rows)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    return changed


def _each_row(rows: Examples, function: Callable[[Tensor], Tensor]) -> Examples:
    """Return rows whose tensors with a row dimension are exchanged."""
    mask = None if rows.mask is None else function(rows.mask)
    return _but(rows, inputs=trees.map_leaves(function, rows.inputs), labels=function(rows.labels), mask=mask)
