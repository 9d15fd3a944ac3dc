"""Every piece of vLLM that we touch, against the installed one: a failure names the piece."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest

from origin_vllm.seam import check as checks
from origin_vllm.seam import version_in, vllm_version
from origin_vllm.seam.contract import (
    CONTRACT,
    ENGINE_BUILDER,
    ENGINE_IMPORTERS,
    ENGINE_MODULE,
    ENGINE_NAME,
    LAUNCH_PATHS,
    Touch,
)
from origin_vllm.seam.source import Function, SourceTree, parameters

_FIRST = ("self", "cls")

every_touch = pytest.mark.parametrize("touch", CONTRACT, ids=lambda touch: touch.id)


def imported(touch: Touch) -> Any:
    """The thing itself, class methods unbound; None where an optional one is missing."""
    for module in (touch.module, *touch.also):
        try:
            found: Any = importlib.import_module(module)
            for name in touch.name.split("."):
                look = inspect.getattr_static if inspect.isclass(found) else getattr
                found = look(found, name)
        except (ModuleNotFoundError, AttributeError):
            continue
        return found
    if touch.optional:
        return None
    pytest.fail(f"{touch.id} is gone (needed: {touch.why})")


def kind_at_run_time(found: Any) -> str:
    if isinstance(found, classmethod | staticmethod | property):
        return type(found).__name__
    if inspect.isclass(found):
        return "class"
    if inspect.isasyncgenfunction(found):
        return "async generator"
    if inspect.iscoroutinefunction(found):
        return "coroutine"
    return "function" if inspect.isfunction(found) else "value"


@pytest.mark.engine
@every_touch
def test_installed_source(touch: Touch, installed: SourceTree) -> None:
    problems = checks.check_touch(installed, touch)
    assert not problems, "\n".join(map(str, problems))


@pytest.mark.engine
@every_touch
def test_installed_at_run_time(touch: Touch, vllm: ModuleType) -> None:
    found = imported(touch)
    if found is None:
        return
    if touch.kind:
        assert kind_at_run_time(found) == touch.kind, touch.why
    if touch.positional or touch.params:
        function = getattr(found, "__func__", found)
        taken = [name for name in inspect.signature(function).parameters if name not in _FIRST]
        assert taken[: len(touch.positional)] == list(touch.positional), touch.why
        assert set(touch.params) <= set(taken), touch.why


@pytest.mark.engine
@every_touch
def test_parsing_sees_what_runs(touch: Touch, vllm: ModuleType, installed: SourceTree) -> None:
    """The releases that we can't install are only parsed: what is parsed must be the truth."""
    found = imported(touch)
    if found is None:
        return
    definitions = [
        definition
        for module in (touch.module, *touch.also)
        for definition in installed.resolve(module, touch.name)
    ]
    assert definitions
    for definition in definitions:
        if isinstance(definition.node, Function):
            positional, keyword_only = parameters(definition.node)
            signature = inspect.signature(getattr(found, "__func__", found))
            named = [
                parameter.name
                for parameter in signature.parameters.values()
                if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                and parameter.name not in _FIRST
            ]
            assert named == [*positional, *keyword_only]
        elif inspect.isclass(found):
            bases = {base.__name__ for base in found.__mro__}
            parsed = {one.node.name for one in installed.mro(definition) if one.node is not None}
            assert parsed <= bases
            public = {name for name in vars(found) if not name.startswith("__")}
            unseen = public - installed.attributes(definition) - {"_abc_impl", "_is_protocol"}
            assert not {name for name in unseen if not name.startswith("_")}


@pytest.mark.engine
def test_whole_check(installed: SourceTree) -> None:
    report = checks.check(installed)
    assert report.compatible, "\n".join(map(str, report.problems))
    assert not report.notes


@pytest.mark.engine
def test_version_is_read_without_importing(vllm: ModuleType, installed: SourceTree) -> None:
    assert version_in(installed.root / "vllm") == vllm.__version__ == vllm_version()


@pytest.mark.engine
def test_parsed_flags_have_what_we_read(vllm: ModuleType) -> None:
    from origin_vllm.seam.serving import parse_serve_args

    args = parse_serve_args([], default_model="some/model", epilog="", our_flags=[])
    assert args.model == "some/model"
    read = {
        "api_server_count",
        "enable_auto_tool_choice",
        "enable_chunked_prefill",
        "headless",
        "host",
        "kv_cache_memory_bytes",
        "model_tag",
        "port",
        "served_model_name",
        "tool_call_parser",
        "uds",
    }
    assert read <= vars(args).keys()


def test_entries_are_unique_and_say_why() -> None:
    ids = [touch.id for touch in CONTRACT]
    assert len(ids) == len(set(ids))
    for touch in CONTRACT:
        assert touch.why
        assert touch.module.partition(".")[0] == "vllm"
        assert not (touch.in_place and touch.kind != "class")
    modules = [one.module for one in ENGINE_IMPORTERS]
    assert len(modules) == len(set(modules))
    assert all(one.why for one in ENGINE_IMPORTERS)
    assert all(LAUNCH_PATHS.values())
    assert f"{ENGINE_MODULE}:{ENGINE_NAME}" in ids
    assert all(place.count(":") == 1 for place in ENGINE_BUILDER)
