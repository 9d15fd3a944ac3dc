"""The hooks an extension may implement, as plain or ``async`` functions.

The name makes the hook: no decorator, no base class. Hooks are told, they don't decide: what one
returns is ignored, and it runs beside the request, never in its way. ``docs/extensions.md`` lists
them for users; a test keeps the two together.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

from pluggy import HookspecMarker

if TYPE_CHECKING:
    from origin_vllm.extensions.events import (
        OutputEvent,
        RequestAdded,
        RequestFailed,
        RequestFinished,
    )

#: pluggy's project name; the prefix of every hook's name is ``origin_``.
PROJECT = "origin_vllm"
PREFIX = "origin_"

hookspec = HookspecMarker(PROJECT)


@hookspec
def origin_engine_started(engine: Any) -> None:
    """The engine is ready and has seen no request yet."""


@hookspec
def origin_engine_stopped(engine: Any) -> None:
    """The engine is shutting down and takes no more requests."""


@hookspec
def origin_request_added(event: RequestAdded) -> None:
    """A request was accepted by the engine."""


@hookspec
def origin_output(event: OutputEvent) -> None:
    """An output, or a chunk of a streamed one, is on its way to the client."""


@hookspec
def origin_request_finished(event: RequestFinished) -> None:
    """A request was answered to its end."""


@hookspec
def origin_request_failed(event: RequestFailed) -> None:
    """A request failed or was aborted."""


#: Every hook's name and the name of its one argument, in the order above.
HOOKS: dict[str, str] = {
    name: next(iter(inspect.signature(function).parameters))
    for name, function in vars(sys.modules[__name__]).items()
    if name.startswith(PREFIX)
}

#: The hooks a plain callable listens to: those that carry an event.
EVENT_HOOKS: tuple[str, ...] = tuple(
    name for name, argument in HOOKS.items() if argument == "event"
)
