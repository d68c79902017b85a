"""The rules of the house that a machine can check: which file lies where, how long it is, and what it may touch."""

import ast
from functools import cache, reduce
from pathlib import Path

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.operators import internals

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src"
LIBRARY = SOURCES / "quickstudy"
FILES = sorted(path for path in SOURCES.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES} - {LIBRARY, SOURCES / "quickstudy_studies"})
FAMILIES = ("metric", "model", "optimization", "baselines")
METHODS = [path for path in FILES if path.parent.parent.name == "learners" and path.parent.name in FAMILIES]
PRIVATE = {"operators/internals.py", "operators/trees.py"}
"""The files that may use private names of PyTorch."""
LAZY = ast.parse(
    "import lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)",
)
BUILT_ON_A_METHOD = {"optimization/learned_rows.py"}
"""Bases of methods that are themselves built on a method, so that they cannot lie among the bases."""


def short(path: Path) -> str:
    return path.relative_to(SOURCES).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def registers_a_learner(tree: ast.Module) -> bool:
    """Return whether a module calls `register("learner", ...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "register":
            kind = node.args[0] if node.args else None
            if isinstance(kind, ast.Constant) and kind.value == "learner":
                return True
    return False


def dotted(node: ast.AST) -> list[str]:
    """Return the names of `a.b.c`; a first name of '' where what attributes are asked of is no plain name."""
    if isinstance(node, ast.Name):
        return [node.id]
    return [*dotted(node.value), node.attr] if isinstance(node, ast.Attribute) else [""]


def torch_names(tree: ast.Module) -> dict[str, str]:
    """Return what of PyTorch a module imports, by the name that it has in the module."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                if item.name.partition(".")[0] == "torch":
                    found[item.asname or "torch"] = item.name if item.asname else "torch"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            found |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def private_names(tree: ast.Module) -> set[str]:
    """Return the private names of PyTorch that a module uses, as full names, or as '.name' of some object."""
    imported = torch_names(tree)
    found = {full for full in imported.values() if any(map(is_private, full.split(".")))}
    whole = {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
    found |= {name for name in whole if name.startswith("torch.") and any(map(is_private, name.split(".")))}
    own_to_modules = set(vars(nn.Module())) - {"training"}  # _parameters, _buffers, _modules, hooks
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, *rest = dotted(node)
            if first in imported and any(map(is_private, rest)):
                found.add(".".join([imported[first], *rest]))
            elif node.attr in own_to_modules or node.attr.startswith("_foreach"):
                found.add(f".{node.attr}")
    return found


@pytest.mark.parametrize("path", METHODS, ids=short)
def test_every_file_of_a_family_registers_a_learner(path: Path) -> None:
    if path.name != "__init__.py" and f"{path.parent.name}/{path.name}" not in BUILT_ON_A_METHOD:
        assert registers_a_learner(parsed(path))


def test_no_base_registers_a_learner() -> None:
    bases = sorted((LIBRARY / "learners" / "bases").glob("*.py"))
    assert len(bases) > 1
    assert [short(path) for path in bases if registers_a_learner(parsed(path))] == []
    homes = {entry.build.__module__.split(".")[2] for entry in qs.registry.table("learner").values()}
    assert homes == set(FAMILIES)


@pytest.mark.parametrize("folder", FOLDERS, ids=short)
def test_a_folder_answers_one_question(folder: Path) -> None:
    says, *rest = parsed(folder / "__init__.py").body
    assert isinstance(says, ast.Expr)
    assert isinstance(says.value, ast.Constant)
    text = str(says.value.value)
    assert "?" in text, "the docstring of a folder's __init__ is the question that the folder answers"
    assert "\n" not in text
    assert [*map(ast.unparse, rest)] in ([], [*map(ast.unparse, LAZY.body)]), "and nothing else, but lazy loading"
    assert (folder / "__init__.pyi").exists() == bool(rest)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_file_can_be_found_and_read_in_one_sitting(path: Path) -> None:
    assert len(path.relative_to(SOURCES).parts) <= 4, "no deeper than two folders below the package"
    assert len(path.read_text().splitlines()) <= 400


def test_the_root_holds_what_users_import_by_name_alone() -> None:
    assert len(list(LIBRARY.glob("*.py"))) <= 11


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder.is_relative_to(LIBRARY)], ids=short)
def test_tests_mirror_folders(folder: Path) -> None:
    if len(list(folder.glob("*.py"))) > 1:
        assert list((ROOT / "tests" / folder.relative_to(LIBRARY)).glob("test_*.py"))


@pytest.mark.parametrize("path", FILES, ids=short)
def test_private_names_of_pytorch_are_used_in_two_files_alone(path: Path) -> None:
    if path.is_relative_to(LIBRARY) and path.relative_to(LIBRARY).as_posix() in PRIVATE:
        assert private_names(parsed(path))
    else:
        assert private_names(parsed(path)) == set()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import torch\ntorch._C._functorch.get_unwrapped(x)", "torch._C._functorch.get_unwrapped"),
        ("import torch\ntorch._foreach_add_(a, b)", "torch._foreach_add_"),
        ("import torch.utils._pytree as pytree", "torch.utils._pytree"),
        ("import torch._dynamo", "torch._dynamo"),
        ("from torch import nn\nnn.modules.batchnorm._BatchNorm", "torch.nn.modules.batchnorm._BatchNorm"),
        ("import torch.nn.functional as F\nF._in_projection(x)", "torch.nn.functional._in_projection"),
        ("from torch.nn.modules.conv import _ConvNd", "torch.nn.modules.conv._ConvNd"),
        ("def f(net):\n    return net._parameters", "._parameters"),
    ],
)
def test_private_names_are_found(source: str, name: str) -> None:
    assert name in private_names(ast.parse(source))


def test_other_names_are_not_private() -> None:
    source = "import torch\nself._rows + state._replace(a=1) + torch.__version__ + torch.optim.SGD"
    assert private_names(ast.parse(source)) == set()


def test_every_private_name_exists_in_this_pytorch() -> None:
    names = private_names(parsed(LIBRARY / "operators" / "internals.py"))
    assert {name.rpartition(".")[2] for name in names} >= {"_ConvNd", "_BatchNorm", "compile", "get_unwrapped"}
    holder = nn.Module()
    for name in names:
        if name.startswith("."):
            assert isinstance(getattr(holder, name[1:]), dict), name
        else:
            assert reduce(getattr, name.split(".")[1:], torch) is not None, name
    assert all(getattr(internals, name) is not None for name in internals.__all__)
    assert callable(internals.direct_call(torch.ops.aten.add.Tensor))
