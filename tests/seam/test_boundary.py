"""Only the seam imports vLLM, and everything that it imports is in the contract."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import origin_vllm
from origin_vllm.seam.contract import CONTRACT
from origin_vllm.seam.source import SourceTree, imported, is_type_checking

PACKAGE = Path(origin_vllm.__file__).parent
OURS = SourceTree(PACKAGE.parent, PACKAGE.name)
SEAM = "origin_vllm.seam"

#: Programs in strings, run in another process. They may name what the contract names.
PROGRAMS = {"origin_vllm.install.probe"}


def is_vllm(name: str) -> bool:
    return name == "vllm" or name.startswith("vllm.")


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that may run: the bodies of ``if TYPE_CHECKING:`` are left out."""
    yield node
    children: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and is_type_checking(node):
        children = list(node.orelse)
    for child in children:
        yield from statements(child)


def dynamic_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """``importlib.import_module("vllm...")`` and the like, constants and named constants too."""
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in statements(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        if called not in ("import_module", "__import__", "run_module", "find_spec", "resolve_name"):
            continue
        first = node.args[0]
        name = constants.get(first.id) if isinstance(first, ast.Name) else None
        if isinstance(first, ast.Constant):
            name = first.value
        if isinstance(name, str):
            yield name, node.lineno
        if isinstance(first, ast.JoinedStr):
            yield ast.unparse(first)[2:-1], node.lineno


def vllm_imports(module: str) -> Iterator[tuple[str, str | None, int]]:
    tree = OURS.tree(module)
    assert tree is not None
    for node in statements(tree):
        for one in imported(node, module):
            if is_vllm(one.module):
                yield one.module, one.name, one.line
    for name, line in dynamic_imports(tree):
        if is_vllm(name.replace(":", ".")):
            yield name, None, line


IN_SEAM = [name for name in sorted(OURS.modules) if f"{name}.".startswith(f"{SEAM}.")]


@pytest.mark.parametrize("module", sorted(OURS.modules.keys() - set(IN_SEAM)))
def test_nothing_else_imports_vllm(module: str) -> None:
    found = list(vllm_imports(module))
    # Looking for the package imports nothing of it.
    allowed = [one for one in found if one[0] == "vllm" and _looks_only(module, one[2])]
    assert found == allowed, f"import it through {SEAM}"


def _looks_only(module: str, line: int) -> bool:
    return "find_spec(" in OURS.modules[module].read_text().splitlines()[line - 1]


@pytest.mark.parametrize("module", IN_SEAM)
def test_everything_that_the_seam_imports_is_in_the_contract(module: str) -> None:
    names = {(touch.module, touch.name.partition(".")[0]) for touch in CONTRACT}
    modules = {touch.module for touch in CONTRACT}
    for where, name, line in vllm_imports(module):
        place = f"{module}, line {line}"
        if name is None:
            assert where in modules, f"{place}: {where} is not in CONTRACT"
        else:
            assert (where, name) in names, f"{place}: {where}:{name} is not in CONTRACT"


def test_only_public_names_for_type_checkers() -> None:
    """Also what only type checkers see comes from ``vllm`` itself, so that it exists tomorrow."""
    for module in OURS.modules:
        tree = OURS.tree(module)
        assert tree is not None
        run = set(map(id, statements(tree)))
        for node in ast.walk(tree):
            if id(node) not in run:
                for one in imported(node, module):
                    inside = is_vllm(one.module) and one.module != "vllm"
                    assert not inside, f"{module}, line {one.line}: {one.module} is private"


@pytest.mark.parametrize("module", sorted(PROGRAMS))
def test_programs_in_strings(module: str) -> None:
    known = {touch.module for touch in CONTRACT}
    text = OURS.modules[module].read_text()
    for where in re.findall(r"^(?:from|import) (vllm[\w.]*)", text, re.M):
        assert where in known, f"{module}: {where} is not in CONTRACT"


def test_no_other_programs_in_strings() -> None:
    pattern = re.compile(r"^\s*(?:from|import) vllm[\w.]*(?: import .*)?$", re.M)
    for module in OURS.modules.keys() - PROGRAMS:
        tree = OURS.tree(module)
        assert tree is not None
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not pattern.search(node.value), f"{module}, line {node.lineno}"


def test_the_scan_sees_every_kind_of_import(tmp_path: Path) -> None:
    text = """
import importlib
from typing import TYPE_CHECKING
_MODULE = "vllm.named"
if TYPE_CHECKING:
    from vllm import never
else:
    import vllm.other
def f():
    from vllm.inside import x
    importlib.import_module("vllm.constant")
    importlib.import_module(_MODULE)
    importlib.import_module(f"vllm.{name}")
    __import__("vllm")
    importlib.import_module("vllm_else")
"""
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "__init__.py").write_text(text)
    tree = ast.parse(text)
    static = {
        one.module
        for node in statements(tree)
        for one in imported(node, "p")
        if is_vllm(one.module)
    }
    assert static == {"vllm", "vllm.other", "vllm.inside"}
    dynamic = [name for name, _ in dynamic_imports(tree) if is_vllm(name)]
    assert dynamic == ["vllm.constant", "vllm.named", "vllm.{name}", "vllm"]


LIGHT = """
import sys
import origin_vllm, origin_vllm.errors, origin_vllm.version, origin_vllm.seam
import origin_vllm.seam.contract, origin_vllm.seam.check
dir(origin_vllm), origin_vllm.DEMO_MODEL, origin_vllm.__version__
heavy = {"torch", "vllm", "pydantic", "transformers", "numpy"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_importing_the_package_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
