"""What an objective is asked, and what it answers unless it says otherwise."""

import inspect

import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.core import Learner, State, Task
from quickstudy.engine.meta_loss import MetaLoss
from quickstudy.engine.objective import Lifted, Objective, lifted, objective
from quickstudy.errors import InputError
from quickstudy.objectives import InnerSteps, Wrapper, named, query_loss
from quickstudy.registry import describe
from quickstudy.testing.specimens import CLASSIFICATION, WAYS, mlp
from tests.helpers.task_batches import KEYS, tasks


def plain(learner: Learner, task: Task, key: Tensor) -> Tensor:
    """Twice the loss."""
    return 2 * query_loss(learner, task, key)


def test_defaults() -> None:
    made = lifted(plain)
    facts = ("judges_states", "judges_end", "compares_tasks", "rewards", "learners_own")
    assert not any(getattr(made, fact) for fact in facts)
    assert made.differentiable
    assert made.refuses(qs.Learner()) is None
    assert float(made.combine(torch.tensor([1.0, 3.0]))) == 2
    made.schedule(0.5)
    for call in (lambda: made.after(None, None, None, None), lambda: made.reward(None, None)):
        with pytest.raises(NotImplementedError):
            call()


def test_a_function_keeps_its_name_signature_and_documentation() -> None:
    made = lifted(plain)
    assert made.name == "plain"
    assert inspect.getdoc(made) == "Twice the loss."
    assert inspect.signature(made) == inspect.signature(plain)
    assert describe(made) == describe(plain) == {"custom": f"{__name__}.plain"}
    assert lifted(made) is made
    assert inspect.getdoc(query_loss) == "Return the learner's loss on the query after adapting to the support."


def test_a_function_may_have_more_as_attributes_or_from_the_decorator() -> None:
    def own(learner: Learner, task: Task, key: Tensor) -> Tensor:
        return plain(learner, task, key)

    def worst(losses: Tensor) -> Tensor:
        return losses.max()

    own.combine = worst  # type: ignore[attr-defined]
    own.differentiable = False  # type: ignore[attr-defined]
    for made in (lifted(own), objective(differentiable=False, combine=worst)(plain)):
        assert made.compares_tasks
        assert not made.differentiable
        assert float(made.combine(torch.tensor([1.0, 3.0]))) == 3


class End(Objective):
    """Judges the end, without saying how to get there."""

    def after(self, learner: Learner, state: State, task: Task, key: Tensor) -> Tensor:
        return learner.loss(state, task.query)


def test_who_judges_the_end_need_not_adapt() -> None:
    learner = CLASSIFICATION["MAML"](mlp, WAYS)
    found, expected = (MetaLoss(learner, goal)(tasks(), KEYS) for goal in (End(), query_loss))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert End().judges_end
    assert End().weight(torch.arange(1, 4), 3).tolist() == [0, 0, 1]
    assert not InnerSteps(End()).judges_end
    assert InnerSteps(End()).judges_states


def test_a_module_of_ones_own_is_part_of_the_objective() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.tensor(3.0))

        def forward(self, learner: Learner, task: Task, key: Tensor) -> Tensor:
            return self.scale * query_loss(learner, task, key)

        def refuses(self, learner: Learner) -> str | None:
            return "no"

    made = named(Scaled())
    assert isinstance(made, Lifted)
    assert made.name == "Scaled"
    assert made.refuses(qs.Learner()) == "no"
    assert made.to("meta").loss.scale.device.type == "meta"


def test_a_wrapper_is_as_what_it_wraps_but_for_what_it_overrides() -> None:
    class Largest(Wrapper):
        def combine(self, losses: Tensor) -> Tensor:
            return losses.max()

    assert Largest(plain).compares_tasks
    assert not Largest(plain).judges_states
    assert Wrapper(Largest("query_loss")).compares_tasks
    assert Wrapper("query_loss").judges_end
    assert not Wrapper("query_loss").learners_own
    assert Wrapper(qs.objectives.Reward()).rewards
    assert not Wrapper(qs.objectives.Reward()).differentiable


def test_methods_that_an_objective_does_not_have_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown method of an objective 'aftr'; did you mean 'after'\?"):
        objective(aftr=plain)(plain)
    with pytest.raises(InputError, match=r"needs parentheses.* @objective\(\)"):
        objective(plain)  # type: ignore[arg-type]
