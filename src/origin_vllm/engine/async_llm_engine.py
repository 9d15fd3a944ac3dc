"""``AsyncLLM`` (also known as ``AsyncLLMEngine``): vLLM's, and extensions see its requests."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from origin_vllm.engine.adoption import become
from origin_vllm.engine.collector import (
    AdoptingOutputProcessor,
    Adoption,
    TappedRequestOutputCollector,
    adoption,
)
from origin_vllm.engine.outputs import RequestRecord
from origin_vllm.engine.request_ids import request_id_string
from origin_vllm.engine.signatures import like
from origin_vllm.engine.tap import RequestTap
from origin_vllm.errors import RequestError
from origin_vllm.extensions import load_extensions
from origin_vllm.seam.engine import AsyncLLM as _AsyncLLM
from origin_vllm.seam.engine import OutputProcessor, RequestOutputCollector
from origin_vllm.version import __version__

logger = logging.getLogger(__name__)

#: How long a stopping engine waits for extensions to read their last events (seconds).
EXTENSIONS_GRACE_S = 2.0


class AsyncLLM(_AsyncLLM):
    """vLLM's asynchronous engine, built and used as vLLM's own.

    On top: request ids may be integers, old calls with ``prompt_adapter_request=None`` still work,
    and registered extensions see requests and outputs. Without extensions the objects that come
    back are vLLM's own and nothing is added to a request's way.
    """

    #: What a request's collector becomes when somebody listens.
    _collector_class: type[RequestOutputCollector] = TappedRequestOutputCollector
    _ready = _stopped = False
    _finalizing = staticmethod(sys.is_finalizing)

    @like(_AsyncLLM.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # First: an extension that can't be loaded should not cost an engine's start.
        self._extensions = load_extensions()
        super().__init__(*args, **kwargs)
        self._ready = True
        logger.info("%s of Origin vLLM %s is ready.", type(self).__name__, __version__)
        self._extensions.emit("origin_engine_started", self)

    def _always_adopts(self) -> bool:
        """Whether collectors become ours also when nobody listens."""
        return False

    @like(_AsyncLLM.add_request, prompt_adapter_request=None)
    async def add_request(
        self,
        request_id: str | int,
        prompt: Any,
        params: Any,
        *args: Any,
        prompt_adapter_request: None = None,
        **kwargs: Any,
    ) -> RequestOutputCollector:
        """Add a request; its outputs arrive in the collector that is returned.

        Args:
            request_id: Unique among the requests in flight. Integers become strings.
            prompt: Text, token ids, a prompt dict, a rendered ``EngineInput``, or an asynchronous
                generator of ``StreamingInput``.
            params: ``SamplingParams`` or ``PoolingParams``.
            *args: As in the installed vLLM, in its order.
            prompt_adapter_request: vLLM removed prompt adapters; only None is accepted.
            **kwargs: As in the installed vLLM.

        Raises:
            RequestError: ``prompt_adapter_request`` is not None.
            VLLMValidationError: vLLM's own validation failed.
            EngineDeadError: The engine died.
        """
        _refuse_prompt_adapter(prompt_adapter_request)
        request_id = request_id_string(request_id)
        listening = self._extensions.active
        if not (listening or self._always_adopts()):
            return await super().add_request(request_id, prompt, params, *args, **kwargs)
        pending = Adoption(
            self._collector_class,
            weakref.ref(self),
            RequestRecord(request_id),
            RequestTap(self._extensions, request_id) if listening else None,
        )
        if type(self.output_processor) is OutputProcessor:
            # In place: vLLM's output handler holds this very object.
            become(self.output_processor, AdoptingOutputProcessor)
        token = adoption.set(pending)
        try:
            collector = await super().add_request(request_id, prompt, params, *args, **kwargs)
        except Exception as error:
            if pending.tap is not None:
                pending.tap.failed(error)
            raise
        finally:
            adoption.reset(token)
        # A streamed input has a collector before its first chunk reaches the output processor.
        pending.adopt(collector)
        return collector

    @like(_AsyncLLM.generate, prompt_adapter_request=None)
    def generate(
        self,
        prompt: Any,
        sampling_params: Any,
        request_id: str | int,
        *args: Any,
        prompt_adapter_request: None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[Any, None]:
        """As vLLM's; ``request_id`` may be an integer.

        A plain method that returns vLLM's own generator: one that wraps it would cost every output.
        """
        _refuse_prompt_adapter(prompt_adapter_request)
        return super().generate(
            prompt, sampling_params, request_id_string(request_id), *args, **kwargs
        )

    @like(_AsyncLLM.encode)
    def encode(
        self, prompt: Any, pooling_params: Any, request_id: str | int, *args: Any, **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """As vLLM's; ``request_id`` may be an integer."""
        return super().encode(
            prompt, pooling_params, request_id_string(request_id), *args, **kwargs
        )

    @like(_AsyncLLM.abort)
    async def abort(
        self, request_id: str | int | Iterable[str | int], *args: Any, **kwargs: Any
    ) -> None:
        """As vLLM's; integers are accepted as in :meth:`generate`."""
        ids: str | list[str]
        if isinstance(request_id, str | int):
            ids = request_id_string(request_id)
        else:
            ids = [request_id_string(one) for one in request_id]
        await super().abort(ids, *args, **kwargs)

    @like(_AsyncLLM.shutdown)
    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        """As vLLM's; also ends the threads of extensions. A second call does nothing.

        Requests still in flight end as aborted: at once, or after the ``timeout`` that they may
        take to finish. vLLM stops the task that delivers outputs and leaves those who wait for them
        waiting; a server with an open stream would never end.
        """
        if self._stopped:
            return
        self._stopped = True
        if self._ready:
            self._extensions.emit("origin_engine_stopped", self)
        if not (args[0] if args else kwargs.get("timeout")):
            self._abort_all_soon()
        super().shutdown(*args, **kwargs)
        self._abort_all_soon()
        # Another engine of this process keeps working: its next event starts them again.
        self._extensions.close(EXTENSIONS_GRACE_S)

    def _abort_all_soon(self) -> None:
        # From any thread: the server calls shutdown() in one of its own.
        handler = getattr(self, "output_handler", None)
        if handler is not None and not handler.get_loop().is_closed():
            handler.get_loop().call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        self.output_handler.cancel()  # from here on vLLM refuses new requests
        waiting = list(self.output_processor.request_states)
        self.output_processor.abort_requests(waiting, internal=True)

    def __del__(self) -> None:
        # Nobody is told from here: an event would bring the dying engine back. When the interpreter
        # ends, modules may be gone already (hence an attribute); the finalizers of
        # vLLM's client end the engine's processes in that case.
        if not self._stopped and not self._finalizing():
            self._stopped = True
            super().shutdown()


AsyncLLMEngine = AsyncLLM


def _refuse_prompt_adapter(value: object) -> None:
    if value is not None:
        raise RequestError(
            "prompt_adapter_request: vLLM removed prompt adapters; only None is accepted.",
            remedy="pass lora_request=LoRARequest(...) instead",
        )
