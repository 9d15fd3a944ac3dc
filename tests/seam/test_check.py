"""Every kind of breakage is found, on small made-up releases. No vLLM needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from origin_vllm.seam import check as checks
from origin_vllm.seam.contract import Importer, Touch
from origin_vllm.seam.source import SourceTree

Plant = Callable[[dict[str, str]], SourceTree]

ENGINE = """
    from .base import Base

    class Collector:
        def __init__(self, kind, request_id):
            self.kind = kind
            self.ready, self._task = object(), None

        def put(self, output): ...

    class Engine(Base):
        limit: int = 3

        def __init__(self, config, *, log_stats: bool = True):
            super().__init__(config)
            self.processor = make(config)

        @classmethod
        def build(cls, config, usage=None):
            return cls(config)

        async def add(self, request_id, prompt, params, priority=0):
            queue = Collector(params, request_id)
            await self._add(prompt, queue)
            return queue

        async def stream(self, prompt):
            queue = await self.add(0, prompt, None)
            yield await queue.get()
"""
BASE = """
    class Base:
        def __init__(self, config):
            self.config = config

        def stop(self, timeout=None): ...
"""

TOUCHES = {
    "class": Touch(
        "vllm.engine",
        "Engine",
        "base of ours",
        kind="class",
        attributes=("config", "processor", "limit"),
        in_place=True,
    ),
    "init": Touch(
        "vllm.engine",
        "Engine.__init__",
        "we call it",
        kind="function",
        positional=("config",),
        params=("log_stats",),
        complete=True,
        uses=("make",),
    ),
    "inherited": Touch(
        "vllm.engine", "Engine.stop", "overridden", kind="function", params=("timeout",)
    ),
    "build": Touch(
        "vllm.engine",
        "Engine.build",
        "builds ours",
        kind="classmethod",
        uses=("cls",),
        only_called=("cls",),
    ),
    "add": Touch(
        "vllm.engine",
        "Engine.add",
        "overridden",
        kind="coroutine",
        positional=("request_id", "prompt", "params"),
        params=("priority",),
        uses=("Collector", "_add"),
    ),
    "stream": Touch(
        "vllm.engine", "Engine.stream", "reads the queue", kind="async generator", uses=("get",)
    ),
    "collector": Touch(
        "vllm.engine",
        "Collector",
        "turns into ours",
        kind="class",
        attributes=("kind", "ready", "_task"),
        in_place=True,
    ),
}


def whats(tree: SourceTree, touch: Touch) -> list[str]:
    problems = checks.check_touch(tree, touch)
    assert all(problem.touch == touch.id and problem.why == touch.why for problem in problems)
    return [problem.what for problem in problems]


@pytest.mark.parametrize("name", TOUCHES)
def test_nothing_wrong(plant: Plant, name: str) -> None:
    assert whats(plant({"engine.py": ENGINE, "base.py": BASE}), TOUCHES[name]) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "what"),
    [
        ("class", "class Engine(Base)", "class Motor(Base)", "there is no Engine in vllm.engine"),
        ("class", "self.processor =", "self.worker =", "no attribute processor"),
        ("class", "limit: int = 3", "", "no attribute limit"),
        ("class", "(Base):", "(msgspec.Struct):", "derives from msgspec.Struct"),
        ("class", "limit: int = 3", "__slots__ = ()", "Engine has __slots__"),
        ("class", "class Engine", "@dataclass(slots=True)\n    class Engine", "slots=True"),
        ("class", "class Engine", "@dataclass(frozen=True)\n    class Engine", "frozen=True"),
        ("class", "class Engine(Base):", "def Engine():", "it is a function, no longer a class"),
        ("init", "config, *, log_stats", "settings, *, log_stats", "first parameters are"),
        ("init", "*, log_stats: bool = True", "*, verbose=True", "no parameter log_stats"),
        ("init", "log_stats: bool = True", "log_stats=1, device", "without a default: device"),
        ("init", "make(config)", "None", "no longer uses make"),
        ("inherited", "Engine(Base)", "Engine", "Engine has no stop"),
        ("build", "@classmethod", "@staticmethod", "it is a staticmethod, no longer a classmethod"),
        ("build", "return cls(config)", "return Engine(config)", "no longer uses cls"),
        ("build", "return cls(config)", "return make(cls)", "something else than calling it"),
        ("build", "return cls(config)", "return cls.make(config)", "something else than calling"),
        ("add", "async def add", "def add", "it is a function, no longer a coroutine"),
        ("add", "async def add", "async def put_in", "Engine has no add"),
        ("add", "request_id, prompt, params", "prompt, request_id, params", "first parameters are"),
        ("add", "self._add(prompt", "self.push(prompt", "no longer uses _add"),
        (
            "add",
            "queue = Collector(params, request_id)",
            "queue: Collector = q()",
            "uses Collector",
        ),
        ("stream", "yield await", "return await", "it is a coroutine, no longer a async generator"),
        ("collector", "self._task = object(), None", "self.job = object(), None", "_task"),
        (
            "collector",
            "class Engine(Base)",
            "class Quick(Collector): ...\n\n    class Engine(Base)",
            "subclass Quick (in vllm.engine)",
        ),
    ],
)
def test_breakage(plant: Plant, name: str, old: str, new: str, what: str) -> None:
    assert old in ENGINE
    found = whats(plant({"engine.py": ENGINE.replace(old, new), "base.py": BASE}), TOUCHES[name])
    assert any(what in one for one in found), found


def test_breakage_in_a_base_of_another_module(plant: Plant) -> None:
    tree = plant({"engine.py": ENGINE, "base.py": BASE.replace("self.config", "self.settings")})
    assert whats(tree, TOUCHES["class"]) == ["its instances have no attribute config"]


def test_a_moved_name_says_where_it_went(plant: Plant) -> None:
    tree = plant({"engine.py": "", "core/engine.py": ENGINE, "core/base.py": BASE})
    assert whats(tree, TOUCHES["class"]) == [
        "there is no Engine in vllm.engine; Engine is now in vllm.core.engine"
    ]


def test_a_moved_module_says_where_it_went(plant: Plant) -> None:
    tree = plant({"core/engine.py": ENGINE, "core/base.py": BASE})
    assert whats(tree, TOUCHES["add"]) == [
        "there is no module vllm.engine; Engine is now in vllm.core.engine"
    ]


def test_also_elsewhere_and_optional(plant: Plant) -> None:
    tree = plant({"core/engine.py": "def start(args): ..."})
    here = Touch("vllm.engine", "start", "we call it", also=("vllm.core.engine",))
    assert whats(tree, here) == []
    assert whats(tree, Touch("vllm.engine", "halt", "if it is there", optional=True)) == []
    wrong = Touch("vllm.core.engine", "start", "we call it", kind="coroutine", optional=True)
    assert whats(tree, wrong) == ["it is a function, no longer a coroutine"]


def test_a_module_that_does_not_parse(plant: Plant) -> None:
    tree = plant({"engine.py": "class Engine(:"})
    assert "can parse" in whats(tree, TOUCHES["class"])[0]


def test_known_subclasses_are_fine(plant: Plant) -> None:
    files = {
        "a.py": "class Output: ...",
        "b.py": "from vllm import a\nclass Scored(a.Output): ...",
    }
    touch = Touch("vllm.a", "Output", "turns into ours", in_place=True)
    assert "subclass Scored (in vllm.b)" in whats(plant(files), touch)[0]
    known = Touch("vllm.a", "Output", "turns into ours", in_place=True, subclasses=("Scored",))
    assert whats(plant(files), known) == []


def test_each_conditional_definition_must_hold(plant: Plant) -> None:
    text = """
        import sys
        if sys.platform == "linux":
            def start(args): ...
        else:
            def start(flags): ...
    """
    touch = Touch("vllm.a", "start", "we call it", positional=("args",))
    assert whats(plant({"a.py": text}), touch) == [
        "its first parameters are (flags), no longer (args)"
    ]


# -- how requests get in ---------------------------------------------------------------------------

WAYS = """
    class AsyncLLM:
        async def add_request(self, request_id, n):
            queue = RequestOutputCollector(request_id)
            if n == 1:
                await self._add_request(request_id, queue)
            else:
                self.output_processor.add_request(request_id, queue=queue)
            log(request_id)
            return queue
"""


def ways_in(tree: SourceTree) -> list[str]:
    found = checks.check_ways_in(
        tree,
        makers=("AsyncLLM.add_request",),
        ways=("_add_request", "output_processor.add_request"),
        module="vllm.engine",
    )
    return [problem.what for problem in found]


def test_ways_in(plant: Plant) -> None:
    assert ways_in(plant({"engine.py": WAYS})) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("self._add_request(", "self.fast_path(", "hands the collector to fast_path too"),
        ("self.output_processor.add_request(", "self.output_processor.register(", "register too"),
        ("log(request_id)", "log(queue)", "hands the collector to log too"),
        ("queue = RequestOutputCollector(request_id)", "queue = q", "no longer makes"),
    ],
)
def test_another_way_in(plant: Plant, old: str, new: str, what: str) -> None:
    found = ways_in(plant({"engine.py": WAYS.replace(old, new)}))
    assert any(what in one for one in found), found


# -- the server's builder --------------------------------------------------------------------------

BUILDER = """
    async def build(args):
        from vllm.v1.engine import AsyncLLM
        return AsyncLLM.from_args(args)
"""
PLACES = ("vllm.launchers:build", "vllm.api_server:build")


def builder(tree: SourceTree) -> list[str]:
    found = checks.check_builder(tree, PLACES, "vllm.v1.engine", "AsyncLLM")
    return [str(problem) for problem in found]


def test_builder_in_either_place(plant: Plant) -> None:
    assert builder(plant({"api_server.py": BUILDER})) == []


def test_builder_is_followed_through_an_import(plant: Plant) -> None:
    files = {"launchers/__init__.py": "from .entry import build", "launchers/entry.py": BUILDER}
    assert builder(plant(files)) == []
    files["launchers/entry.py"] = BUILDER.replace("from vllm.v1.engine", "from vllm.v2.engine")
    assert "does not import AsyncLLM from vllm.v1.engine" in builder(plant(files))[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no function that builds"),
        ("build = None", "not a function"),
        ("from vllm.v1.engine import AsyncLLM\nasync def build(args):\n  AsyncLLM()", "itself"),
        ("def build(args):\n  from vllm.v1.engine import AsyncLLM\n  return make()", "not build"),
        (
            "def build(args):\n  from vllm.v1.engine import Other as AsyncLLM\n  AsyncLLM()",
            "not imp",
        ),
    ],
)
def test_builder_changed(plant: Plant, text: str, what: str) -> None:
    assert what in builder(plant({"api_server.py": text}))[0]


# -- launch paths ----------------------------------------------------------------------------------

LAUNCHER = """
    class Serve:
        @staticmethod
        def cmd(args):
            if hasattr(args, "grpc"):
                from vllm.grpc import serve_grpc
                uv.run(serve_grpc(args))
            elif args.many:
                run_many(args)
            else:
                uv.run(run_server(args))
"""


def test_launch_paths(plant: Plant) -> None:
    tree = plant({"serve.py": LAUNCHER})
    known = {"serve_grpc": "", "run_many": "", "run_server": ""}
    assert checks.check_launch_paths(tree, ("vllm.serve", "Serve.cmd"), known) == []
    del known["run_many"]
    (problem,) = checks.check_launch_paths(tree, ("vllm.serve", "Serve.cmd"), known)
    assert problem.what == "a new way to start: run_many(args)"


# -- who holds the engine class --------------------------------------------------------------------

HOME = {"v1/engine.py": "class AsyncLLM: ..."}
ALIAS = {"alias.py": "from vllm.v1.engine import AsyncLLM\nAsyncLLMEngine = AsyncLLM"}
KNOWN = (
    Importer("vllm.alias", "users' alias"),
    Importer("vllm.grpc", "imported late", late=True),
)


def importers(tree: SourceTree) -> list[tuple[str, str]]:
    found = checks.check_importers(tree, KNOWN, "vllm.v1.engine", "AsyncLLM")
    return [(problem.touch, problem.what) for problem in found]


def test_known_importers(plant: Plant) -> None:
    files = {
        **HOME,
        **ALIAS,
        "grpc.py": "from .v1.engine import AsyncLLM",
        "harmless.py": """
            from typing import TYPE_CHECKING
            import vllm.v1.engine
            from vllm.v1.engine import Other
            if TYPE_CHECKING:
                from vllm.v1.engine import AsyncLLM

            def build():
                from vllm.v1.engine import AsyncLLM
                from vllm.grpc import serve
        """,
    }
    assert importers(plant(files)) == []


@pytest.mark.parametrize(
    "text",
    [
        "from vllm.v1.engine import AsyncLLM",
        "from .v1.engine import AsyncLLM as Engine",
        "from vllm.v1.engine import *",
        "try:\n    from vllm.v1.engine import AsyncLLM\nexcept ImportError:\n    AsyncLLM = None",
        "class Holder:\n    from vllm.v1.engine import AsyncLLM",
        "from vllm.alias import AsyncLLMEngine",
    ],
)
def test_a_new_importer(plant: Plant, text: str) -> None:
    ((module, what),) = importers(plant({**HOME, **ALIAS, "server.py": text}))
    assert module == "vllm.server"
    assert "at module level (line" in what


def test_an_importer_of_a_new_importer(plant: Plant) -> None:
    files = {
        **HOME,
        "one.py": "from vllm.v1.engine import AsyncLLM as Engine",
        "two.py": "from vllm.one import Engine",
    }
    assert [module for module, _ in importers(plant(files))] == ["vllm.one", "vllm.two"]


@pytest.mark.parametrize(
    "text", ["import vllm.grpc", "from vllm import grpc", "from .grpc import x"]
)
def test_what_must_come_late_comes_early(plant: Plant, text: str) -> None:
    files = {**HOME, "grpc.py": "from vllm.v1.engine import AsyncLLM", "serve.py": text}
    assert [module for module, _ in importers(plant(files))] == ["vllm.serve"]


# -- public names ----------------------------------------------------------------------------------


def test_public_names(plant: Plant) -> None:
    init = """
        TABLE = {"LLM": ".engine:LLM", "Params": ".params:Params"}

        def __getattr__(name):
            return load(TABLE[name])

        __all__ = ["LLM", "Params", "Fresh", "__version__"]
        Fresh = __version__ = "1"
    """
    files = {"__init__.py": init, "engine.py": "class LLM: ...", "params.py": ""}
    everything = {"LLM", "Params", "Gone", "__version__", "Ours"}
    report = checks.check_public(plant(files), everything, {"Params", "Gone"})
    assert [(problem.touch, problem.what) for problem in report.problems] == [
        ("vllm:__all__", "it has no Gone"),
        ("vllm:Params", "vllm.__all__ has it, but it leads nowhere"),
    ]
    assert report.notes == ["vllm.__all__ has Fresh, ours not yet"]


def test_public_names_must_be_readable(plant: Plant) -> None:
    report = checks.check_public(plant({"__init__.py": "__all__ = sorted(x)"}), {"LLM"}, set())
    assert not report.compatible


def test_our_public_names() -> None:
    everything, handed_on = checks.our_public_names()
    assert {"LLM", "SamplingParams", "DEMO_MODEL", "__version__"} <= everything
    assert "SamplingParams" in handed_on
    assert not {"LLM", "DEMO_MODEL", "__version__", "get_settings"} & handed_on


def test_an_empty_vllm_fails_every_check(plant: Plant) -> None:
    report = checks.check(plant({}))
    touched = {problem.touch for problem in report.problems}
    from origin_vllm.seam.contract import CONTRACT

    assert {touch.id for touch in CONTRACT if not touch.optional} <= touched
    assert "needed: " in str(report.problems[0])
