"""Errors from within a net, with the name of the layer, and with what to do instead.

No text of PyTorch is read: whether the net or the way in which it is called is at fault is found out by calling it
plainly, with the values of one task.
"""

from __future__ import annotations

import dis
import linecache
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks

from quickstudy.errors import InputError, QuickstudyError, UnsupportedLayerError
from quickstudy.operators import trees
from quickstudy.operators.internals import example_of, in_transforms, plainly
from quickstudy.operators.substitution import exchanged

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent)
_MISFITS = (RuntimeError, ValueError, IndexError, NotImplementedError)
"""What operators raise if they do not take their arguments."""


def raise_named(
    net: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    params: dict[str, Tensor] | None,
    error: Exception,
    failed: Callable[..., Any] | None = None,
) -> None:
    """Raise an error that names the layer where one came from; return if it is the net's own, which says best itself.

    Args:
        net: the net.
        args: positional arguments it was called with.
        kwargs: its keyword arguments.
        params: parameters it was called with in place of its own.
        error: what came of it.
        failed: the operator that raised it, if known.

    Raises:
        UnsupportedLayerError: the net works where it is called plainly.
        InputError: it does not take such inputs.
    """
    innermost = list(_frames(error))[-1]
    theirs = innermost.tb_frame.f_code.co_filename.startswith((_TORCH, _OURS))
    if not theirs and _raises(innermost):
        return
    _refuse_kinds(net, error)
    layer, first = _innermost(net, error), _first_line(error)
    if _works_plainly(net, args, kwargs, params):
        raise UnsupportedLayerError(
            f"layer {layer} cannot be batched over tasks or differentiated twice: {first.rstrip('.')}. "
            f"{_remedy(error, failed)}"
        ) from error
    if not isinstance(error, _MISFITS) and not theirs:
        return
    leaves = [(path, leaf) for path, leaf in trees.named_leaves(kwargs or args) if isinstance(leaf, Tensor)]
    alone = len(leaves) == 1 and not kwargs
    given = " and ".join(
        f"{'' if alone else path} {tuple(leaf.shape)} of {leaf.dtype}".strip() for path, leaf in leaves
    )
    raise InputError(
        f"the net does not take inputs {given}: layer {layer} says '{first}'; give inputs of the shape, dtype and "
        "range that the net was built for, or build the net to match"
    ) from error


def check_net(net: nn.Module) -> None:
    """Check that a net has its parameters.

    Raises:
        InputError: a lazy layer has not seen inputs yet.
    """
    for name, module in net.named_modules():
        if any(torch.nn.parameter.is_lazy(value) for value in module.parameters(recurse=False)):
            raise InputError(
                f"layer '{name or 'net'}' ({type(module).__name__}) has no parameters yet; run the net once on an "
                "example of its inputs, then build the learner"
            )


def _refuse_kinds(net: nn.Module, error: Exception) -> None:
    """Raise an error if there is a module that runs its layers out of our reach, which nothing but failing tells."""
    for name, module in net.named_modules():
        for kind, mend in _KINDS.items():
            if isinstance(module, kind):
                raise UnsupportedLayerError(
                    f"layer '{name or 'net'}' ({type(module).__name__}) runs its layers out of reach of transforms: "
                    f"{_first_line(error).rstrip('.')}. {mend}"
                ) from error


_KINDS: dict[type[nn.Module], str] = {
    torch.jit.ScriptModule: "Give the module from before torch.jit.script or trace.",
    nn.DataParallel: "Give its .module: tasks are spread over devices by the library (torchrun).",
    nn.parallel.DistributedDataParallel: "Give its .module: tasks are spread over devices by the library (torchrun).",
}


def raise_naming_branch(error: Exception) -> None:
    """Raise an error that shows the line of code, outside of any net, that reads values inside vmap; else return.

    Raises:
        UnsupportedLayerError: it does.
    """
    own = [trace for trace in _frames(error) if not trace.tb_frame.f_code.co_filename.startswith(_TORCH)]
    code = own[-1].tb_frame.f_code
    if isinstance(error, QuickstudyError) or code.co_filename.startswith(_OURS) or _raises(own[-1]):
        return
    if not (_branches(own[-1]) or "vmap" in str(error)):
        return
    place = f"{Path(code.co_filename).name}, line {own[-1].tb_lineno}, in {code.co_name}"
    line = linecache.getline(code.co_filename, own[-1].tb_lineno).strip()
    raise UnsupportedLayerError(
        f"`{line}` ({place}) cannot be batched over tasks: {_first_line(error).rstrip('.')}. Choose with torch.where, "
        "and compute with tensors, for tasks differ"
    ) from error


def without_checkpoints() -> AbstractContextManager[None]:
    """Return a context in which activation checkpoints fail at once where they would fail in backward, inside vmap."""
    if torch.compiler.is_compiling() or not in_transforms():
        return nullcontext()
    return disable_saved_tensors_hooks("no hooks on saved tensors, of which activation checkpoints consist, work here")


def _frames(error: Exception) -> Iterator[TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _raises(trace: TracebackType) -> bool:
    """Return whether a frame has an error of its own, from `raise` or `assert`, and not from what it called."""
    code = trace.tb_frame.f_code.co_code
    return dis.opname[code[trace.tb_lasti]] == "RAISE_VARARGS"


def _branches(trace: TracebackType) -> bool:
    """Return whether a frame was about to choose by a value."""
    name = dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]]
    return "JUMP" in name or name in ("UNARY_NOT", "TO_BOOL")


def _innermost(net: nn.Module, error: Exception) -> str:
    """Return the name and type of the innermost layer in the traceback."""
    names = {id(module): name for name, module in net.named_modules()}
    found = net
    for trace in _frames(error):
        candidate = trace.tb_frame.f_locals.get("self")
        if isinstance(candidate, nn.Module) and id(candidate) in names:
            found = candidate
    return f"'{names[id(found)] or 'net'}' ({type(found).__name__})"


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return text if isinstance(error, RuntimeError) and text else f"{type(error).__name__}: {text}".rstrip(": ")


def _works_plainly(net: nn.Module, args: Any, kwargs: Any, params: dict[str, Tensor] | None) -> bool:
    """Return whether the net takes the values of one task outside of all transforms. Nothing of it changes."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), plainly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # In-place changes are of copies.
            own = {name: example_of(value).clone() for name, value in (*net.named_parameters(), *net.named_buffers())}
            own |= {name: example_of(value) for name, value in (params or {}).items()}
            args, kwargs = trees.map_only(Tensor, example_of, (args, kwargs))
            with exchanged(net, own):
                net(*args, **kwargs)
    except Exception:  # whatever it is, it is the net's
        return False
    return True


_FREEZE = "Replace the layer, or freeze it (requires_grad_(False)) and pass its outputs as inputs."
_VALUES = "It reads a tensor's values; choose with torch.where, and compute with tensors, for tasks differ."
_NUMPY = "It leaves PyTorch; compute with torch operators."
_SHAPES = "The shape of its result depends on values; keep all entries and weigh them with a mask, or use torch.where."
_PAD = "Pad and mask the sequences instead of packing them."
_CHECKPOINT = "Switch activation checkpoints off, for timm's models by set_grad_checkpointing(False)."
_SPECTRAL = "Use it in evaluation mode (.eval()), or torch.nn.utils.parametrizations.weight_norm."

_REMEDIES: dict[Callable[..., Any], str] = {
    Tensor.item: _VALUES,
    Tensor.tolist: _VALUES,
    Tensor.__bool__: _VALUES,
    Tensor.__float__: _VALUES,
    Tensor.__int__: _VALUES,
    Tensor.__index__: _VALUES,
    Tensor.is_nonzero: _VALUES,
    torch.is_nonzero: _VALUES,
    Tensor.equal: _VALUES,
    torch.equal: _VALUES,
    Tensor.allclose: _VALUES,
    torch.allclose: _VALUES,
    Tensor.numpy: _NUMPY,
    Tensor.__array__: _NUMPY,
    Tensor.nonzero: _SHAPES,
    torch.nonzero: _SHAPES,
    Tensor.argwhere: _SHAPES,
    torch.argwhere: _SHAPES,
    Tensor.unique: _SHAPES,
    torch.unique: _SHAPES,
    Tensor.unique_consecutive: _SHAPES,
    torch.unique_consecutive: _SHAPES,
    Tensor.masked_select: _SHAPES,
    torch.masked_select: _SHAPES,
    Tensor.__getitem__: _SHAPES,
    Tensor.bincount: _SHAPES,
    torch.bincount: _SHAPES,
    Tensor.repeat_interleave: _SHAPES,
    torch.repeat_interleave: _SHAPES,
}
_FILES = {
    "nn/utils/rnn.py": _PAD,
    "utils/checkpoint.py": _CHECKPOINT,
    "nn/utils/spectral_norm.py": _SPECTRAL,
    "nn/utils/parametrizations.py": _SPECTRAL,
}
"""What to do about errors from these files of PyTorch."""


def _remedy(error: Exception, failed: Callable[..., Any] | None) -> str:
    """Return what to do instead."""
    files = [trace.tb_frame.f_code.co_filename for trace in _frames(error)]
    for name, words in _FILES.items():
        if any(file.endswith(f"torch/{name}") for file in files):
            return f"{words} Or freeze the layer (requires_grad_(False)) and pass its outputs as inputs."
    found = _REMEDIES.get(failed) if failed is not None else None
    return f"{found} {_FREEZE}" if found else _FREEZE
