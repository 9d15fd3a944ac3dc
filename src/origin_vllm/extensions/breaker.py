"""A circuit breaker: who fails too often is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable


class CircuitBreaker:
    """Closed, open after ``max_failures`` failures in a row, then one probe after ``cooldown_s``.

    Our own forty lines because purgatory 3 doesn't fit a hot path: it refuses by raising one shared
    exception whose traceback grows with every refused call (measured: 5 frames a call, holding
    their locals), lets every waiting call through when half open, reads the wall clock, and isn't
    thread-safe. Not locked itself: its owner's lock guards it.
    """

    def __init__(self, max_failures: int, cooldown_s: float, clock: Callable[[], float]) -> None:
        self.max_failures = max_failures
        self.cooldown_s = cooldown_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def opened(self) -> bool:
        """Whether the circuit is open or waits for its probe's result."""
        return self._opened_at is not None

    def would_allow(self) -> bool:
        """Whether a call made now would go through."""
        if self._opened_at is None:
            return True
        return not self._probing and self._clock() - self._opened_at >= self.cooldown_s

    def allow(self) -> bool:
        """Ask for one call; an open circuit past its cooldown gives it as the probe."""
        allowed = self.would_allow()
        if allowed and self.opened:
            self._probing = True
        return allowed

    def success(self) -> bool:
        """A call went well. True when that closed the circuit."""
        self._failures = 0
        # A call from before the circuit opened says nothing about now: only the probe closes it.
        if not self._probing:
            return False
        self._opened_at, self._probing = None, False
        return True

    def failure(self) -> bool:
        """A call failed. True when that opened the circuit (a failed probe opens it again)."""
        self._failures += 1
        if not self._probing and (self.opened or self._failures < self.max_failures):
            return False
        self._opened_at, self._probing = self._clock(), False
        return True

    def abandon(self) -> None:
        """A call ended without saying anything about the guest (its caller was cancelled)."""
        self._probing = False
