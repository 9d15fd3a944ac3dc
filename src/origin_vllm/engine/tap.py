"""What extensions see of one request: the link between an engine and the extension manager.

A tap exists only while some extension is registered; without one no request pays for it.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

from origin_vllm.extensions.events import (
    OutputEvent,
    RequestAdded,
    RequestFailed,
    RequestFinished,
)

if TYPE_CHECKING:
    from origin_vllm.extensions.manager import ExtensionManager


class RequestTap:
    """Tells extensions about one request, from its arrival to its one end.

    Args:
        manager: Whom to tell.
        request_id: The caller's id.
    """

    __slots__ = ("_added", "_ended", "_first", "_manager", "_start", "request_id")

    def __init__(self, manager: ExtensionManager, request_id: str) -> None:
        self.request_id = request_id
        self._manager = manager
        self._start = time.monotonic()
        self._first: float | None = None
        self._added = False
        self._ended = False

    def added(self, request: Any, prompt: str | None, parent: Any = None) -> None:
        """The engine took the request.

        Args:
            request: vLLM's ``EngineCoreRequest``; of n > 1 sequences or several chunks of a
                streamed input only the first counts.
            prompt: Its text, if known.
            parent: vLLM's ``ParentRequest`` when n > 1.
        """
        if self._added:
            return
        self._added = True
        source = parent or request
        params = source.sampling_params or request.pooling_params
        lora = request.lora_request
        self._manager.emit(
            "origin_request_added",
            RequestAdded(
                request_id=self.request_id,
                prompt=prompt,
                prompt_token_ids=request.prompt_token_ids,
                params=params,
                lora_name=lora.lora_name if lora is not None else None,
                time=request.arrival_time,
            ),
        )

    def output(self, output: Any) -> None:
        """An output is on its way to the client; the last one ends the request."""
        if self._ended:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = now
        manager = self._manager
        finished = output.finished
        if finished:
            self._ended = True
        shared = None
        if manager.has("origin_output"):
            shared = _snapshot(output)
            manager.emit("origin_output", OutputEvent(self.request_id, shared))
        if not finished:
            return
        if _aborted(output):
            self._tell_aborted()
            return
        manager.emit(
            "origin_request_finished",
            RequestFinished(
                self.request_id,
                output=shared if shared is not None else _snapshot(output),
                duration_s=now - self._start,
                first_output_s=self._first - self._start,
            ),
        )

    def failed(self, error: BaseException) -> None:
        """The request ended with an error."""
        if not self._ended:
            self._ended = True
            self._manager.emit(
                "origin_request_failed", RequestFailed(self.request_id, error, aborted=False)
            )

    def aborted(self) -> None:
        """The request was aborted without an output."""
        if not self._ended:
            self._ended = True
            self._tell_aborted()

    def _tell_aborted(self) -> None:
        self._manager.emit(
            "origin_request_failed", RequestFailed(self.request_id, error=None, aborted=True)
        )


def _aborted(output: Any) -> bool:
    sequences = output.outputs
    return isinstance(sequences, list) and any(s.finish_reason == "abort" for s in sequences)


def _snapshot(output: Any) -> Any:
    """A copy that later deltas can't change.

    vLLM merges a chunk that wasn't read yet with the next one in place, while an extension may
    still be looking at it on its own thread.
    """
    output = copy.copy(output)
    if isinstance(output.outputs, list):
        output.outputs = [copy.copy(sequence) for sequence in output.outputs]
        for sequence in output.outputs:
            sequence.token_ids = list(sequence.token_ids)
            if isinstance(sequence.logprobs, list):
                sequence.logprobs = list(sequence.logprobs)
    return output
