"""The drop-in optimiser, with rules whose trajectories torch.optim gives too."""

import copy
import io

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy import registry
from quickstudy.errors import CheckpointError, InputError
from quickstudy.learners import L2O
from quickstudy.optim import DEFAULT, LearnedOptimizer, load_rule, save_rule, shipped
from quickstudy.problem import Optimizee, Problem
from quickstudy.rules import LearnedRule
from quickstudy.storage.checkpoint import load_checkpoint, save_checkpoint, write_json


class Known(LearnedRule):
    """Adam in a learned rule's clothes, its rate a parameter; scaled by the loss, if that is wanted."""

    def __init__(self, lr=0.1, by_loss=False):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(lr, dtype=torch.float64))
        self.by_loss, self.calls = by_loss, []

    def start(self, theta, steps=None):
        self.calls.append((sorted(theta), steps))
        return {
            name: {"m": torch.zeros_like(p), "v": torch.zeros_like(p), "count": torch.zeros((), dtype=torch.int64)}
            for name, p in theta.items()
        }

    def update(self, grads, state, theta, loss=None):
        assert list(grads) == list(state) == list(theta)
        moved, after = {}, {}
        for name, g in grads.items():
            t = state[name]["count"] + 1
            m, v = 0.9 * state[name]["m"] + 0.1 * g, 0.999 * state[name]["v"] + 0.001 * g.square()
            share = [1 - beta ** t.to(g.dtype) for beta in (0.9, 0.999)]
            step = m / share[0] / ((v / share[1]).sqrt() + 1e-8)
            moved[name] = theta[name] - self.rate * step * (loss if self.by_loss else 1.0)
            after[name] = {"m": m, "v": v, "count": t}
        return moved, after


def net(dtype=torch.float64, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)


INPUTS = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TARGETS = INPUTS.square().sum(1, keepdim=True)


def loss_of(model):
    dtype = next(model.parameters()).dtype
    return (model(INPUTS.to(dtype)) - TARGETS.to(dtype)).square().mean()


def train(model, optimizer, steps=5, scheduler=None):
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses.append(loss.item())
    return losses


def assert_same(one, other, **tolerance):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


EXACT = {"rtol": 0, "atol": 0}


# as torch.optim --------------------------------------------------------------------------------------------------


def test_a_rule_known_to_torch_goes_the_same_way_and_lowers_the_loss():
    one, other = net(), net()
    losses = train(one, LearnedOptimizer(one.parameters(), Known()), 20)
    train(other, torch.optim.Adam(other.parameters(), 0.1), 20)
    assert_same(one, other, rtol=1e-9, atol=1e-12)
    assert losses[-1] < losses[0] / 2


def test_groups_have_their_own_rates_and_decay():
    one, other = net(), net()

    def groups(model, factor, decay):
        return [
            {"params": list(model[0].parameters()), "lr": 0.5 * factor},
            {"params": list(model[2].parameters()), "weight_decay": decay},
        ]

    train(one, LearnedOptimizer(groups(one, 1, 0.02), Known()))
    # AdamW's decay is lr * weight_decay, whose lr here includes the rule's own 0.1.
    peer = torch.optim.AdamW(groups(other, 0.1, 0.2), 0.1, weight_decay=0.0)
    train(other, peer)
    assert_same(one, other, rtol=1e-9, atol=1e-12)


def test_schedules_and_added_groups():
    one, other = net(), net()
    ours = LearnedOptimizer(one[0].parameters(), Known())
    peer = torch.optim.Adam(other[0].parameters(), 0.1)
    for optimizer, model, lr in ((ours, one, 0.5), (peer, other, 0.05)):
        train(model, optimizer, 2)
        optimizer.add_param_group({"params": model[2].parameters(), "lr": lr})
        train(model, optimizer, 4, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1))
    assert ours.param_groups[0]["lr"] == pytest.approx(0.01)
    assert_same(one, other, rtol=1e-9, atol=1e-12)


def test_the_same_trajectory_as_the_inner_loop_of_meta_training():
    model, rule = net(), Known()
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    problem = Problem(Optimizee(INPUTS, model), TARGETS, start)
    state = L2O(rule, steps=7).adapt(problem)
    train(model, LearnedOptimizer(model.parameters(), rule), 7)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, state.theta[name], rtol=1e-12, atol=1e-12)


def test_named_parameters_are_taken():
    one, other = net(), net()
    train(one, LearnedOptimizer(one.named_parameters(), Known()))
    train(other, LearnedOptimizer(other.parameters(), Known()))
    assert_same(one, other, **EXACT)


# checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_training_resumes_bit_identically(dtype):
    whole, cut = net(dtype), net(dtype)
    train(whole, LearnedOptimizer(whole.parameters(), Known(), weight_decay=1e-3), 6)
    first = LearnedOptimizer(cut.parameters(), Known(), weight_decay=1e-3)
    train(cut, first, 3)
    file = io.BytesIO()
    torch.save({"model": cut.state_dict(), "optimizer": first.state_dict()}, file)
    file.seek(0)
    kept = torch.load(file, weights_only=True)
    resumed = net(dtype, seed=9)
    resumed.load_state_dict(kept["model"])
    second = LearnedOptimizer(resumed.parameters(), Known())
    second.load_state_dict(kept["optimizer"])
    remembered = second.state[resumed[0].weight]
    assert remembered["m"].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert remembered["count"].dtype == torch.int64
    assert second.param_groups[0]["weight_decay"] == 1e-3
    train(resumed, second, 3)
    assert_same(whole, resumed, **EXACT)


def test_hooks_of_checkpoints_see_and_change_what_is_loaded():
    model = net()
    optimizer = LearnedOptimizer(model.parameters(), Known())
    train(model, optimizer, 2)
    kept, seen = optimizer.state_dict(), []
    fresh = LearnedOptimizer(model.parameters(), Known())

    def forget(_, given):
        return {**given, "state": {0: given["state"][0]}}

    fresh.register_load_state_dict_pre_hook(forget)
    fresh.register_load_state_dict_post_hook(lambda each: seen.append(each.state[model[0].weight]["count"].dtype))
    fresh.load_state_dict(kept)
    assert list(fresh.state) == [model[0].weight]
    assert seen == [torch.int64]
    other = LearnedOptimizer(model.parameters(), Known())
    with pytest.raises(ValueError, match="different number of parameter groups"):
        other.load_state_dict({"state": {}, "param_groups": []})
    other.load_state_dict(kept)
    assert len(other.state) == 4


def test_copies_go_on_alike():
    model = net()
    optimizer = LearnedOptimizer(model.parameters(), Known(), steps=8)
    train(model, optimizer, 2)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    file = io.BytesIO()
    torch.save((model, optimizer), file)
    file.seek(0)
    third, third_optimizer = torch.load(file, weights_only=False)
    for each, its in ((model, optimizer), (twin, twin_optimizer), (third, third_optimizer)):
        assert its.steps == 8
        train(each, its, 2)
    assert_same(model, twin, **EXACT)
    assert_same(model, third, **EXACT)


# what training scripts do ----------------------------------------------------------------------------------------


def test_the_rule_is_copied_and_frozen():
    model, rule = net(), Known()
    optimizer = LearnedOptimizer(model.parameters(), rule)
    train(model, optimizer, 1)
    assert rule.rate.requires_grad
    assert rule.calls == []
    assert not optimizer.rule.rate.requires_grad
    assert all(not value.requires_grad for kept in optimizer.state.values() for value in kept.values())


def test_parameters_without_a_gradient_stay():
    model = net()
    model[0].bias.requires_grad_(False)
    optimizer = LearnedOptimizer(model.parameters(), Known(), weight_decay=0.1, steps=5)
    loss_of(model).backward()
    model[2].bias.grad = None
    before = copy.deepcopy(model)
    optimizer.step()
    for name in ("0.bias", "2.bias"):
        assert torch.equal(model.get_parameter(name), before.get_parameter(name))
    assert not torch.equal(model[0].weight, before[0].weight)
    assert len(optimizer.state) == 2
    loss_of(model).backward()
    optimizer.step()
    # One that joins later starts then; the others go on.
    rule = next(iter(optimizer._placed.values()))
    assert rule.calls == [(["0", "2"], 5), (["3"], 5)]
    assert [int(kept["count"]) for kept in optimizer.state.values()] == [2, 2, 1]


def test_closures_and_losses_reach_rules_that_look_at_them():
    one, other, plain = net(), net(), net()

    def closure():
        ours.zero_grad()
        loss = loss_of(one)
        loss.backward()
        return loss

    ours = LearnedOptimizer(one.parameters(), Known(by_loss=True))
    theirs = LearnedOptimizer(other.parameters(), Known(by_loss=True))
    for _ in range(3):
        theirs.zero_grad()
        loss = loss_of(other)
        loss.backward()
        assert theirs.step(loss=loss) is loss
        assert ours.step(closure).item() == loss.item()
    assert_same(one, other, **EXACT)
    train(plain, LearnedOptimizer(plain.parameters(), Known()), 3)
    assert not torch.equal(plain[0].weight, one[0].weight)


def test_mixed_dtypes_are_computed_in_the_wider_one():
    model = nn.ModuleList([net(torch.bfloat16), net(torch.float32), net(torch.float64)])
    optimizer = LearnedOptimizer(model.parameters(), Known())
    before = sum(loss_of(each).item() for each in model)
    for _ in range(10):
        optimizer.zero_grad()
        sum(loss_of(each).double() for each in model).backward()
        optimizer.step()
    assert [p.dtype for each in model for p in each.parameters()] == (
        [torch.bfloat16] * 4 + [torch.float32] * 4 + [torch.float64] * 4
    )
    assert sum(loss_of(each).item() for each in model) < before
    assert {kept["m"].dtype for kept in optimizer.state.values()} == {torch.float32, torch.float64}


def test_gradient_scaling_skips_steps_that_overflow():
    model, plain = net(torch.float32), net(torch.float32)
    scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=256.0), LearnedOptimizer(model.parameters(), Known())
    losses = train(plain, LearnedOptimizer(plain.parameters(), Known()), 3)
    for expected in losses:
        optimizer.zero_grad()
        loss = loss_of(model)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        scaler.scale(loss).backward()
        scaler.step(optimizer, loss=loss.detach())
        scaler.update()
    assert_same(model, plain)
    optimizer.zero_grad()
    scaler.scale(loss_of(model) * float("inf")).backward()
    before = copy.deepcopy(model)
    scaler.step(optimizer)
    assert_same(model, before, **EXACT)


def test_nan_is_not_hidden():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.tensor([1.0, float("nan"), 0.5])
    LearnedOptimizer([p], Known()).step()
    assert torch.isnan(p).tolist() == [False, True, False]


def test_step_hooks_run():
    model, seen = net(), []
    optimizer = LearnedOptimizer(model.parameters(), Known())
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    train(model, optimizer, 1)
    assert seen == ["before", "after"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    model, plain = net(torch.float32), net(torch.float32)
    parameters = [p.detach().cuda().requires_grad_() for p in model.parameters()]
    optimizer = LearnedOptimizer(parameters, Known())
    ours = LearnedOptimizer(plain.parameters(), Known())
    loss_of(plain).backward()
    for p, q in zip(parameters, plain.parameters(), strict=True):
        p.grad = q.grad.cuda()
    optimizer.step(loss=torch.tensor(1.0))
    ours.step()
    for p, q in zip(parameters, plain.parameters(), strict=True):
        torch.testing.assert_close(p.cpu(), q)


# mistakes --------------------------------------------------------------------------------------------------------


def test_mistakes_are_named():
    parameters = [nn.Parameter(torch.ones(2))]
    with pytest.raises(InputError, match="unknown pretrained rule 'nonsense'"):
        LearnedOptimizer(parameters, "nonsense")
    with pytest.raises(InputError, match="unknown pretrained rule"):
        shipped("../weights/learned-optimizer")
    with pytest.raises(InputError, match=r"not SGD; .* torch\.optim"):
        LearnedOptimizer(parameters, qs.rules.SGD(0.1))
    with pytest.raises(InputError, match="steps must be at least 1, not 0"):
        LearnedOptimizer(parameters, Known(), steps=0)
    with pytest.raises(InputError, match="lr must be 0 or more, not -1"):
        LearnedOptimizer(parameters, Known(), lr=-1)
    with pytest.raises(InputError, match="weight_decay must be finite, not nan"):
        LearnedOptimizer([{"params": parameters, "weight_decay": float("nan")}], Known())


def test_gradients_that_rules_cannot_take_are_refused():
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = LearnedOptimizer(table.parameters(), Known())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match=r"parameter 0 \(5, 2\) has a sparse gradient"):
        optimizer.step()
    number = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    number.abs().sum().backward()
    with pytest.raises(InputError, match="complex"):
        LearnedOptimizer([number], Known()).step()


# rules from files ------------------------------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch):
    registry.fill("rule")
    monkeypatch.setitem(registry.TABLES, "rule", dict(registry.TABLES["rule"]))

    class Filed(Known):
        def __init__(self, lr: float = 0.1) -> None:
            super().__init__(lr)

    return registry.register("rule")(Filed)


def test_rules_are_kept_in_files(registered, tmp_path):
    rule = registered(lr=0.3)
    with torch.no_grad():
        rule.rate.fill_(0.25)
    save_rule(rule, tmp_path / "rule.safetensors", {"by": "a test"})
    found = load_rule(tmp_path / "rule.safetensors")
    assert type(found) is registered
    assert found.rate.item() == 0.25
    content = load_checkpoint(tmp_path / "rule.safetensors")
    assert content["card"] == {"by": "a test"}
    save_checkpoint(tmp_path / "other.safetensors", {**content, "weights": {"wrong": torch.ones(1)}})
    with pytest.raises(CheckpointError, match="weights of another rule than Filed"):
        load_rule(tmp_path / "other.safetensors")
    save_checkpoint(tmp_path / "other.safetensors", {**content, "rule": registry.describe(qs.rules.SGD(0.1))})
    with pytest.raises(CheckpointError, match="holds a SGD, which is not a LearnedRule"):
        load_rule(tmp_path / "other.safetensors")
    save_checkpoint(tmp_path / "other.safetensors", {})
    with pytest.raises(CheckpointError, match="holds no rule"):
        load_rule(tmp_path / "other.safetensors")


def test_the_rule_of_a_run(registered, tmp_path):
    data = qs.datasets.arrays(INPUTS.float().numpy(), [0, 1] * 6)
    problems = qs.tasks.Fitting(nn.Linear(3, 2), data, rows=6, query_rows=None)
    settings = {"steps": 1, "meta_batch": 2, "device": "cpu", "progress": False, "compile": False}
    learner = L2O(registered(lr=0.2), steps=2)
    qs.meta_train(learner, problems, **settings, run_dir=tmp_path / "l2o")
    model = net(torch.float32)
    optimizer = LearnedOptimizer.from_run(tmp_path / "l2o", model.parameters(), checkpoint="last", lr=0.5)
    assert optimizer.rule.rate.item() == learner.rule.rate.item() != 0.2
    assert optimizer.param_groups[0]["lr"] == 0.5
    train(model, optimizer, 1)
    fixed = L2O(qs.rules.SGD(0.1), steps=2)
    write_json(tmp_path / "sgd" / "run.json", {"learner": registry.describe(fixed), "format": 1})
    save_checkpoint(tmp_path / "sgd" / "last.safetensors", {"learner": {}})
    with pytest.raises(InputError, match="trained L2O, which learned no update rule"):
        LearnedOptimizer.from_run(tmp_path / "sgd", model.parameters())


def test_state_of_another_rule_is_refused() -> None:
    def optimiser(rule: qs.rules.LearnedRule) -> LearnedOptimizer:
        return LearnedOptimizer([torch.nn.Parameter(torch.ones(3))], rule=rule)

    one = optimiser(qs.rules.MLPRule())
    one.param_groups[0]["params"][0].grad = torch.ones(3)
    one.step()
    with pytest.raises(CheckpointError, match="another optimiser's"):
        optimiser(qs.rules.LSTMRule()).load_state_dict(one.state_dict())


@pytest.mark.parametrize("rule", [DEFAULT, qs.rules.LSTMRule(hidden=3), qs.rules.MLPRule(), qs.rules.VeLO(hidden=4)])
def test_parameters_without_numbers_of_one_number_frozen_or_without_gradient(rule):
    def run(shapes):
        torch.manual_seed(0)
        parameters = [nn.Parameter(torch.randn(shape)) for shape in shapes]
        frozen, idle = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(2))
        optimizer = LearnedOptimizer([*parameters, frozen, idle], rule)
        for _ in range(3):
            optimizer.zero_grad()
            sum(p.square().sum() for p in parameters).backward()
            optimizer.step(loss=1.0)
        optimizer.load_state_dict(optimizer.state_dict())
        assert frozen.tolist() == idle.tolist() == [1, 1]
        return [p.detach() for p in parameters]

    shapes = [(0,), (2, 3), (), (0, 4), (3, 0), (1, 1)]
    found, full = run(shapes), run([shape for shape in shapes if 0 not in shape])
    assert [tuple(p.shape) for p in found] == shapes
    assert all(torch.equal(a, b) for a, b in zip([p for p in found if p.numel()], full, strict=True))
    assert all(bool(p.isfinite().all()) for p in full)
    assert [tuple(p.shape) for p in run([(0,), (0, 2)])] == [(0,), (0, 2)]
