"""From an extension, as its author wrote it, to the functions that are called for each hook."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pluggy

from origin_vllm.errors import ExtensionError
from origin_vllm.extensions import hookspecs
from origin_vllm.extensions.hookspecs import EVENT_HOOKS, HOOKS, PREFIX, PROJECT


@dataclass(frozen=True, slots=True)
class Target:
    """One function of an extension: how it is called for its hook."""

    function: Callable[..., Any]
    takes_value: bool
    is_async: bool


def bind(name: str, extension: object) -> dict[str, Target]:
    """Find the hooks that an extension implements.

    Args:
        name: What the extension is called in messages.
        extension: A callable of one argument, an object or module with hook functions, or a class
            of either kind, which is made with no arguments.

    Returns:
        Hook name to target; never empty.

    Raises:
        ExtensionError: nothing to call, an unknown hook, or arguments that don't fit.
    """
    if inspect.isclass(extension):
        try:
            extension = extension()
        except Exception as exc:
            raise ExtensionError(
                f"extension {name!r}: its class can't be made without arguments"
                f" ({type(exc).__name__})",
                remedy="register an instance of it",
            ) from exc
    found = _hook_functions(name, extension)
    if found:
        return _validated(name, found)
    if callable(extension):
        return dict.fromkeys(EVENT_HOOKS, _plain(name, extension))
    raise ExtensionError(
        f"extension {name!r} is a {type(extension).__name__}: neither callable nor an object with"
        f" one of the hooks {', '.join(HOOKS)}"
    )


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing when no known name is close."""
    close = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _hook_functions(name: str, extension: object) -> dict[str, Callable[..., Any]]:
    """The functions named like hooks; every such name must be a hook, and a hook a function."""
    functions = {}
    for attribute in dir(extension):
        if not attribute.startswith(PREFIX):
            continue
        # Static: a property that happens to have our prefix must not be evaluated.
        static = inspect.getattr_static(extension, attribute, None)
        is_function = False
        if isinstance(static, staticmethod | classmethod) or inspect.isroutine(static):
            value = getattr(extension, attribute)
            is_function = inspect.isfunction(value) or inspect.ismethod(value)
        if attribute in HOOKS:
            if not is_function:
                raise ExtensionError(
                    f"extension {name!r}: {attribute} is a {type(static).__name__};"
                    " a hook is a plain or async function"
                )
            functions[attribute] = value
        elif is_function:
            raise ExtensionError(
                f"extension {name!r}: unknown hook {attribute!r}{_closest_hook(attribute)}"
            )
    return functions


def _closest_hook(wrong: str) -> str:
    # Without the prefix, which makes any two hooks look alike.
    known = [hook.removeprefix(PREFIX) for hook in HOOKS]
    close = difflib.get_close_matches(wrong.removeprefix(PREFIX), known, n=1)
    return f"; did you mean {PREFIX + close[0]!r}?" if close else f"; the hooks are {_signatures()}"


class _Specs(pluggy.PluginManager):
    """pluggy's validation, with the function's name as the mark in place of a decorator."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        return cast(pluggy.HookimplOpts, {}) if name in HOOKS else None


def _validated(name: str, functions: Mapping[str, Callable[..., Any]]) -> dict[str, Target]:
    # A manager of its own for each extension: the same object may be registered twice under two
    # names, and delivery isn't pluggy's: each extension has its own thread and supervisor.
    specs = _Specs(PROJECT)
    specs.add_hookspecs(hookspecs)
    try:
        specs.register(SimpleNamespace(**functions), name=name)
    except pluggy.PluginValidationError as exc:
        raise ExtensionError(
            f"extension {name!r}: a hook's arguments don't fit; the hooks are {_signatures()}",
            detail=str(exc),
        ) from exc
    targets = {}
    for hook, argument in HOOKS.items():
        for implementation in getattr(specs.hook, hook).get_hookimpls():
            function = implementation.function
            # pluggy lets an implementation leave out arguments that it has no use for.
            takes = argument in (*implementation.argnames, *implementation.kwargnames)
            if not _accepts(function, takes):
                raise ExtensionError(
                    f"extension {name!r}: {hook} must be callable as {hook}({argument})"
                )
            targets[hook] = Target(function, takes, inspect.iscoroutinefunction(function))
    return targets


def _plain(name: str, function: Callable[..., Any]) -> Target:
    if not _accepts(function, takes_value=True):
        raise ExtensionError(
            f"extension {name!r}: a plain callable is called with one argument, the event, and"
            f" {getattr(function, '__name__', type(function).__name__)!r} can't be called that way"
        )
    # An object whose __call__ is a coroutine function isn't one itself.
    call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
    return Target(function, takes_value=True, is_async=is_async)


def _accepts(function: Callable[..., Any], takes_value: bool) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True  # written in C without a signature: calling it will tell
    try:
        signature.bind(*(None,) * takes_value)
    except TypeError:
        return False
    return True


def _signatures() -> str:
    return ", ".join(f"{hook}({argument})" for hook, argument in HOOKS.items())
