from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from origin_vllm.errors import ConfigError
from origin_vllm.extensions import Outcome, Supervisor, SupervisorLimits

from .conftest import PATIENCE_S, FakeClock


def raising(exc: BaseException) -> None:
    raise exc


@pytest.mark.parametrize(
    "field", ["timeout_s", "cooldown_s", "queue_size", "max_failures", "max_concurrency"]
)
def test_limits_are_positive(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        SupervisorLimits(**{field: 0})
    with pytest.raises(ConfigError, match=field):
        SupervisorLimits(**{field: float("nan")})


def test_a_good_call(clock: FakeClock) -> None:
    supervisor = Supervisor("guest", clock=clock)

    def add(a: int, *, b: int) -> int:
        clock.now += 0.5
        return a + b

    outcome = supervisor.call_sync(add, 1, b=2)
    assert outcome.ok
    assert outcome.value == 3
    stats = supervisor.stats()
    assert (stats.calls, stats.errors, stats.timeouts, stats.dropped) == (1, 0, 0, 0)
    assert (stats.state, stats.last_error, stats.total_s) == ("ok", None, 0.5)


@pytest.mark.parametrize(
    "exc", [ValueError("x"), SystemExit(3), GeneratorExit(), asyncio.CancelledError()]
)
def test_nothing_a_sync_guest_raises_gets_out(exc: BaseException) -> None:
    supervisor = Supervisor("guest")
    if isinstance(exc, GeneratorExit):  # the interpreter's way to end a coroutine: not the guest's
        with pytest.raises(GeneratorExit):
            supervisor.call_sync(raising, exc)
        return
    assert supervisor.call_sync(raising, exc) == Outcome("error")
    assert supervisor.stats().last_error == type(exc).__name__


def test_ctrl_c_is_the_users_on_the_main_thread_and_the_guests_elsewhere() -> None:
    supervisor = Supervisor("guest")
    with pytest.raises(KeyboardInterrupt):
        supervisor.call_sync(raising, KeyboardInterrupt())
    assert supervisor.stats().errors == 0
    thread = threading.Thread(target=supervisor.call_sync, args=(raising, KeyboardInterrupt()))
    thread.start()
    thread.join(PATIENCE_S)
    assert supervisor.stats().errors == 1


def test_each_exception_type_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor("guest", SupervisorLimits(max_failures=100))
    for exc in (ValueError("a"), ValueError("b"), KeyError("c"), ValueError("d"), KeyError("e")):
        supervisor.call_sync(raising, exc)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        ValueError,
        KeyError,
    ]
    assert supervisor.stats().errors == 5


def test_a_late_sync_call_is_a_timeout(clock: FakeClock) -> None:
    supervisor = Supervisor("guest", SupervisorLimits(timeout_s=1, max_failures=1), clock=clock)

    def slow() -> str:
        clock.now += 2
        return "late"

    assert supervisor.call_sync(slow) == Outcome("timeout")
    stats = supervisor.stats()
    assert (stats.timeouts, stats.errors, stats.last_error) == (1, 0, "TimeoutError")
    assert stats.state == "open"  # it counts as a failure


def test_circuit_opens_refuses_and_closes(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    supervisor = Supervisor("guest", SupervisorLimits(max_failures=2, cooldown_s=10), clock=clock)
    supervisor.call_sync(raising, ValueError())
    assert supervisor.ready()
    supervisor.call_sync(raising, ValueError())
    assert not supervisor.ready()
    assert supervisor.call_sync(int) == Outcome("refused")
    assert supervisor.stats().state == "open"
    assert supervisor.stats().dropped == 1
    clock.now += 10
    assert supervisor.ready()
    assert supervisor.call_sync(int).ok
    assert supervisor.stats().state == "ok"
    text = caplog.text
    assert text.count("left out for 10 s") == 1
    assert text.count("works again") == 1


def test_a_hung_call_is_noticed_from_outside_announced_once_and_recovers(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Supervisor("guest", SupervisorLimits(timeout_s=1), clock=clock)
    entered, release = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        release.wait(PATIENCE_S)

    thread = threading.Thread(target=supervisor.call_sync, args=(hang,))
    thread.start()
    assert entered.wait(PATIENCE_S)
    assert supervisor.ready()
    clock.now += 1.5
    assert not supervisor.ready()
    assert supervisor.call_sync(int) == Outcome("refused")
    assert supervisor.stats().state == "hung"
    assert supervisor.stats().timeouts == 1
    release.set()
    thread.join(PATIENCE_S)
    stats = supervisor.stats()
    assert (stats.state, stats.calls, stats.timeouts) == ("ok", 1, 1)
    assert supervisor.ready()
    assert caplog.text.count("HUNG") == 1
    assert caplog.text.count("in service again") == 1


def test_drops_are_said_once_a_minute(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor("guest", clock=clock)
    for _ in range(10):
        supervisor.drop("full")
    clock.now += 61
    supervisor.drop("full")
    assert [record.args[1] for record in caplog.records if record.args] == [1, 10]
    assert supervisor.stats().dropped == 11


def test_limits_can_change() -> None:
    supervisor = Supervisor("guest", SupervisorLimits(max_failures=5))
    supervisor.configure(SupervisorLimits(max_failures=1))
    supervisor.call_sync(raising, ValueError())
    assert supervisor.stats().state == "open"


# -- async ----------------------------------------------------------------------------------------


async def test_async_good_error_and_exit() -> None:
    supervisor = Supervisor("guest")

    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    async def fail(exc: BaseException) -> None:
        await asyncio.sleep(0)
        raise exc

    assert (await supervisor.call_async(double, 4)).value == 8
    for exc in (ValueError(), TimeoutError(), SystemExit(1), asyncio.CancelledError()):
        assert await supervisor.call_async(fail, exc) == Outcome("error")
    stats = supervisor.stats()
    assert (stats.calls, stats.errors, stats.timeouts) == (5, 4, 0)


async def test_async_deadline() -> None:
    supervisor = Supervisor("guest", SupervisorLimits(timeout_s=0.01, max_failures=1))
    never = asyncio.Event()
    assert await supervisor.call_async(never.wait) == Outcome("timeout")
    stats = supervisor.stats()
    assert (stats.timeouts, stats.errors, stats.state) == (1, 0, "open")


async def test_async_call_that_ignores_its_deadline_is_late() -> None:
    supervisor = Supervisor("guest", SupervisorLimits(timeout_s=0.01))

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"
        return "never"

    assert await supervisor.call_async(stubborn) == Outcome("timeout")


async def test_cancelling_the_caller_is_not_the_guests_failure() -> None:
    supervisor = Supervisor("guest", SupervisorLimits(max_failures=1))
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(supervisor.call_async(wait))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stats = supervisor.stats()
    assert (stats.calls, stats.errors, stats.state) == (0, 0, "ok")


async def test_concurrency_limit() -> None:
    supervisor = Supervisor("guest", SupervisorLimits(max_concurrency=2))
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1

    outcomes = await asyncio.gather(*(supervisor.call_async(work) for _ in range(10)))
    assert all(outcome.ok for outcome in outcomes)
    assert most == 2


async def test_no_free_slot_in_time_is_refused_and_no_failure() -> None:
    supervisor = Supervisor(
        "guest", SupervisorLimits(timeout_s=PATIENCE_S, max_concurrency=1, max_failures=1)
    )
    free, started = asyncio.Event(), asyncio.Event()

    async def occupy() -> None:
        started.set()
        await free.wait()

    first = asyncio.create_task(supervisor.call_async(occupy))
    await started.wait()
    slots = supervisor._slots
    supervisor.configure(SupervisorLimits(timeout_s=0.01, max_concurrency=1, max_failures=1))
    supervisor._slots = slots  # still the one that is taken
    assert await supervisor.call_async(free.wait) == Outcome("refused")
    free.set()
    assert (await first).status == "timeout"  # by the new limit, it was late
    assert supervisor.stats().dropped == 1


async def test_open_circuit_refuses_async() -> None:
    supervisor = Supervisor("guest", SupervisorLimits(max_failures=1))
    supervisor.failed(ValueError("from a task it left behind"))

    async def never() -> None:
        raise AssertionError

    assert await supervisor.call_async(never) == Outcome("refused")
    assert supervisor.stats().errors == 1
