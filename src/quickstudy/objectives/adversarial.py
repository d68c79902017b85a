"""The loss on queries that were perturbed against the adapted learner: robustness to tampered inputs.

Goldblum, Fowl & Goldstein 2020, "Adversarially Robust Few-Shot Learning: A Meta-Learning Approach", algorithm 1
(adversarial querying), where the support stays as it is and each query x becomes

    x + argmax_{|d|_inf <= epsilon} L(theta'; x + d, y)

found by projected gradient ascent on the state theta' that was adapted (Madry et al. 2018). The outer gradient takes
the perturbed query for a constant. Departures: `clean` mixes in the loss on the query as it is, of which the paper has
none; and the ascent starts at the query itself unless `random_start` is asked for.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from quickstudy.core import Examples, Learner, State, Task
from quickstudy.engine.objective import Objective
from quickstudy.errors import InputError
from quickstudy.functional import random
from quickstudy.functional.adversarial import pgd
from quickstudy.operators import trees
from quickstudy.registry import register


@register("objective", why="robustness to tampered queries")
class AdversarialQuery(Objective):
    """Loss on the query after it was moved against the adapted learner.

    All floating tensors of the inputs are moved; integer ones, such as words, stay.

    Args:
        epsilon: largest change of each number of the inputs, in their units.
        steps: of gradient ascent; 1 is the fast gradient sign method.
        size: of a step; None is 2.5 epsilon / steps.
        clean: share of the loss that is on the query as it is, 0 to 1.
        random_start: begin the ascent anywhere in the ball, drawn with the task's key.
        limits: lowest and highest value of a perturbed input, such as (0, 1) for images; None for no limit.

    Raises:
        InputError: an argument is out of range. When called: the inputs hold no floating number.
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        steps: int = 7,
        size: float | None = None,
        clean: float = 0.0,
        random_start: bool = False,
        limits: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if epsilon < 0:
            raise InputError(f"epsilon must be 0 or more, not {epsilon}")
        if steps < 1:
            raise InputError(f"steps must be at least 1, not {steps}")
        if size is not None and not size > 0:
            raise InputError(f"size must be positive or None, not {size}")
        if not 0 <= clean <= 1:
            raise InputError(f"clean must be a share of the loss, 0 to 1, not {clean}")
        if limits is not None and not limits[0] < limits[1]:
            raise InputError(f"limits must be (lowest, highest), not {limits}")
        self.epsilon, self.steps, self.size, self.clean = epsilon, steps, size, clean
        self.random_start, self.limits = random_start, limits

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        """Return the loss of a state that adapting to the support gave."""
        loss = learner.loss(state, self.perturbed(learner, state, task.query, key))
        if self.clean:
            loss = (1 - self.clean) * loss + self.clean * learner.loss(state, task.query)
        return loss

    def perturbed(self, learner: Learner, state: State, query: Examples, key: Tensor) -> Examples:
        """Return the query (Q rows), moved against a state, as constants."""
        leaves, spec = trees.flatten(query.inputs)
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        if not places:
            raise InputError("the query's inputs hold no floating number that could be perturbed; use 'query_loss'")
        inputs = [leaves[place].detach() for place in places]
        fixed = trees.map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, state)

        def put(moved: list[Tensor]) -> Examples:
            found = list(leaves)
            for place, leaf in zip(places, moved, strict=True):
                found[place] = leaf
            return _with_inputs(query, trees.unflatten(found, spec))

        start = None
        if self.random_start:
            draws = [
                random.uniform(random.fold_in(key, place), *x.shape) for place, x in zip(places, inputs, strict=True)
            ]
            start = [self.epsilon * (2 * u.to(x.dtype) - 1) for u, x in zip(draws, inputs, strict=True)]
        moved = pgd(
            lambda moved: learner.loss(fixed, put(moved)),
            inputs,
            self.epsilon,
            self.steps,
            self.size,
            start,
            query.mask,
            self.limits,
        )
        return put(moved)


def _with_inputs(examples: Examples, inputs: Any) -> Examples:
    # A copy rather than new Examples: a problem has more fields than they.
    changed = copy.copy(examples)
    object.__setattr__(changed, "inputs", inputs)
    return changed
