"""The engine as a server builds it: it starts and stops promptly when the server is told to."""

from __future__ import annotations

from typing import Any

from origin_vllm.engine import enhanced
from origin_vllm.serving.signals import leave_on_signals


class EnhancedAsyncLLM(enhanced.EnhancedAsyncLLM):
    """:class:`origin_vllm.EnhancedAsyncLLM` in a server process.

    * SIGTERM and SIGINT end the start.
    * Requests that are still in flight when the engine stops end as aborted. vLLM stops the task
      that delivers outputs and leaves those who wait for them waiting, so that a server with an
      open stream would never end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        leave_on_signals()
        super().__init__(*args, **kwargs)

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """As vLLM's. With a ``timeout`` requests may finish within it, else they end at once."""
        if not (args[0] if args else kwargs.get("timeout")):
            self._abort_all_soon()
        super().shutdown(*args, **kwargs)
        self._abort_all_soon()

    def _abort_all_soon(self) -> None:
        # From any thread: the server calls shutdown() in one of its own.
        handler = getattr(self, "output_handler", None)
        if handler is not None and not handler.get_loop().is_closed():
            handler.get_loop().call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        self.output_handler.cancel()  # from here on vLLM refuses new requests
        waiting = list(self.output_processor.request_states)
        self.output_processor.abort_requests(waiting, internal=True)
