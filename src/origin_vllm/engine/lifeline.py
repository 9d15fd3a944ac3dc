"""No engine process outlives the one that started it, however that one ended."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

#: How long a process whose parent died may take to leave by itself (seconds).
GRACE_S = 5.0

_started = False


def end_with_parent() -> None:
    """Tie this process to its parent; does nothing where multiprocessing started no process.

    When the parent is gone (killed hard, out of memory), this process gets SIGTERM, so that it can
    free shared memory and devices, and SIGKILL after :data:`GRACE_S` seconds.
    """
    global _started
    parent = multiprocessing.parent_process()
    if parent is None or _started:
        return
    _started = True
    threading.Thread(
        target=_watch, args=(parent.sentinel,), name="origin-lifeline", daemon=True
    ).start()


def _watch(sentinel: int) -> None:
    # Sleeps in the kernel until the parent's end of the pipe closes: costs nothing.
    multiprocessing.connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
