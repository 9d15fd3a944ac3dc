"""What a signal does to a server that is still starting."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from types import FrameType
from typing import NoReturn


def leave_on_signals() -> None:
    """End this process on SIGTERM and SIGINT, until the server has handlers of its own.

    vLLM raises KeyboardInterrupt while it starts, which its wait for the engine swallows; the
    server then hangs for minutes, waiting for an engine that waits for it. Does nothing in the
    processes that a server starts: those are stopped by it.
    """
    if multiprocessing.parent_process() is None and (
        threading.current_thread() is threading.main_thread()
    ):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
