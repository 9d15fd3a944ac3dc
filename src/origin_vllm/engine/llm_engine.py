"""``LLMEngine``: vLLM's synchronous engine, and extensions see its requests."""

from __future__ import annotations

import weakref
from typing import Any

from origin_vllm.engine.adoption import become
from origin_vllm.engine.collector import AdoptingOutputProcessor, Adoption, adoption
from origin_vllm.engine.request_ids import request_id_string
from origin_vllm.engine.signatures import like
from origin_vllm.engine.tap import RequestTap
from origin_vllm.extensions import get_manager
from origin_vllm.seam.engine import LLMEngine as _LLMEngine
from origin_vllm.seam.engine import OutputProcessor, RequestOutputCollector


class LLMEngine(_LLMEngine):
    """vLLM's synchronous engine. Request ids may be integers; extensions see what passes.

    It adds no state in ``__init__``, so that the engine :class:`~origin_vllm.LLM` builds through
    vLLM's own constructor can become one (see :meth:`adopt`).
    """

    _taps: dict[str, RequestTap] | None = None

    @classmethod
    def adopt(cls, engine: Any) -> Any:
        """Turn a plain vLLM engine into ours, in place."""
        if type(engine) is _LLMEngine:
            become(engine, cls)
        return engine

    @like(_LLMEngine.add_request)
    def add_request(
        self, request_id: str | int, prompt: Any, params: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """As vLLM's; ``request_id`` may be an integer.

        Raises:
            RequestError: ``request_id`` is neither a string nor an integer.
        """
        name = request_id_string(request_id)
        manager = get_manager()
        if not manager.active:
            return super().add_request(name, prompt, params, *args, **kwargs)
        tap = RequestTap(manager, name)
        processor = self.output_processor
        if type(processor) is OutputProcessor:
            become(processor, AdoptingOutputProcessor)
        token = adoption.set(Adoption(RequestOutputCollector, weakref.ref(self), tap=tap))
        try:
            result = super().add_request(name, prompt, params, *args, **kwargs)
        except Exception as error:
            tap.failed(error)
            raise
        finally:
            adoption.reset(token)
        self._taps = self._taps or {}
        self._taps[name] = tap
        return result

    @like(_LLMEngine.abort_request)
    def abort_request(
        self, request_ids: list[str | int], internal: bool = False, **kwargs: Any
    ) -> None:
        """As vLLM's; integers are accepted as in :meth:`add_request`."""
        ids = [request_id_string(one) for one in request_ids]
        if self._taps:
            states = self.output_processor.request_states if internal else {}
            for one in ids:
                state = states.get(one)
                tap = self._taps.pop(state.external_req_id if state is not None else one, None)
                if tap is not None:
                    tap.aborted()
        super().abort_request(ids, internal, **kwargs)

    @like(_LLMEngine.step)
    def step(self, *args: Any, **kwargs: Any) -> Any:
        """As vLLM's: the outputs of one iteration."""
        outputs = super().step(*args, **kwargs)
        if self._taps:
            for output in outputs:
                tap = self._taps.get(output.request_id)
                if tap is not None:
                    tap.output(output)
                    if output.finished:
                        del self._taps[output.request_id]
        return outputs
