"""One extension's delivery: a bounded queue, and a thread while there is something to deliver."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from origin_vllm.extensions.binding import Target
from origin_vllm.extensions.supervisor import Supervisor, SupervisorLimits

logger = logging.getLogger(__name__)

#: An extension's thread ends after this many seconds without an event.
IDLE_S = 10.0


class Observer:
    """Tells one extension what happens, in order, on a thread of its own.

    Args:
        name: The extension's name.
        targets: Hook name to the function called for it.
        limits: What the extension may cost.
        clock: Monotonic seconds, for the supervisor.
        idle_s: Seconds without an event after which the thread ends.

    The thread is a daemon, starts with the first event and ends when idle or closed; a later event
    starts another. Synchronous functions are called on it, asynchronous ones on its event loop.
    """

    def __init__(
        self,
        name: str,
        targets: Mapping[str, Target],
        limits: SupervisorLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        idle_s: float = IDLE_S,
    ) -> None:
        self.name = name
        self.targets = targets
        self.supervisor = Supervisor(f"extension {name!r}", limits, clock=clock)
        self._idle_s = idle_s
        self._queue: deque[tuple[Target, object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._retired = False

    def offer(self, hook: str, value: object) -> None:
        """Queue an event, or drop and count it; never waits for the extension, never raises."""
        if not self.supervisor.ready():
            self.supervisor.drop()  # hung or out: announced already
            return
        why = None
        with self._changed:
            if self._retired:
                return
            if len(self._queue) >= self.supervisor.limits.queue_size:
                why = "its queue is full"
            elif self._running():
                self._queue.append((self.targets[hook], value))
                self._changed.notify()
            else:
                why = "no thread could be started for it"
        if why:
            self.supervisor.drop(why)

    def finish(self) -> threading.Thread | None:
        """Have the thread deliver what is queued and end; a later event starts anew.

        Returns:
            The thread to wait for, None when there is none (or it is the caller's own).
        """
        with self._changed:
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return None
            self._closing = True
            self._changed.notify()
            return thread

    def close(self, timeout: float) -> bool:
        """:meth:`finish` and wait.

        Args:
            timeout: Seconds to wait; what isn't delivered by then is dropped.

        Returns:
            Whether the thread ended (False: it is left behind, stuck in the extension's code).
        """
        thread = self.finish()
        if thread is None:
            return True
        thread.join(timeout)
        if not thread.is_alive():
            return True
        self._drop_queue()
        logger.warning("extension %r: still busy when told to end; left behind", self.name)
        return False

    def retire(self) -> None:
        """Deliver nothing more, ever; doesn't wait."""
        with self._changed:
            self._retired = self._closing = True
            self._changed.notify()
        self._drop_queue()

    # -- the thread -----------------------------------------------------------------------------

    def _running(self) -> bool:
        """Have a thread, under the lock. After a fork ours isn't alive, and a new one is made."""
        if self._thread is not None and self._thread.is_alive():
            return True
        thread = threading.Thread(
            target=self._work, name=f"origin-vllm-extension-{self.name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # out of threads, or the interpreter is going down
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        runner = asyncio.Runner()  # makes its loop at its first run
        while True:
            if (item := self._next()) is not None:
                try:
                    self._deliver(*item, runner)
                except BaseException as exc:  # from a task that the extension left on the loop
                    self.supervisor.failed(exc)
                    self._close_runner(runner)
                    runner = asyncio.Runner()
                del item  # an idle thread must not keep an engine or an answer alive
                continue
            self._close_runner(runner)
            with self._changed:
                if not self._queue:
                    self._thread, self._closing = None, False
                    return
            runner = asyncio.Runner()

    def _next(self) -> tuple[Target, object] | None:
        """The next event; None when idle for long enough or closing with nothing left."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing, self._idle_s)
            return self._queue.popleft() if self._queue else None

    def _deliver(self, target: Target, value: object, runner: asyncio.Runner) -> None:
        arguments = (value,) if target.takes_value else ()
        if target.is_async:
            runner.run(self.supervisor.call_async(target.function, *arguments))
            return
        result = self.supervisor.call_sync(target.function, *arguments).value
        if inspect.isawaitable(result):
            # A plain function that hands out a coroutine: its second half counts as a call, too.
            runner.run(self.supervisor.call_async(_itself, result))

    def _close_runner(self, runner: asyncio.Runner) -> None:
        try:
            runner.close()  # cancels what the extension left running
        except BaseException as exc:
            self.supervisor.failed(exc)

    def _drop_queue(self) -> None:
        with self._changed:
            lost = len(self._queue)
            self._queue.clear()
        for _ in range(lost):
            self.supervisor.drop()


async def _itself(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
