"""The whole idea in one file: read this first.

A meta-learner is two functions, written for ONE task::

    adapt(support) -> state          the inner loop: learn this task
    predict(state, inputs) -> out    use what was learned

What is learned across tasks (the meta-knowledge, omega) is the learner's parameters. A prototypical network's `adapt`
averages embeddings, MAML's takes gradient steps, a memory network's writes a memory. Batching over tasks is not the
learner's business: `quickstudy.batching` maps these functions over tasks with `torch.func.vmap`, under the law
`batched(f)(tasks) == stack([f(task) for task in tasks])`. So a learner contains neither a loop over tasks nor a vmap.

Shape letters used everywhere: T tasks, N ways (classes per task), K shots (support rows per class), S support rows,
Q query rows, D features. Labels inside a task are 0..N-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import InputError
from quickstudy.functional import notebook
from quickstudy.functional.checks import as_inputs, as_labels, as_tensor, check_rows
from quickstudy.functional.predictive import Predictive, check_logits, check_targets
from quickstudy.operators import trees
from quickstudy.operators.internals import in_transform

State = Any
"""What `adapt` returns: an immutable pytree of tensors (NamedTuple, tuple, dict). `predict` never changes it."""

Output = Any
"""What `predict` returns: a tensor, or for regression with uncertainty a pytree of `functional.predictive`, Q rows."""


@dataclass(frozen=True, init=False)
class Examples:
    """Rows of one task: the support or the query.

    Args:
        inputs: (S, ...) tensor or array, or a pytree of them (dict, tuple) that share their first dimension.
        labels: (S,) integers 0..N-1, or targets (S, ...) of any floating dtype for regression. Integers (S, height,
            width) are the classes of pixels, and (S, L), given `ways`, rows of symbols.
        mask: (S,) booleans, False for rows that are only padding; None means that all rows count.
        ways: number of classes N, static so that it stays known under vmap. None infers it from integer labels.
        check: look at the values too (finite inputs, labels in range). Samplers, whose rows are checked, skip it.

    Raises:
        InputError: shapes disagree, inputs hold no numbers, NaN or infinity, labels are a column, one-hot or no real
            numbers, they lie outside 0..N-1, or `ways` is no number of classes.
    """

    inputs: Any
    labels: Tensor
    mask: Tensor | None
    ways: int | None

    def __init__(
        self, inputs: Any, labels: Any, mask: Tensor | None = None, ways: int | None = None, *, check: bool = True
    ) -> None:
        if check:
            inputs, labels = as_inputs(inputs), as_labels(labels)
            mask = None if mask is None else as_tensor(mask, "mask")
            ways = check_rows(inputs, labels, mask, ways)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "ways", ways)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        kind = "targets" if self.ways is None else f"labels of {self.ways} ways"
        shapes = trees.map_leaves(lambda leaf: tuple(leaf.shape), self.inputs)
        return f"Examples(inputs {shapes}, {kind} {tuple(self.labels.shape)})"

    def _repr_html_(self) -> str:
        return notebook.examples(self.inputs, self.labels, "Examples")

    @property
    def counted(self) -> Tensor:
        """The mask, or all True where there is none: (S,) booleans."""
        every = torch.ones(len(self.labels), dtype=torch.bool, device=self.labels.device)
        return every if self.mask is None else self.mask

    def joined(self, other: Examples) -> Examples:
        """Return the rows of both, these first; the number of ways is that of these."""
        inputs = trees.map_leaves(lambda a, b: torch.cat([a, b]), self.inputs, other.inputs)
        mask = None if self.mask is None and other.mask is None else torch.cat([self.counted, other.counted])
        return Examples(inputs, torch.cat([self.labels, other.labels]), mask, self.ways, check=False)


@dataclass(frozen=True)
class Task:
    """One task: the support to learn from and the query to be judged on.

    A meta-batch is a Task too, each tensor with a leading dimension T.

    Raises:
        InputError: the query has a label that the support lacks, or one has classes and the other targets.
    """

    support: Examples
    query: Examples

    def _repr_html_(self) -> str | None:
        if self.support.labels.ndim != 1 and self.support.ways is not None:
            return None  # a meta-batch
        parts = ((rows.inputs, rows.labels, name) for name, rows in (("Support", self.support), ("Query", self.query)))
        return "".join(notebook.examples(*part) for part in parts)

    def __post_init__(self) -> None:
        """Refuse a query that asks for a class which the support does not show (one task built by hand)."""
        if isinstance(self.support.labels, Tensor) and isinstance(self.query.labels, Tensor):
            kinds = [rows.labels.dtype.is_floating_point for rows in (self.support, self.query)]
            if kinds[0] != kinds[1]:
                words = ["targets of regression" if floating else "classes" for floating in kinds]
                raise InputError(f"the support's labels are {words[0]} and the query's {words[1]}; give both alike")
        if self.support.ways is None or self.query.ways is None or self.query.labels.ndim != 1:
            return
        if torch.compiler.is_compiling() or in_transform(self.query.labels):
            return  # Inside a transform labels have no values that could be looked at.
        shown, asked = (set(rows.labels[rows.counted].tolist()) for rows in (self.support, self.query))
        if not asked <= shown:
            raise InputError(
                f"the query has label {min(asked - shown)}, which no support row has (labels {sorted(shown)}); support "
                "and query of a task share their classes"
            )


class Learner(nn.Module):
    """Base of every method: `adapt`, `predict`, and what makes a prediction good.

    A subclass is one published method in one file. It implements `adapt` and `predict` for one task; its parameters
    are what meta-training learns. It may override `loss` where the paper trains something other than the prediction.
    """

    default_objective: ClassVar[str] = "query_loss"
    """Name of the objective that meta-training uses where the user names none."""
    default_outer: ClassVar[str] = "Gradient"
    """Name of the outer optimiser that meta-training uses where the user names none."""
    needs_problems: ClassVar[bool] = False
    """Whether tasks must bring their own net (`quickstudy.problem`)."""
    config: dict[str, Any]
    """How to build this learner again (set by `quickstudy.registry.register`)."""

    def adapt(self, support: Examples) -> State:
        """Learn one task from its support rows; return what was learned."""
        raise NotImplementedError

    def learn(self, support: Examples, key: Tensor | None = None) -> State:
        """Adapt to one task, with the key () if `adapt` takes one (`stochastic`): what code for any learner calls."""
        if not self.stochastic:
            return self.adapt(support)
        if key is None:
            raise InputError("this learner is stochastic: pass keys, one a task (quickstudy.functional.random.fold_in)")
        return self.adapt(support, key)  # type: ignore[call-arg]

    def predict(self, state: State, inputs: Any) -> Output:
        """Return (Q, N) logits, or (Q, ...) outputs for regression (or a `Gaussian` of them), for one task's inputs."""
        raise NotImplementedError

    def loss(self, state: State, query: Examples) -> Tensor:
        """Return the scalar that meta-training minimises for one task (see `prediction_loss`)."""
        return prediction_loss(self.predict(state, query.inputs), query)

    # Promises that depend on how a learner was built; `quickstudy.testing.check_learner` verifies them.

    @property
    def stochastic(self) -> bool:
        """Whether `adapt(support, key)` takes a key (`quickstudy.functional.random`): randomness is an argument."""
        return False

    @property
    def permutation_invariant(self) -> bool:
        """Whether the order of support rows does not matter."""
        return True

    @property
    def independent_queries(self) -> bool:
        """Whether the prediction for one query row depends on no other query row."""
        return self.batch_norm != "transductive"

    @property
    def exact_meta_gradient(self) -> bool:
        """Whether autograd through `adapt` gives the true derivative of the loss: False where a method leaves terms out
        (first order), approximates them (implicit) or does not meta-learn through `adapt` at all."""
        return True

    @property
    def batch_norm(self) -> str:
        """Batch normalisation policy, named in every result: 'support', 'transductive', 'frozen' or 'none'."""
        return "none"


@runtime_checkable
class Resumable(Protocol):
    """A learner whose inner loop can be taken step by step: `adapt` is `start`, then `inner_steps` times `step`, then
    `finish`. Long unrolls can be truncated, and adaptation curves drawn."""

    inner_steps: int

    def start(self, support: Examples, key: Tensor | None = None) -> State:
        """Return the state before the first step."""
        ...

    def step(self, state: State, support: Examples) -> State:
        """Make one inner step."""
        ...

    def finish(self, state: State, support: Examples) -> State:
        """Return the state that prediction uses."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A learner that can answer along the way, in one pass over a sequence. Any other learner adapts anew to every
    beginning of it (`quickstudy.batching.stream`), with the same answers."""

    def stream(self, sequence: Examples) -> Tensor:
        """Return (L, N) predictions for the L rows of a sequence; that for row t uses the rows before t alone, as
        `predict(adapt(sequence[:t]), inputs[t])` does."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A learner that embeds every row with a net and then works on features, which tasks that share rows can share."""

    compares_rows: bool

    def embed_support(self, support: Examples) -> tuple[Tensor, Any]:
        """Return features (S, D) and the support's batch statistics."""

    def embed(self, inputs: Any, statistics: Any) -> Tensor:
        """Return features (Q, D) of queries."""

    def on_features(self) -> Learner:
        """Return the learner for rows that are features already."""


def prediction_loss(outputs: Output, examples: Examples) -> Tensor:
    """Return the masked mean loss of outputs (S, N, ...) or (S, ...).

    Cross-entropy for integer labels, mean squared error for targets, or minus the log-likelihood of targets where
    outputs carry their uncertainty.
    """
    if examples.labels.dtype.is_floating_point and isinstance(outputs, Predictive):
        losses = -outputs.log_prob(examples.labels)
    elif examples.labels.dtype.is_floating_point:
        check_targets(outputs, examples.labels)
        losses = (outputs - examples.labels.reshape(outputs.shape)).square()
    else:
        check_logits(outputs, examples.labels)
        losses = F.cross_entropy(outputs, examples.labels, reduction="none")
    return masked_mean(losses, examples.mask)


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean of values (S, ...) over the rows where the mask (S,) is True."""
    if mask is None:
        return values.mean()
    rows = values.flatten(1).mean(1) if values.ndim > 1 else values
    weights = mask.to(rows.dtype)
    # Selecting rather than multiplying: a loss of a padding row may be infinite.
    return torch.where(mask, rows, torch.zeros_like(rows)).sum() / weights.sum().clamp_min(1)


def register_pytree(cls: type, children: tuple[str, ...], static: tuple[str, ...]) -> None:
    """Let transforms map over the children of a frozen dataclass, tensors or pytrees of them; the rest is structure."""

    def flatten(value: Any) -> tuple[list[Any], Any]:
        # An absent mask is structure, not a leaf: transforms map over leaves, and None cannot be mapped over.
        found = tuple(name for name in children if getattr(value, name) is not None)
        return [getattr(value, name) for name in found], (found, tuple(getattr(value, name) for name in static))

    def unflatten(parts: Any, context: Any) -> Any:
        # No checks here: under vmap the parts are not tensors with values that could be looked at.
        found, kept = context
        values = dict.fromkeys(children) | dict(zip(found, parts, strict=True)) | dict(zip(static, kept, strict=True))
        value: Any = object.__new__(cls)
        for name, part in values.items():
            object.__setattr__(value, name, part)
        return value

    trees.register(cls, flatten, unflatten, f"quickstudy.{cls.__name__}")


register_pytree(Examples, ("inputs", "labels", "mask"), ("ways",))
register_pytree(Task, ("support", "query"), ())
