"""Guests run behind a supervisor: a deadline, a concurrency limit, a circuit breaker, counters.

A guest is anything that isn't vLLM and isn't needed for the answer: an extension today, a language
processor tomorrow. Whatever it does (raise, dawdle, hang, exit) ends in an :class:`Outcome` and a
counter, never in the caller.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, ParamSpec, TypeVar

from origin_vllm.errors import ConfigError
from origin_vllm.extensions.breaker import CircuitBreaker

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: ``ok``; ``open``: failed too often, asked out for a while; ``hung``: a call never came back.
State = Literal["ok", "open", "hung"]

#: One warning about lost events in this many seconds, a guest.
DROP_LOG_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """What a guest may cost.

    Args:
        timeout_s: Seconds one call may take.
        queue_size: Events waiting for a guest before new ones are dropped.
        max_failures: Failures in a row that open the circuit.
        cooldown_s: Seconds an open circuit stays open before one call tries again.
        max_concurrency: Async calls of one guest running at once.

    Raises:
        ConfigError: a number isn't positive.
    """

    timeout_s: float = 5.0
    queue_size: int = 1024
    max_failures: int = 5
    cooldown_s: float = 30.0
    max_concurrency: int = 8

    def __post_init__(self) -> None:
        for field in ("timeout_s", "cooldown_s"):
            if not getattr(self, field) > 0:
                raise ConfigError(f"{field} is {getattr(self, field)!r}: seconds above 0 needed")
        for field in ("queue_size", "max_failures", "max_concurrency"):
            if not getattr(self, field) >= 1:
                raise ConfigError(f"{field} is {getattr(self, field)!r}: a number from 1 up needed")


@dataclass(frozen=True, slots=True)
class SupervisorStats:
    """A guest's counters since it was registered.

    ``calls`` ended calls; ``errors`` raised; ``timeouts`` took longer than ``timeout_s``;
    ``dropped`` never made (queue full, circuit open, hung); ``last_error`` a type's name, never its
    text, which may hold a prompt; ``total_s`` seconds spent in ended calls.
    """

    calls: int
    errors: int
    timeouts: int
    dropped: int
    state: State
    last_error: str | None
    total_s: float


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How a supervised call ended; ``value`` is there only when ``status`` is ``ok``.

    ``refused`` means that the call wasn't made: circuit open, guest hung, or no free slot in time.
    """

    status: Literal["ok", "error", "timeout", "refused"]
    value: T | None = None

    @property
    def ok(self) -> bool:
        """Whether the call returned in time."""
        return self.status == "ok"


@dataclass(slots=True, eq=False)
class _Ticket:
    """A call under way; ``overdue`` once it was counted and announced as hung."""

    started: float
    hung_at: float
    overdue: bool = False


class Supervisor:
    """Runs one guest's calls; thread-safe; nothing a guest raises gets past it.

    Args:
        name: What logs call the guest, as in ``extension 'audit'``.
        limits: What it may cost.
        clock: Monotonic seconds; tests bring their own.

    A thread can't be stopped from outside, so a synchronous call's deadline is observed, not
    enforced: the guest is ``hung`` from the deadline until the call returns, and gets no calls.
    """

    def __init__(
        self,
        name: str,
        limits: SupervisorLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._clock = clock
        # Re-entrant: garbage collection may run a finaliser that emits while we hold it.
        self._lock = threading.RLock()
        self._under_way: set[_Ticket] = set()
        self._calls = self._errors = self._timeouts = self._dropped = 0
        self._total_s = 0.0
        self._last_error: str | None = None
        self._seen: set[str] = set()
        self._drops_unlogged = 0
        self._drops_logged_at: float | None = None
        self.limits = limits or SupervisorLimits()
        self._breaker = CircuitBreaker(self.limits.max_failures, self.limits.cooldown_s, clock)
        self._slots = asyncio.Semaphore(self.limits.max_concurrency)

    def configure(self, limits: SupervisorLimits) -> None:
        """Use other limits from the next call on."""
        with self._lock:
            self.limits = limits
            self._breaker.max_failures = limits.max_failures
            self._breaker.cooldown_s = limits.cooldown_s
            self._slots = asyncio.Semaphore(limits.max_concurrency)

    # -- calls ----------------------------------------------------------------------------------

    def call_sync(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Outcome[T]:
        """Call ``function`` in this thread. Raises only the user's own Ctrl-C."""
        ticket = self._begin(self.limits.timeout_s)
        if ticket is None:
            return Outcome("refused")
        try:
            value = function(*args, **kwargs)
        except BaseException as exc:
            if _from_outside(exc):
                self._abandon(ticket)
                raise
            self._end(ticket, exc)
            return Outcome("error")
        return Outcome("ok", value) if self._end(ticket) else Outcome("timeout")

    async def call_async(
        self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Outcome[T]:
        """Await ``function(...)`` within the deadline, which includes the wait for a free slot.

        To be used on one event loop. Raises only when the caller itself is cancelled.
        """
        ticket: _Ticket | None = None
        deadline = asyncio.timeout(self.limits.timeout_s)
        try:
            async with deadline, self._slots:
                # The deadline cancels the call; hung means that it didn't mind. Twice the time
                # keeps a cancellation under way from being announced as a hang.
                ticket = self._begin(2 * self.limits.timeout_s)
                if ticket is None:
                    return Outcome("refused")
                value = await function(*args, **kwargs)
        except BaseException as exc:
            if ticket is None:
                if not deadline.expired():
                    raise
                self.drop("all its slots are taken")
                return Outcome("refused")
            if _from_outside(exc):
                self._abandon(ticket)
                raise
            if deadline.expired():
                self._end(ticket, timed_out=True)
                return Outcome("timeout")
            self._end(ticket, exc)
            return Outcome("error")
        return Outcome("ok", value) if self._end(ticket) else Outcome("timeout")

    # -- what the caller may ask or tell ---------------------------------------------------------

    def ready(self) -> bool:
        """Whether a call made now would be tried; notices and announces a hung call."""
        if not self._under_way and not self._breaker.opened:
            return True  # the common case costs no lock
        hung = self._notice_hung()
        with self._lock:
            return not hung and self._breaker.would_allow()

    def drop(self, why: str | None = None) -> None:
        """Count an event that the guest doesn't get; with ``why``, say so once a minute."""
        with self._lock:
            self._dropped += 1
            if why is None:
                return
            self._drops_unlogged += 1
            now, before = self._clock(), self._drops_logged_at
            if before is not None and now - before < DROP_LOG_INTERVAL_S:
                return
            lost, self._drops_unlogged, self._drops_logged_at = self._drops_unlogged, 0, now
        logger.warning("%s: dropped %d event(s): %s", self.name, lost, why)

    def failed(self, exc: BaseException) -> None:
        """Count a failure that came from the guest outside of a call (a task it left behind)."""
        with self._lock:
            opened = self._count_error(exc)
        self._log_error(exc)
        self._log_opened(opened)

    def stats(self) -> SupervisorStats:
        """The counters and the state now."""
        hung = self._notice_hung()
        with self._lock:
            return SupervisorStats(
                calls=self._calls,
                errors=self._errors,
                timeouts=self._timeouts,
                dropped=self._dropped,
                state="hung" if hung else "open" if self._breaker.opened else "ok",
                last_error=self._last_error,
                total_s=self._total_s,
            )

    # -- the books (logging always outside the lock: a log handler may be slow, or emit) ----------

    def _begin(self, hung_after_s: float) -> _Ticket | None:
        hung = self._notice_hung()
        with self._lock:
            if hung or not self._breaker.allow():
                self._dropped += 1
                return None
            now = self._clock()
            ticket = _Ticket(now, now + hung_after_s)
            self._under_way.add(ticket)
            return ticket

    def _end(
        self, ticket: _Ticket, exc: BaseException | None = None, *, timed_out: bool = False
    ) -> bool:
        """Close the books on a call; True when it went well and in time."""
        opened = closed = False
        with self._lock:
            self._under_way.discard(ticket)
            elapsed = self._clock() - ticket.started
            self._calls += 1
            self._total_s += elapsed
            late = timed_out or ticket.overdue or elapsed > self.limits.timeout_s
            if late and not ticket.overdue:
                self._timeouts += 1
            if exc is not None:
                opened = self._count_error(exc)
            elif late:
                self._last_error = TimeoutError.__name__
                opened = self._breaker.failure()
            else:
                closed = self._breaker.success()
        if exc is not None:
            self._log_error(exc)
        elif late and not ticket.overdue and self._first_time(f"late:{timed_out}"):
            allowed = self.limits.timeout_s
            logger.warning("%s: took %.3g s of %.3g s; counted", self.name, elapsed, allowed)
        if ticket.overdue:
            logger.warning("%s: came back after %.3g s; in service again", self.name, elapsed)
        self._log_opened(opened)
        if closed:
            logger.info("%s: works again; the circuit is closed", self.name)
        return exc is None and not late

    def _abandon(self, ticket: _Ticket) -> None:
        with self._lock:
            self._under_way.discard(ticket)
            self._breaker.abandon()

    def _count_error(self, exc: BaseException) -> bool:
        self._errors += 1
        self._last_error = type(exc).__name__
        return self._breaker.failure()

    def _notice_hung(self) -> bool:
        """Whether a call is overdue; counts and announces each such call once."""
        with self._lock:
            now = self._clock()
            overdue = [ticket for ticket in self._under_way if now > ticket.hung_at]
            fresh = [ticket for ticket in overdue if not ticket.overdue]
            for ticket in fresh:
                ticket.overdue = True
                self._timeouts += 1
                self._last_error = TimeoutError.__name__
        for ticket in fresh:
            logger.error(
                "%s: HUNG: a call hasn't come back for %.3g s (allowed: %.3g s); its events are "
                "dropped until it does",
                self.name,
                now - ticket.started,
                self.limits.timeout_s,
            )
        return bool(overdue)

    def _first_time(self, kind: str) -> bool:
        with self._lock:
            # The bound is for a guest that makes up exception types as it goes.
            if kind in self._seen or len(self._seen) >= 64:
                return False
            self._seen.add(kind)
            return True

    def _log_error(self, exc: BaseException) -> None:
        kind = f"{type(exc).__module__}.{type(exc).__qualname__}"
        if self._first_time(kind):
            logger.error(
                "%s: failed with %s; further ones of this type are only counted",
                self.name,
                type(exc).__name__,
                exc_info=exc,
            )

    def _log_opened(self, opened: bool) -> None:
        if opened:
            logger.warning(
                "%s: failed %d time(s) in a row; left out for %.3g s",
                self.name,
                self._breaker.max_failures,
                self._breaker.cooldown_s,
            )


def _from_outside(exc: BaseException) -> bool:
    """Whether an exception is meant for our caller and not the guest's own doing."""
    if isinstance(exc, GeneratorExit):
        return True
    if isinstance(exc, KeyboardInterrupt):
        return threading.current_thread() is threading.main_thread()
    if isinstance(exc, asyncio.CancelledError):
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread: the guest raised it itself
            return False
        return task is not None and task.cancelling() > 0
    return False
