"""Names are found wherever Python would find them."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from origin_vllm.seam.source import (
    Function,
    SourceTree,
    kind_of,
    parameters,
    required,
    words_of,
)

Plant = Callable[[dict[str, str]], SourceTree]


def homes(tree: SourceTree, module: str, name: str) -> list[str]:
    return [definition.module for definition in tree.resolve(module, name)]


@pytest.mark.parametrize(
    ("init", "name"),
    [
        ("from .core import Engine", "Engine"),
        ("from vllm.core import Engine as Motor", "Motor"),
        ("from .core import *", "Engine"),
        ("from . import core\nEngine = core.Engine", "Engine"),
        ("import vllm.core\nEngine = vllm.core.Engine", "Engine"),
        ("import vllm.core as c\nEngine = Motor = c.Engine", "Motor"),
        (
            "try:\n    from .fast import Engine\nexcept ImportError:\n    from .core import Engine",
            "Engine",
        ),
        ("if True:\n    pass\nelse:\n    from .core import Engine", "Engine"),
        ("from .again import Engine", "Engine"),
        ("T = {'Engine': '.core:Engine'}\ndef __getattr__(name): ...", "Engine"),
        ("T: dict[str, str] = {'Engine': 'vllm.core'}\ndef __getattr__(name): ...", "Engine"),
        ("T = {'Motor': ('vllm.core', 'Engine')}\ndef __getattr__(name): ...", "Motor"),
    ],
)
def test_resolve(plant: Plant, init: str, name: str) -> None:
    tree = plant(
        {
            "__init__.py": init,
            "core.py": "class Engine: ...",
            "again.py": "from .core import Engine",
        }
    )
    assert homes(tree, "vllm", name) == ["vllm.core"]


@pytest.mark.parametrize(
    "init",
    [
        "",
        "from .core import Motor as Engine",
        "from .nowhere import Engine",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .core import Engine",
        "import typing\nif typing.TYPE_CHECKING:\n    Engine = 1",
        "Engine: type",
        "Engine = 1\ndel Engine",
        "T = {'Engine': '.core:Engine'}",  # nothing reads the table
        "T = {'Engine': '.nowhere:Engine'}\ndef __getattr__(name): ...",
        "from .circle import Engine",
    ],
)
def test_resolve_nothing(plant: Plant, init: str) -> None:
    tree = plant(
        {
            "__init__.py": init,
            "core.py": "class Engine: ...",
            "circle.py": "from vllm import Engine",
        }
    )
    assert tree.resolve("vllm", "Engine") == []


def test_resolve_lazy_by_comparison(plant: Plant) -> None:
    tree = plant({"a.py": "def __getattr__(name):\n    if name == 'current': return 1"})
    assert homes(tree, "vllm.a", "current") == ["vllm.a"]
    assert homes(tree, "vllm.a", "other") == []


def test_resolve_submodule_and_outside(plant: Plant) -> None:
    tree = plant({"a.py": "from torch import Tensor\nimport numpy as np\nArray = np.ndarray"})
    assert homes(tree, "vllm", "a") == ["vllm.a"]
    assert homes(tree, "vllm.a", "Tensor") == ["torch.Tensor"]
    assert homes(tree, "vllm.a", "Array") == ["numpy.ndarray"]


def test_later_definition_wins_unless_conditional(plant: Plant) -> None:
    tree = plant({"a.py": "def f(): ...\ndef f(x): ...\nif g:\n    def f(y): ..."})
    found = [definition.node for definition in tree.resolve("vllm.a", "f")]
    names = [parameters(node)[0] for node in found if isinstance(node, Function)]
    assert names == [["y"], ["x"]]


def test_overloads_do_not_count(plant: Plant) -> None:
    tree = plant(
        {
            "a.py": """
            from typing import overload
            class C:
                def f(self, a, b): ...
                @overload
                def f(self, a): ...
            """
        }
    )
    (found,) = tree.resolve("vllm.a", "C.f")
    assert isinstance(found.node, Function)
    assert parameters(found.node) == (["a", "b"], [])


def test_inheritance_across_modules(plant: Plant) -> None:
    tree = plant(
        {
            "a.py": """
            from typing import Generic
            from vllm import b
            class C(b.Mixin, b.Base[int], Generic[T]):
                field: int
                alias = b.helper
                def __post_init__(self): self.late = 1
            """,
            "b.py": """
            class Root:
                def who(self): ...
                def __init__(me, x):
                    me.x: int = x
                    me.a, (me.b, other.c) = x
            class Mixin: ...
            class Base(Root):
                def who(self, deep): ...
            def helper(): ...
            """,
        }
    )
    (who,) = tree.resolve("vllm.a", "C.who")
    assert isinstance(who.node, Function)
    assert parameters(who.node) == (["deep"], [])
    assert homes(tree, "vllm.a", "C.alias") == ["vllm.b"]
    assert tree.resolve("vllm.a", "C.missing") == []
    (c,) = tree.resolve("vllm.a", "C")
    assert {"field", "late", "x", "a", "b", "who", "alias"} <= tree.attributes(c)
    assert "c" not in tree.attributes(c)
    names = [
        one.node.name if isinstance(one.node, ast.ClassDef) else one.module for one in tree.mro(c)
    ]
    assert names == ["C", "Mixin", "Base", "Root", "typing.Generic"]


def test_imports_at_import_time(plant: Plant) -> None:
    tree = plant(
        {
            "p/a.py": """
            import os.path
            from .. import x
            from .b import y as z
            for i in ():
                import one
            else:
                import two
            with ctx:
                import three
            match i:
                case 1:
                    import four
            class C:
                import five
                def f(self):
                    import never
            def f():
                import never
            if TYPE_CHECKING:
                import never
            """
        }
    )
    found = {(one.module, one.name) for one in tree.imports("vllm.p.a")}
    assert found == {
        ("os", None),
        ("os.path", None),
        ("vllm", "x"),
        ("vllm.p.b", "y"),
        *((name, None) for name in ("one", "two", "three", "four", "five")),
    }


def parse(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("class C: ...", "class"),
        ("def f(): ...", "function"),
        ("def f():\n  def g(): yield", "function"),
        ("def f(): yield", "generator"),
        ("async def f(): ...", "coroutine"),
        ("async def f():\n  async for x in y: yield x", "async generator"),
        ("@classmethod\ndef f(cls): ...", "classmethod"),
        ("@staticmethod\ndef f(): ...", "staticmethod"),
        ("@property\ndef f(self): ...", "property"),
        ("@cache(1)\ndef f(): ...", "function"),
        ("x = 1", "value"),
    ],
)
def test_kind(text: str, kind: str) -> None:
    assert kind_of(parse(text)) == kind


def test_parameters() -> None:
    function = parse("def f(self, a, /, b, c=1, *args, d, e=2, **kwargs): ...")
    assert isinstance(function, Function)
    assert parameters(function) == (["a", "b", "c"], ["d", "e"])
    assert required(function) == ["a", "b", "d"]


def test_words() -> None:
    text = "@deco\ndef f(a: Note = d) -> Ret:\n  from m import n\n  x: Ann = self.attr('text')"
    assert words_of(parse(text)) == {"n", "x", "self", "attr", "text"}
