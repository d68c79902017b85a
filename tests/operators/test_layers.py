"""A sweep of torch.nn: every common layer can be adapted in an inner loop, twice differentiated and batched over tasks.

For each layer, MAML's second-order meta-gradient with all of the layer's parameters (and a linear layer's before it)
adapted: batched over tasks against a loop, and the loop against central differences, in float64. And each layer gives
the same forward results as in plain PyTorch.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from quickstudy.operators import trees
from quickstudy.operators.calls import call

ROWS, TASKS = 4, 3
Theta = dict[str, Tensor]


class First(nn.Module):
    """The first output of a layer that returns several."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *inputs: Tensor) -> Tensor:
        return trees.leaves(self.layer(*inputs))[0]  # type: ignore[no-any-return]


class All(First):
    """All outputs of a layer, joined."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat([leaf.flatten() for leaf in trees.leaves(self.layer(*inputs))])


class SelfAttention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x, x)[0]  # type: ignore[no-any-return]


class ScaledDotProduct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(*self.qkv(x).chunk(3, -1), is_causal=True)


class Distances(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.points = p, nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(x, self.points, p=self.p)


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.point = nn.CosineSimilarity(), nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.point.expand_as(x))  # type: ignore[no-any-return]


class Pairwise(Cosine):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.PairwiseDistance()


class TwoInputs(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x.flip(-1))  # type: ignore[no-any-return]


class Function(nn.Module):
    """A function of a learned linear map."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(4, 4), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear(x))


class CellSteps(nn.Module):
    """A recurrent cell over the middle dimension."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return trees.leaves(state)[0]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Case:
    """A layer, and the shape of one input row (an integer for indices below it)."""

    layer: Callable[[], nn.Module]
    shape: tuple[int, ...]
    indices: int = 0
    differences: bool = True
    """Whether its gradient is the derivative: a padding vector has none by definition."""


LINE, IMAGE, VOLUME = (4, 6), (4, 6, 6), (4, 4, 4, 4)
CASES: dict[str, Case] = {
    "Linear": Case(lambda: nn.Linear(4, 3), (4,)),
    "Linear-no-bias": Case(lambda: nn.Linear(4, 3, bias=False), (4,)),
    "Identity": Case(nn.Identity, (4,)),
    "Bilinear": Case(lambda: TwoInputs(nn.Bilinear(4, 4, 3)), (4,)),
    "Conv1d": Case(lambda: nn.Conv1d(4, 3, 3, padding=1), LINE),
    "Conv2d": Case(lambda: nn.Conv2d(4, 3, 3, stride=2), IMAGE),
    "Conv2d-groups-dilated": Case(lambda: nn.Conv2d(4, 4, 3, groups=2, dilation=2), IMAGE),
    "Conv2d-reflect": Case(lambda: nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"), IMAGE),
    "Conv3d": Case(lambda: nn.Conv3d(4, 2, 3, padding=1), VOLUME),
    "ConvTranspose1d": Case(lambda: nn.ConvTranspose1d(4, 2, 3), LINE),
    "ConvTranspose2d": Case(lambda: nn.ConvTranspose2d(4, 2, 3, stride=2), IMAGE),
    "MaxPool1d": Case(lambda: nn.MaxPool1d(2), LINE),
    "MaxPool2d": Case(lambda: nn.MaxPool2d(2), IMAGE),
    "MaxPool2d-overlapping": Case(lambda: nn.MaxPool2d(3, 2, 1), IMAGE),
    "MaxPool3d": Case(lambda: nn.MaxPool3d(2), VOLUME),
    "AvgPool1d": Case(lambda: nn.AvgPool1d(2), LINE),
    "AvgPool2d": Case(lambda: nn.AvgPool2d(2), IMAGE),
    "AvgPool3d": Case(lambda: nn.AvgPool3d(2), VOLUME),
    "AdaptiveAvgPool1d": Case(lambda: nn.AdaptiveAvgPool1d(2), LINE),
    "AdaptiveAvgPool2d": Case(lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    "AdaptiveMaxPool1d": Case(lambda: nn.AdaptiveMaxPool1d(2), LINE),
    "AdaptiveMaxPool2d": Case(lambda: nn.AdaptiveMaxPool2d(2), IMAGE),
    "LPPool2d": Case(lambda: nn.Sequential(nn.Softplus(), nn.LPPool2d(2, 2)), IMAGE),
    "BatchNorm1d": Case(lambda: nn.BatchNorm1d(4), (4,)),
    "BatchNorm1d-line": Case(lambda: nn.BatchNorm1d(4), LINE),
    "BatchNorm2d": Case(lambda: nn.BatchNorm2d(4), IMAGE),
    "BatchNorm2d-no-running": Case(lambda: nn.BatchNorm2d(4, track_running_stats=False), IMAGE),
    "BatchNorm2d-no-affine": Case(lambda: nn.BatchNorm2d(4, affine=False), IMAGE),
    "BatchNorm3d": Case(lambda: nn.BatchNorm3d(4), VOLUME),
    "LayerNorm": Case(lambda: nn.LayerNorm(4), (4,)),
    "LayerNorm-two": Case(lambda: nn.LayerNorm((6, 6)), IMAGE),
    "LayerNorm-no-bias": Case(lambda: nn.LayerNorm(6, bias=False), LINE),
    "InstanceNorm1d": Case(lambda: nn.InstanceNorm1d(4), LINE),
    "InstanceNorm2d-affine": Case(lambda: nn.InstanceNorm2d(4, affine=True), IMAGE),
    "GroupNorm": Case(lambda: nn.GroupNorm(2, 4), IMAGE),
    "RMSNorm": Case(lambda: nn.RMSNorm(4), (4,)),
    "LocalResponseNorm": Case(lambda: nn.LocalResponseNorm(2), IMAGE),
    "PReLU": Case(lambda: nn.PReLU(4), IMAGE),
    "Embedding": Case(lambda: nn.Embedding(7, 4), (3,), 7),
    "Embedding-padding": Case(lambda: nn.Embedding(7, 4, padding_idx=0), (3,), 7, differences=False),
    "EmbeddingBag-mean": Case(lambda: nn.EmbeddingBag(7, 4), (3,), 7),
    "EmbeddingBag-sum": Case(lambda: nn.EmbeddingBag(7, 4, mode="sum", padding_idx=0), (3,), 7),
    "EmbeddingBag-max": Case(lambda: nn.EmbeddingBag(7, 4, mode="max"), (3,), 7),
    "Upsample-nearest": Case(lambda: nn.Upsample(scale_factor=2), IMAGE),
    "Upsample-bilinear": Case(lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    "Upsample-bicubic": Case(lambda: nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE),
    "PixelShuffle": Case(lambda: nn.PixelShuffle(2), IMAGE),
    "PixelUnshuffle": Case(lambda: nn.PixelUnshuffle(2), IMAGE),
    "ChannelShuffle": Case(lambda: nn.ChannelShuffle(2), IMAGE),
    "ZeroPad2d": Case(lambda: nn.ZeroPad2d(1), IMAGE),
    "ReflectionPad2d": Case(lambda: nn.ReflectionPad2d(1), IMAGE),
    "ReplicationPad1d": Case(lambda: nn.ReplicationPad1d(1), LINE),
    "Unfold": Case(lambda: nn.Unfold(2), IMAGE),
    "Flatten": Case(nn.Flatten, IMAGE),
    "Unflatten": Case(lambda: nn.Unflatten(1, (2, 2)), (4,)),
    "Dropout-eval": Case(lambda: nn.Dropout(0.5).eval(), (4,)),
    "Dropout2d-eval": Case(lambda: nn.Dropout2d(0.5).eval(), IMAGE),
    "CosineSimilarity": Case(Cosine, (4,)),
    "PairwiseDistance": Case(Pairwise, (4,)),
    "cdist-2": Case(lambda: Distances(2.0), (4,)),
    "cdist-1": Case(lambda: Distances(1.0), (4,)),
    "cdist-3": Case(lambda: Distances(3.0), (4,)),
    "cdist-inf": Case(lambda: Distances(float("inf")), (4,)),
    "MultiheadAttention": Case(SelfAttention, (3, 4)),
    "MultiheadAttention-bias-kv": Case(lambda: SelfAttention(add_bias_kv=True, add_zero_attn=True), (3, 4)),
    "scaled_dot_product_attention": Case(ScaledDotProduct, (3, 4)),
    "TransformerEncoderLayer": Case(lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), (3, 4)),
    "TransformerEncoderLayer-norm-first": Case(
        lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", batch_first=True, norm_first=True), (3, 4)
    ),
    "TransformerDecoderLayer": Case(
        lambda: TwoInputs(nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True)), (3, 4)
    ),
    "RNN": Case(lambda: First(nn.RNN(4, 3, batch_first=True)), (3, 4)),
    "RNN-relu": Case(lambda: All(nn.RNN(4, 3, 2, nonlinearity="relu", batch_first=True)), (3, 4)),
    "LSTM": Case(lambda: First(nn.LSTM(4, 3, batch_first=True)), (3, 4)),
    "LSTM-time-first": Case(lambda: All(nn.LSTM(4, 3)), (3, 4)),
    "LSTM-layers-both-ways": Case(lambda: All(nn.LSTM(4, 3, 2, bidirectional=True, batch_first=True)), (3, 4)),
    "LSTM-projected": Case(lambda: All(nn.LSTM(4, 5, 2, proj_size=3, batch_first=True)), (3, 4)),
    "LSTM-projected-no-bias-both-ways": Case(
        lambda: All(nn.LSTM(4, 5, 2, bias=False, proj_size=3, bidirectional=True)), (3, 4)
    ),
    "LSTM-no-bias": Case(lambda: First(nn.LSTM(4, 3, bias=False, batch_first=True)), (3, 4)),
    "GRU": Case(lambda: First(nn.GRU(4, 3, batch_first=True)), (3, 4)),
    "GRU-layers-both-ways": Case(lambda: All(nn.GRU(4, 3, 2, bidirectional=True)), (3, 4)),
    "GRU-no-bias": Case(lambda: All(nn.GRU(4, 3, bias=False, batch_first=True)), (3, 4)),
    "LSTMCell": Case(lambda: CellSteps(nn.LSTMCell(4, 3)), (3, 4)),
    "GRUCell": Case(lambda: CellSteps(nn.GRUCell(4, 3)), (3, 4)),
    "RNNCell": Case(lambda: CellSteps(nn.RNNCell(4, 3)), (3, 4)),
    "RNNCell-relu-no-bias": Case(lambda: CellSteps(nn.RNNCell(4, 3, bias=False, nonlinearity="relu")), (3, 4)),
    "weight_norm": Case(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), (4,)),
    "spectral_norm-eval": Case(lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)).eval(), (4,)),
    "orthogonal": Case(lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 4), use_trivialization=False), (4,)),
    "Sequential-conv-block": Case(
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()), IMAGE
    ),
}
for activation in (
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
    "LogSoftmax", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmin", "Softplus", "Softshrink",
    "Softsign", "Tanh", "Tanhshrink",
):  # fmt: skip
    options = {"dim": -1} if activation in ("GLU", "LogSoftmax", "Softmax", "Softmin") else {}
    CASES[activation] = Case(lambda kind=activation, options=options: getattr(nn, kind)(**options), (4,))  # type: ignore[misc]

SQUARE = torch.eye(4, dtype=torch.float64)
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "normalize": lambda x: nn.functional.normalize(x, dim=-1),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=-1),
    "var": lambda x: x.var(0),
    "std": lambda x: x.std(-1),
    "cov": lambda x: torch.cov(x.T),
    "cumsum": lambda x: x.cumsum(-1),
    "cumprod": lambda x: x.cumprod(-1),
    "prod": lambda x: x.prod(-1),
    "logsumexp": lambda x: x.logsumexp(-1),
    "logcumsumexp": lambda x: x.logcumsumexp(-1),
    "amax": lambda x: x.amax(-1),
    "max": lambda x: x.max(-1).values,
    "median": lambda x: x.median(-1).values,
    "sort": lambda x: x.sort(-1).values,
    "topk": lambda x: x.topk(2, -1).values,
    "kthvalue": lambda x: x.kthvalue(2, -1).values,
    "gather": lambda x: x.gather(-1, x.argsort(-1)),
    "index_select": lambda x: x.index_select(0, torch.tensor([1, 1, 0])),
    "take_along_dim": lambda x: torch.take_along_dim(x, x.argmax(-1, keepdim=True), -1),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(0, torch.tensor([[0, 1, 0, 1]] * len(x)), x),
    "where": lambda x: torch.where(x > 0, x, x.exp()),
    "masked_fill": lambda x: x.masked_fill(x > 0.3, 0.1),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "einsum": lambda x: torch.einsum("si,ti,tj->sj", x, x, x),
    "bmm": lambda x: torch.bmm(x.unsqueeze(1), x.unsqueeze(2)).flatten(),
    "outer-addmm": lambda x: torch.addmm(x[:, :1], x, x.T.contiguous()),
    "kron": lambda x: torch.kron(x[0], x[1]),
    "pad": lambda x: nn.functional.pad(x, (1, 2)),
    "roll-flip-stack": lambda x: torch.stack([x.roll(1, -1), x.flip(-1)]),
    "expm1-log1p": lambda x: torch.expm1(x) + torch.log1p(x.square()),
    "atan2": lambda x: torch.atan2(x, 1 + x.flip(-1).square()),
    "erf": torch.erf,
    "sinc": torch.sinc,
    "gelu-tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "gumbel-free-softmax": lambda x: (x / 0.5).softmax(-1),
    "cross_entropy": lambda x: nn.functional.cross_entropy(x, torch.tensor([0, 1, 2, 3]), reduction="none"),
    "cross_entropy-smooth": lambda x: nn.functional.cross_entropy(
        x, torch.tensor([0, 1, 2, 3]), torch.tensor([1.0, 2.0, 3.0, 1.0]).double(), label_smoothing=0.1
    ),
    "nll_loss-ignore": lambda x: nn.functional.nll_loss(x.log_softmax(-1), torch.tensor([0, 1, -100, 3])),
    "bce_with_logits": lambda x: nn.functional.binary_cross_entropy_with_logits(x, SQUARE),
    "smooth_l1": lambda x: nn.functional.smooth_l1_loss(x, SQUARE),
    "huber": lambda x: nn.functional.huber_loss(x, SQUARE, delta=0.5),
    "solve": lambda x: torch.linalg.solve(x.T @ x + SQUARE, x.T),
    "inv": lambda x: torch.linalg.inv(x.T @ x + SQUARE),
    "cholesky": lambda x: torch.linalg.cholesky(x.T @ x + SQUARE),
    "cholesky_solve": lambda x: torch.cholesky_solve(x.T, torch.linalg.cholesky(x.T @ x + SQUARE)),
    "eigvalsh": lambda x: torch.linalg.eigvalsh(x.T @ x + SQUARE.cumsum(0)),
    "logdet": lambda x: torch.logdet(x.T @ x + SQUARE),
    "matrix_exp": lambda x: torch.linalg.matrix_exp(0.1 * x),
    "fft": lambda x: torch.fft.rfft(x).abs(),
    "grid_sample": lambda x: nn.functional.grid_sample(
        x.reshape(1, 1, 4, 4), x.tanh().reshape(1, 2, 4, 2), align_corners=False
    ),
    "interpolate-area": lambda x: nn.functional.interpolate(x.unsqueeze(1), 2, mode="area"),
    "fold": lambda x: nn.functional.fold(x.T.reshape(1, 4, 4), (3, 3), 2),
    "local-softmax-attention": lambda x: ((x @ x.T) / 2).softmax(-1) @ x,
    "pdist-like": lambda x: (x.unsqueeze(1) - x).square().sum(-1),
}
CASES |= {f"function-{name}": Case(lambda f=function: Function(f), (4,)) for name, function in FUNCTIONS.items()}  # type: ignore[misc]


class Net(nn.Module):
    """A layer between learned parts, so that second derivatives pass through its inputs too."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.indices = case.indices
        self.scale = nn.Parameter(1 + 0.1 * torch.randn(case.shape))
        self.layer = case.layer()
        for name, parameter in self.layer.named_parameters():
            # Norms start at one and zero, where some errors do not show.
            if "norm" not in name and parameter.ndim == 1:
                nn.init.normal_(parameter, 0.7, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x if self.indices else torch.sin(x * self.scale) + x)  # type: ignore[no-any-return]


def build(name: str) -> tuple[Net, Tensor, Tensor]:
    """Return a net in float64 and the inputs (T, 2, S, ...) of support and query, and target weights."""
    case = CASES[name]
    net = Net(case).double()
    for module in net.modules():
        # Registered buffers of parametrisations must be settled before anything is compared.
        if isinstance(module, nn.utils.parametrize.ParametrizationList):
            module()
    torch.manual_seed(6)
    shape = (TASKS, 2, ROWS, *case.shape)
    x = torch.randint(0, case.indices, shape) if case.indices else torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        output, _ = call(net, x[0, 0])
    return net, x, torch.randn(output.shape, dtype=torch.float64)


def meta_loss(net: nn.Module, x: Tensor, target: Tensor, plain: bool = False, lr: float = 0.3) -> Tensor:
    """Return MAML's loss on one task after one step."""

    def loss(theta: Theta, rows: Tensor) -> Tensor:
        output = torch.func.functional_call(net, theta, (rows,)) if plain else call(net, rows, theta)[0]
        return (torch.tanh(output) - target).square().mean()

    theta = {name: value for name, value in net.named_parameters() if value.requires_grad}
    slopes = grad(loss)(theta, x[0])
    return loss({name: theta[name] - lr * slopes[name] for name in theta}, x[1])


def gradient(net: nn.Module, loss: Tensor) -> Tensor:
    values = [value for value in net.parameters() if value.requires_grad]
    found = torch.autograd.grad(loss, values, allow_unused=True)
    return torch.cat([(torch.zeros_like(v) if g is None else g).flatten() for g, v in zip(found, values, strict=True)])


@pytest.mark.parametrize("name", CASES)
def test_second_order_gradient(name: str) -> None:
    net, x, target = build(name)
    before = {key: value.clone() for key, value in net.named_buffers()}
    looped = torch.stack([meta_loss(net, each, target) for each in x])
    batched = vmap(lambda each: meta_loss(net, each, target))(x)
    torch.testing.assert_close(batched, looped, rtol=1e-9, atol=1e-9)
    weights = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
    try:
        alone = gradient(net, (looped * weights).sum())
    except RuntimeError as error:
        if "derivative for aten::grid_sampler_2d_backward is not implemented" not in str(error):
            raise
        pytest.skip("this PyTorch has no second derivative of grid_sample, not in a loop either")
    together = gradient(net, (batched * weights).sum())
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    for key, value in net.named_buffers():
        assert torch.equal(value, before[key]), f"{key} changed: state leaked between tasks"
    if not CASES[name].differences:
        return

    values = [value for value in net.parameters() if value.requires_grad]
    at = torch.cat([value.detach().flatten() for value in values])
    torch.manual_seed(8)
    way = torch.randn_like(at)
    way = way / way.norm()

    def value_at(point: Tensor) -> float:
        with torch.no_grad():
            nn.utils.vector_to_parameters(point, values)
            return float(sum(w * meta_loss(net, each, target) for w, each in zip(weights, x, strict=True)))

    slopes = [(value_at(at + h * way) - value_at(at - h * way)) / (2 * h) for h in (1e-5, 1e-6)]
    claimed = float(alone @ way)
    assert min(abs(claimed - slope) for slope in slopes) < 1e-7 * max(1.0, abs(claimed)), (claimed, slopes)


@pytest.mark.parametrize("name", CASES)
def test_forward_is_native(name: str) -> None:
    net, x, _ = build(name)
    found, _ = call(net, x[0, 0])
    # Batch norm is PyTorch's in training mode: normalised by these rows. All else is in whatever mode it was.
    torch.testing.assert_close(found, copy.deepcopy(net)(x[0, 0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["BatchNorm2d-no-running", "LayerNorm", "InstanceNorm2d-affine", "Embedding-padding"])
def test_plain_torch_is_wrong(name: str) -> None:
    """Why the function mode exists. If a later PyTorch is right, the correction can go."""
    net, x, target = build(name)
    looped = torch.stack([meta_loss(net, each, target, plain=True, lr=2.0) for each in x]).sum()
    batched = vmap(lambda each: meta_loss(net, each, target, plain=True, lr=2.0))(x).sum()
    torch.testing.assert_close(batched, looped, rtol=1e-9, atol=1e-9)
    error = float((gradient(net, batched) - gradient(net, looped)).abs().max())
    if error < 1e-9:
        pytest.skip(f"this PyTorch differentiates {name} rightly under vmap")
    assert error > 1e-4
