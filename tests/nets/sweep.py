"""Nets of torchvision and timm in the library, against the same computed with plain PyTorch, task by task.

`python -m tests.nets.sweep` writes what it finds to docs/results/nets.json, from which the docs make a table.
"""

from __future__ import annotations

import copy
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

import quickstudy as qs
from quickstudy import batching
from quickstudy.core import Task
from quickstudy.errors import QuickstudyError
from quickstudy.operators.calls import call

KEPT = Path(__file__).parent.parent.parent / "docs" / "results" / "nets.json"
WAYS, TASKS, LR = 2, 2, 0.1
SMALL = 2_000_000
"""Number of parameters up to which MAML adapts all of them; of larger nets only the head."""
TOLERANCE = 1e-6

TORCHVISION = (
    "resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x0_5", "squeezenet1_1",
    "mnasnet0_5", "regnet_y_400mf", "densenet121", "googlenet", "alexnet", "vgg11", "vgg11_bn", "convnext_tiny",
    "swin_t",
)  # fmt: skip
TIMM: dict[str, dict[str, Any]] = {
    "resnet10t": {}, "mobilenetv3_small_050": {}, "efficientnet_lite0": {}, "convnext_atto": {}, "convnextv2_atto": {},
    "vit_tiny_patch16_224": {"img_size": 64}, "deit_tiny_distilled_patch16_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 4},
    "maxvit_rmlp_pico_rw_256": {"img_size": 64}, "mixer_s32_224": {"img_size": 64}, "resmlp_12_224": {"img_size": 64},
    "poolformer_s12": {}, "efficientformer_l1": {"size": 224}, "ghostnet_050": {}, "edgenext_xx_small": {},
    "mobilevit_xxs": {}, "levit_128s": {"img_size": 64}, "xcit_nano_12_p16_224": {}, "cait_xxs24_224": {"img_size": 64},
    "crossvit_tiny_240": {"size": 240}, "coat_tiny": {"img_size": 64}, "tiny_vit_5m_224": {}, "nf_regnet_b0": {},
    "nfnet_l0": {}, "hardcorenas_a": {}, "lcnet_050": {}, "mobileone_s0": {}, "repvgg_a0": {}, "resnest14d": {},
    "skresnet18": {}, "fastvit_t8": {}, "visformer_tiny": {"img_size": 64}, "tnt_s_legacy_patch16_224": {"size": 224},
    "regnety_002": {}, "eca_resnext26ts": {}, "seresnet18": {}, "pvt_v2_b0": {}, "gmlp_ti16_224": {"img_size": 64},
    "starnet_s1": {}, "efficientvit_b0": {}, "repvit_m0_9": {}, "hrnet_w18_small": {},
}  # fmt: skip


def nets() -> dict[str, Callable[[], tuple[nn.Module, int]]]:
    """Return what builds each net, with the edge of its images, for those whose library is installed."""
    found: dict[str, Callable[[], tuple[nn.Module, int]]] = {}
    try:
        from torchvision import models

        def of_torchvision(name: str) -> tuple[nn.Module, int]:
            options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
            return getattr(models, name)(weights=None, num_classes=WAYS, **options), 64

        found |= {f"torchvision {name}": lambda name=name: of_torchvision(name) for name in TORCHVISION}
    except (ImportError, RuntimeError):  # or one built for another torch
        pass
    try:
        import timm

        def of_timm(name: str) -> tuple[nn.Module, int]:
            options = dict(TIMM[name])
            size = options.pop("size", 64)
            return timm.create_model(name, pretrained=False, num_classes=WAYS, **options), size

        found |= {f"timm {name}": lambda name=name: of_timm(name) for name in TIMM if timm.is_model(name)}
    except ImportError:
        pass
    return found


class Twice(TorchFunctionMode):
    """Writes out the operators that plain PyTorch cannot differentiate twice."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.hardsigmoid:
            return F.relu6(args[0] + 3) / 6
        if func is F.scaled_dot_product_attention:
            with sdpa_kernel(SDPBackend.MATH):
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def settled(net: nn.Module) -> nn.Module:
    """Return a net in float64 and evaluation mode, away from the zeros and ones that nets begin with."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        net.double().eval()
        for parameter in net.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(0.7 + torch.rand(buffer.shape, generator=generator, dtype=torch.float64))
    return net


def drawn(size: int) -> Task:
    """Return tasks of two ways with one support row and one query of each."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(TASKS, 2 * WAYS, 3, size, size, generator=generator, dtype=torch.float64)
    labels = torch.arange(WAYS).expand(TASKS, WAYS)
    support = qs.Examples(images[:, :WAYS], labels, ways=WAYS, check=False)
    return Task(support, qs.Examples(images[:, WAYS:], labels, ways=WAYS, check=False))


def gap(found: Any, expected: Any) -> float:
    """Return the largest difference of tensors, in parts of the largest number.

    Below a millionth a gradient is what rounding leaves of a loss without slope, and has no digits to compare.
    """
    size = max(float(b.abs().max()) for b in expected)
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) / max(size, 1e-6)


def slopes(loss: Tensor, net: nn.Module) -> list[Tensor]:
    """Return a loss's gradient by each parameter."""
    values = list(net.parameters())
    found = torch.autograd.grad(loss, values, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for g, v in zip(found, values, strict=True)]


def forward(net: nn.Module, plain: nn.Module, tasks: Task) -> float:
    """Compare outputs."""
    with torch.no_grad():
        found = batching.map_tasks(lambda x: call(net, x, given="frozen")[0], tasks.query.inputs)
        return gap([found], [torch.stack([plain(x) for x in tasks.query.inputs])])


def proto_net(net: nn.Module, plain: nn.Module, tasks: Task) -> float:
    """Compare a prototypical network's loss and its gradient."""
    learner = qs.learners.ProtoNet(net, batch_norm="frozen").eval()
    losses = batching.map_tasks(lambda task: learner.loss(learner.adapt(task.support), task.query), tasks)
    found = [losses.sum(), *slopes(losses.sum(), net)]
    expected = torch.zeros((), dtype=torch.float64)
    for task in (batching.select(tasks, i) for i in range(TASKS)):
        rows = plain(torch.cat([task.support.inputs, task.query.inputs]))  # one row of each class
        distances = (rows[WAYS:].unsqueeze(1) - rows[:WAYS]).square().sum(-1)
        expected = expected + F.cross_entropy(-distances, task.query.labels)
    return max(gap(found[:1], [expected]), gap(found[1:], slopes(expected, plain)))


def maml(net: nn.Module, plain: nn.Module, tasks: Task) -> float:
    """Compare the second-order gradient of MAML's loss after one inner step."""
    adapts = qs.learners.MAML if sum(p.numel() for p in net.parameters()) <= SMALL else qs.learners.ANIL
    learner = adapts(net, lr=LR, steps=1, batch_norm="frozen").eval()
    losses = batching.map_tasks(lambda task: learner.loss(learner.adapt(task.support), task.query), tasks)
    found = [losses.sum(), *slopes(losses.sum(), net)]
    names = learner.adapted.names()
    with Twice():
        expected = _maml_plainly(plain, tasks, names)
        return max(gap(found[:1], [expected]), gap(found[1:], slopes(expected, plain)))


def _maml_plainly(net: nn.Module, tasks: Task, names: list[str]) -> Tensor:
    named = dict(net.named_parameters())
    expected = torch.zeros((), dtype=torch.float64)
    for task in (batching.select(tasks, i) for i in range(TASKS)):
        inner = F.cross_entropy(net(task.support.inputs), task.support.labels)
        steps = torch.autograd.grad(inner, [named[name] for name in names], create_graph=True, allow_unused=True)
        moved = {n: named[n] if g is None else named[n] - LR * g for n, g in zip(names, steps, strict=True)}
        outputs = functional_call(net, moved, (task.query.inputs,))
        expected = expected + F.cross_entropy(outputs, task.query.labels)
    return expected


def judged(build: Callable[[], tuple[nn.Module, int]]) -> dict[str, Any]:
    """Return the gap of each comparison, or the message that refuses it; 'error' if it failed otherwise."""
    torch.manual_seed(0)
    net, size = build()
    settled(net)
    tasks = drawn(size)
    row: dict[str, Any] = {"parameters": sum(p.numel() for p in net.parameters())}
    for compare in (forward, proto_net, maml):
        # Some keep tables made of parameters in evaluation mode: each comparison has nets of its own.
        try:
            row[compare.__name__] = compare(copy.deepcopy(net), copy.deepcopy(net), tasks)
        except QuickstudyError as error:
            row[compare.__name__] = f"refused: {error}"
        except Exception as error:
            row[compare.__name__] = f"error: {type(error).__name__}: {str(error).splitlines()[0]}"
    return row


def right(row: dict[str, Any]) -> bool:
    """Return whether each comparison agrees or is refused by a message that names the layer."""
    found = [value for name, value in row.items() if name != "parameters"]
    return all(value < TOLERANCE if isinstance(value, float) else "layer '" in value for value in found)


def main() -> None:
    """Write the table; arguments choose nets by a part of their names."""
    warnings.simplefilter("ignore")
    rows = json.loads(KEPT.read_text()) if KEPT.exists() and len(sys.argv) > 1 else {}
    for name, build in nets().items():
        if len(sys.argv) > 1 and not any(part in name for part in sys.argv[1:]):
            continue
        began = time.perf_counter()
        rows[name] = judged(build)
        print(f"{time.perf_counter() - began:5.1f} s  {name}  {rows[name]}", flush=True)
        KEPT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
