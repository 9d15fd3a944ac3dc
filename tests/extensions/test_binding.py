from __future__ import annotations

import functools
import sys
import types
from typing import Any

import pytest

from origin_vllm.errors import ExtensionError
from origin_vllm.extensions.binding import bind
from origin_vllm.extensions.hookspecs import EVENT_HOOKS, HOOKS


class Both:
    def origin_request_added(self, event: object) -> None: ...

    async def origin_output(self, event: object) -> None: ...

    def origin_engine_stopped(self) -> None: ...  # may leave out what it has no use for

    origin_version = "1.0"  # not a function: their own business

    @property
    def origin_secret(self) -> None:
        raise AssertionError("evaluated")


def test_the_hooks() -> None:
    assert list(HOOKS) == [
        "origin_engine_started",
        "origin_engine_stopped",
        "origin_request_added",
        "origin_output",
        "origin_request_finished",
        "origin_request_failed",
    ]
    assert tuple(HOOKS)[2:] == EVENT_HOOKS


def test_object_with_hooks() -> None:
    targets = bind("x", Both())
    assert set(targets) == {"origin_request_added", "origin_output", "origin_engine_stopped"}
    assert targets["origin_output"].is_async
    assert not targets["origin_request_added"].is_async
    assert targets["origin_request_added"].takes_value
    assert not targets["origin_engine_stopped"].takes_value


def test_class_is_made() -> None:
    assert set(bind("x", Both)) == set(bind("x", Both()))

    class Needy:
        def __init__(self, url: str) -> None: ...

    with pytest.raises(ExtensionError, match="without arguments"):
        bind("x", Needy)


def test_module_and_static_and_class_methods_and_instance_functions() -> None:
    module = types.ModuleType("their_module")
    module.origin_output = lambda event: None  # type: ignore[attr-defined]
    module.origin_vllm = sys  # `import origin_vllm` at its top: no hook
    assert set(bind("x", module)) == {"origin_output"}

    class Kinds:
        def __init__(self) -> None:
            self.origin_request_failed = lambda event: None

        @staticmethod
        def origin_output(event: object) -> None: ...

        @classmethod
        def origin_request_added(cls, event: object) -> None: ...

    targets = bind("x", Kinds())
    assert set(targets) == {"origin_output", "origin_request_added", "origin_request_failed"}
    assert all(target.takes_value for target in targets.values())
    for target in targets.values():
        target.function("event")


def test_wrapped_hook() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: object) -> object:
            return function(*args)

        return wrapper

    class Decorated:
        @logged
        def origin_output(self, event: object) -> None: ...

        @functools.lru_cache  # noqa: B019
        def origin_request_added(self, event: object) -> None: ...

    targets = bind("x", Decorated())
    assert set(targets) == {"origin_output", "origin_request_added"}
    for target in targets.values():
        assert target.takes_value
        target.function("event")


def test_default_argument_still_gets_the_event() -> None:
    class Default:
        def origin_output(self, event: object = None) -> None: ...

    assert bind("x", Default())["origin_output"].takes_value


def test_plain_callables() -> None:
    def function(event: object) -> None: ...

    async def coroutine(anything: object) -> None: ...

    class Callable:
        async def __call__(self, event: object) -> None: ...

    assert list(bind("x", function)) == list(EVENT_HOOKS)
    assert not bind("x", function)["origin_output"].is_async
    for extension in (coroutine, functools.partial(coroutine), Callable(), Callable):
        assert bind("x", extension)["origin_output"].is_async
    assert bind("x", print)
    assert bind("x", [].append)


@pytest.mark.parametrize(
    ("extension", "message"),
    [
        (types.SimpleNamespace(origin_outptu=lambda event: None), "did you mean 'origin_output'"),
        (
            types.SimpleNamespace(origin_zzz=lambda event: None),
            "unknown hook 'origin_zzz'; the hooks",
        ),
        (types.SimpleNamespace(origin_output=lambda e: None), r"origin_output\(event\)"),
        (types.SimpleNamespace(origin_output=lambda event, x: None), "don't fit"),
        (types.SimpleNamespace(origin_output=lambda *, event: None), "must be callable as"),
        (types.SimpleNamespace(origin_output=print), "plain or async function"),
        (types.SimpleNamespace(origin_output=functools.partial(print)), "is a partial"),
        (types.SimpleNamespace(origin_output=3), "is a int"),
        (types.SimpleNamespace(other=print), "neither callable nor"),
        (object(), "neither callable nor"),
        (object, "neither callable nor"),
        (None, "NoneType"),
        ("my_package:thing", "is a str"),
        (lambda: None, "one argument"),
        (lambda a, b: None, "one argument"),
    ],
)
def test_refused(extension: object, message: str) -> None:
    with pytest.raises(ExtensionError, match=message) as caught:
        bind("my_ext", extension)
    assert "'my_ext'" in str(caught.value)
