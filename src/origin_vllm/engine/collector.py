"""The collector: where a request's outputs wait for the one who asked.

:class:`EnhancedRequestOutputCollector` is what :meth:`EnhancedAsyncLLM.add_request` returns.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from origin_vllm.engine.adoption import become, stays_vllms
from origin_vllm.engine.outputs import (
    EnhancedPoolingRequestOutput,
    EnhancedRequestOutput,
    RequestRecord,
)
from origin_vllm.errors import RequestError
from origin_vllm.seam.engine import (
    STREAM_FINISHED,
    InputStreamError,
    OutputProcessor,
    PoolingRequestOutput,
    RequestOutput,
    RequestOutputCollector,
    RequestOutputKind,
)

if TYPE_CHECKING:
    from origin_vllm.engine.tap import RequestTap


class TappedRequestOutputCollector(RequestOutputCollector):
    """vLLM's collector, and extensions see what passes. Outputs are unchanged."""

    _tap: RequestTap | None = None

    def put(self, output: Any) -> None:
        """Hand one output (or the error that ends the request) to the reader; never blocks."""
        tap = self._tap
        if tap is not None:
            if isinstance(output, Exception):
                tap.failed(output)
            elif output is not STREAM_FINISHED:
                tap.output(output)
        super().put(output)


class EnhancedRequestOutputCollector(TappedRequestOutputCollector):
    """vLLM's collector whose outputs carry ``metadata`` and ``text``.

    Args:
        output_kind: What each output holds: ``"delta"`` (the new part), ``"cumulative"`` or
            ``"final_only"``, or vLLM's ``RequestOutputKind``.
        request_id: Id of the request the outputs belong to.

    Raises:
        RequestError: ``output_kind`` is none of these.
    """

    _record: RequestRecord | None = None
    _engine: weakref.ref[Any] | None = None
    _finished = False

    def __init__(
        self, output_kind: RequestOutputKind | str = "delta", request_id: str = ""
    ) -> None:
        super().__init__(_output_kind(output_kind), request_id)
        self._record = RequestRecord(request_id)

    def put(self, output: Any) -> None:
        """Hand one output (or the error that ends the request) to the reader; never blocks."""
        kind = type(output)
        ours: type | None = None
        if kind is RequestOutput:
            ours = None if output is STREAM_FINISHED else EnhancedRequestOutput
        elif kind is PoolingRequestOutput:
            ours = EnhancedPoolingRequestOutput
        if ours is not None:
            try:  # become(), without the cost of its call: this runs for every token
                output.__class__ = ours
                record = self._record
                if record is not None and record.enhancements:
                    output._record = record
            except (TypeError, AttributeError) as error:
                stays_vllms(output, ours, error)
        if self._tap is None:
            super(TappedRequestOutputCollector, self).put(output)
        else:
            super().put(output)

    async def aiter(
        self,
    ) -> AsyncGenerator[EnhancedRequestOutput | EnhancedPoolingRequestOutput, None]:
        """Yield the request's outputs until it is finished.

        Leaving early (``break``, an exception, a cancelled task) aborts the request in the engine,
        as it does in :meth:`AsyncLLM.generate`.

        Raises:
            EngineDeadError: The engine died.
            Exception: Whatever the caller's own input stream raised, as it is.
        """
        try:
            while not self._finished:
                output: Any = self.get_nowait() or await self.get()
                self._finished = output.finished
                if output is not STREAM_FINISHED:
                    yield output
        except InputStreamError as error:
            raise error.cause from error
        finally:
            await self.aclose()

    def __aiter__(
        self,
    ) -> AsyncGenerator[EnhancedRequestOutput | EnhancedPoolingRequestOutput, None]:
        return self.aiter()

    async def aclose(self) -> None:
        """Release the request: abort it unless it is finished. Safe to call twice."""
        self.close()
        engine = self._engine() if self._engine is not None else None
        if not self._finished and engine is not None:
            self._finished = True
            await engine.abort(self.request_id, internal=True)


@dataclass(slots=True)
class Adoption:
    """What the collector of the request being added shall become.

    Attributes:
        collector_class: Our class; a subclass of vLLM's with no state that needs ``__init__``.
        engine: The engine that runs the request.
        record: Shared by all outputs of the request.
        tap: Set while extensions listen.
    """

    collector_class: type[RequestOutputCollector]
    engine: weakref.ref[Any]
    record: RequestRecord | None = None
    tap: RequestTap | None = None

    def adopt(self, collector: RequestOutputCollector) -> None:
        """Turn vLLM's collector into ours, in place."""
        if not isinstance(collector, self.collector_class):
            become(
                collector,
                _joined(self.collector_class, type(collector)),  # type: ignore[arg-type]
                _record=self.record,
                _engine=self.engine,
                _tap=self.tap,
            )


@functools.cache
def _joined(ours: Any, theirs: Any) -> Any:
    """Our class over theirs: vLLM has collectors of its own for some requests (streamed input)."""
    if issubclass(ours, theirs):
        return ours
    return type(ours.__name__, (ours, theirs), {"__module__": ours.__module__})


#: Set while ``AsyncLLM.add_request`` runs (and inherited by the task that feeds a streamed input).
adoption: ContextVar[Adoption | None] = ContextVar("origin_vllm_adoption", default=None)


class AdoptingOutputProcessor(OutputProcessor):
    """vLLM's output processor; collectors become ours before the first output can reach them.

    ``AsyncLLM.add_request`` creates the collector itself and sends the children of an ``n > 1``
    request off one by one, so the first may answer before ``add_request`` returns. This method is
    called before any of them leaves.
    """

    def add_request(
        self,
        request: Any,
        prompt: str | None,
        parent_req: Any = None,
        request_index: int = 0,
        queue: RequestOutputCollector | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """As vLLM's."""
        pending = adoption.get()
        if pending is not None and queue is not None:
            pending.adopt(queue)
        super().add_request(request, prompt, parent_req, request_index, queue, *args, **kwargs)
        if pending is not None and pending.tap is not None:
            pending.tap.added(request, prompt, parent_req)


def _output_kind(kind: RequestOutputKind | str) -> RequestOutputKind:
    if isinstance(kind, RequestOutputKind):
        return kind
    names = {member.name.lower(): member for member in RequestOutputKind}
    try:
        return names[kind.lower()]
    except (KeyError, AttributeError):
        raise RequestError(
            f"output_kind: {type(kind).__name__} {kind!r} is not one of {', '.join(names)}"
        ) from None
