from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from origin_vllm.extensions import (
    ExtensionManager,
    OutputEvent,
    RequestAdded,
    RequestFailed,
    RequestFinished,
    SupervisorLimits,
)

#: What a test waits for at most; nothing that passes comes near it.
PATIENCE_S = 20.0


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def added(request_id: str = "r1") -> RequestAdded:
    return RequestAdded(request_id, "Hello", [1, 2], object(), None, 0.0)


def output(request_id: str = "r1") -> OutputEvent:
    return OutputEvent(request_id, object())


def finished(request_id: str = "r1") -> RequestFinished:
    return RequestFinished(request_id, object(), 0.5)


def failed(request_id: str = "r1") -> RequestFailed:
    return RequestFailed(request_id, None, aborted=True)


def extension_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("origin-vllm-extension")]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make_manager(clock: FakeClock) -> Iterator[Callable[..., ExtensionManager]]:
    """Managers on the fake clock; closed afterwards, and no thread may be left."""
    made: list[ExtensionManager] = []

    def make(idle_s: float = PATIENCE_S, **limits: float) -> ExtensionManager:
        made.append(ExtensionManager(SupervisorLimits(**limits), clock=clock, idle_s=idle_s))
        return made[-1]

    yield make
    closed = [manager.close(PATIENCE_S) for manager in made]
    assert all(closed)
    assert extension_threads() == []
