from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import origin_vllm.errors
from origin_vllm.extensions import SupervisorLimits
from origin_vllm.extensions.binding import bind
from origin_vllm.extensions.observer import Observer

from .conftest import PATIENCE_S, FakeClock, extension_threads

HOOK = "origin_output"
MakeObserver = Callable[..., Observer]


@pytest.fixture
def observe(clock: FakeClock) -> Iterator[MakeObserver]:
    made: list[Observer] = []

    def make(extension: object, idle_s: float = PATIENCE_S, **limits: float) -> Observer:
        targets = bind("x", extension)
        limit = SupervisorLimits(**limits)
        made.append(Observer("x", targets, limit, clock=clock, idle_s=idle_s))
        return made[-1]

    yield make
    for observer in made:
        observer.close(PATIENCE_S)
    assert extension_threads() == []


class Gate:
    """An extension that is stuck in its first event until released."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.entered, self.release = threading.Event(), threading.Event()

    def __call__(self, event: object) -> None:
        self.seen.append(event)
        self.entered.set()
        self.release.wait(PATIENCE_S)


def test_the_thread_is_a_daemon_that_starts_late_and_ends_when_idle(
    observe: MakeObserver,
) -> None:
    threads: list[threading.Thread] = []
    observer = observe(lambda event: threads.append(threading.current_thread()), idle_s=0.01)
    assert extension_threads() == []
    for n in (1, 2):  # again after it ended
        observer.offer(HOOK, "event")
        while len(threads) < n:
            threading.Event().wait(0.001)
        threads[-1].join(PATIENCE_S)
        assert not threads[-1].is_alive()
    assert threads[0] is not threads[1]
    assert threads[0].daemon
    assert observer.supervisor.stats().calls == 2


def test_a_full_queue_drops_and_counts(
    observe: MakeObserver, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    observer = observe(gate, queue_size=3)
    observer.offer(HOOK, 0)
    assert gate.entered.wait(PATIENCE_S)
    for i in range(1, 10):
        observer.offer(HOOK, i)
    gate.release.set()
    assert observer.close(PATIENCE_S)
    assert gate.seen == [0, 1, 2, 3]
    assert observer.supervisor.stats().dropped == 6
    assert caplog.text.count("its queue is full") == 1


def test_hung_then_back(
    observe: MakeObserver, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    observer = observe(gate, timeout_s=1)
    observer.offer(HOOK, 0)
    assert gate.entered.wait(PATIENCE_S)
    observer.offer(HOOK, 1)  # not late yet: waits
    clock.now += 2
    for i in range(2, 5):
        observer.offer(HOOK, i)
    stats = observer.supervisor.stats()
    assert (stats.state, stats.timeouts, stats.dropped) == ("hung", 1, 3)
    assert caplog.text.count("HUNG") == 1
    assert "extension 'x'" in caplog.text
    gate.release.set()
    assert observer.close(PATIENCE_S)
    observer.offer(HOOK, 5)
    assert observer.close(PATIENCE_S)
    assert gate.seen == [0, 1, 5]
    assert observer.supervisor.stats().state == "ok"


def test_open_circuit_drops_what_waits_and_what_comes(
    observe: MakeObserver, clock: FakeClock
) -> None:
    gate = Gate()
    seen: list[object] = []

    def fail_at_first(event: object) -> None:
        gate(event)
        if len(gate.seen) <= 2:
            raise ValueError
        seen.append(event)

    observer = observe(fail_at_first, max_failures=2, cooldown_s=10)
    for i in range(4):
        observer.offer(HOOK, i)
    gate.release.set()
    assert observer.close(PATIENCE_S)
    observer.offer(HOOK, 4)
    stats = observer.supervisor.stats()
    assert (stats.state, stats.calls, stats.errors, stats.dropped) == ("open", 2, 2, 3)
    clock.now += 10
    observer.offer(HOOK, 5)
    assert observer.close(PATIENCE_S)
    assert seen == [5]
    assert observer.supervisor.stats().state == "ok"


def test_async_extension_has_one_loop_and_is_timed(observe: MakeObserver) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    class Async:
        async def origin_output(self, event: object) -> None:
            loops.append(asyncio.get_running_loop())
            if event == "slow":
                await asyncio.Event().wait()

    observer = observe(Async(), timeout_s=0.01)
    for event in ("quick", "slow", "quick"):
        observer.offer(HOOK, event)
    assert observer.close(PATIENCE_S)
    assert len(loops) == 3
    assert len(set(loops)) == 1
    assert loops[0].is_closed()
    stats = observer.supervisor.stats()
    assert (stats.calls, stats.timeouts, stats.errors) == (3, 1, 0)


def test_plain_function_that_returns_a_coroutine_is_awaited(observe: MakeObserver) -> None:
    seen: list[object] = []

    async def later(event: object) -> None:
        await asyncio.sleep(0)
        seen.append(event)

    observer = observe(lambda event: later(event))
    for i in range(3):
        observer.offer(HOOK, i)
    assert observer.close(PATIENCE_S)
    assert seen == [0, 1, 2]


def test_task_left_behind_that_exits_kills_nothing(observe: MakeObserver) -> None:
    seen: list[object] = []
    tasks: list[asyncio.Task[None]] = []

    async def leave() -> None:
        raise SystemExit(1)

    class Async:
        async def origin_output(self, event: object) -> None:
            seen.append(event)
            if event == 0:
                tasks.append(asyncio.create_task(leave()))
                await asyncio.sleep(0)

    observer = observe(Async())
    for i in range(3):
        observer.offer(HOOK, i)
    assert observer.close(PATIENCE_S)
    assert seen == [0, 1, 2]
    stats = observer.supervisor.stats()
    assert (stats.errors, stats.last_error) == (1, "SystemExit")
    assert isinstance(tasks[0].exception(), SystemExit)


def test_tasks_left_running_are_cancelled_at_the_end(observe: MakeObserver) -> None:
    ended: list[str] = []
    tasks: set[asyncio.Task[None]] = set()

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    class Async:
        async def origin_output(self, event: object) -> None:
            tasks.add(asyncio.create_task(background()))
            await asyncio.sleep(0)

    observer = observe(Async())
    observer.offer(HOOK, "event")
    assert observer.close(PATIENCE_S)
    assert ended == ["cancelled"]


def test_nothing_is_kept_alive(observe: MakeObserver) -> None:
    class Thing:
        pass

    done = threading.Event()
    observer = observe(lambda event: None)
    thing = Thing()
    ref = weakref.ref(thing)
    observer.offer(HOOK, thing)
    del thing
    observer.offer(HOOK, "next")
    # The thread idles now, or soon; it may not hold on to what it delivered.
    assert observer.targets
    for _ in range(1000):
        if observer.supervisor.stats().calls == 2:
            break
        done.wait(0.001)
    gc.collect()
    assert ref() is None


def test_closing_from_the_extensions_own_thread_does_not_wait_for_itself(
    observe: MakeObserver,
) -> None:
    answers: list[bool] = []
    box: list[Observer] = []
    observer = observe(lambda event: answers.append(box[0].close(PATIENCE_S)))
    box.append(observer)
    observer.offer(HOOK, "event")
    assert observer.close(PATIENCE_S)
    assert answers == [True]


def test_no_thread_to_be_had(
    observe: MakeObserver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen: list[object] = []
    observer = observe(seen.append)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        observer.offer(HOOK, 1)
    assert "no thread could be started" in caplog.text
    observer.offer(HOOK, 2)
    assert observer.close(PATIENCE_S)
    assert seen == [2]


FORK = """
import os, warnings
warnings.simplefilter("ignore")
from origin_vllm.extensions import get_manager, OutputEvent
seen = []
manager = get_manager()
manager.register("seen", seen.append)
manager.emit("origin_output", OutputEvent("parent", None))
while not seen:
    pass
if os.fork() == 0:
    manager.emit("origin_output", OutputEvent("child", None))
    manager.close(20)
    os._exit(0 if [event.request_id for event in seen] == ["parent", "child"] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
"""

AT_EXIT = """
from origin_vllm.extensions import get_manager, OutputEvent
get_manager().register("print", lambda event: print(event.request_id, flush=True))
for i in range(100):
    get_manager().emit("origin_output", OutputEvent(str(i), None))
"""


def run(code: str) -> str:
    source = Path(origin_vllm.errors.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_forked_process_gets_a_thread_of_its_own() -> None:
    run(FORK)


def test_what_is_queued_when_the_process_ends_is_delivered() -> None:
    assert run(AT_EXIT).split() == [str(i) for i in range(100)]
