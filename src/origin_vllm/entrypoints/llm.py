"""``LLM``: vLLM's offline class, on our engine."""

from __future__ import annotations

from typing import Any

from origin_vllm.engine.cpu import engine_kwargs_for_cpu
from origin_vllm.engine.llm_engine import LLMEngine
from origin_vllm.engine.signatures import like
from origin_vllm.extensions import load_extensions
from origin_vllm.seam.offline import LLM as _LLM


class LLM(_LLM):
    """vLLM's offline class: the same constructor, the same methods, the same outputs.

    Registered extensions see its requests and outputs. On a CPU, arguments left open get the
    defaults of :func:`origin_vllm.engine.cpu.apply_cpu_defaults`.
    """

    llm_engine: Any

    @like(_LLM.__init__)
    def __init__(self, model: str, *args: Any, **kwargs: Any) -> None:
        extensions = load_extensions()
        super().__init__(model, *args, **engine_kwargs_for_cpu(model, kwargs))
        engine = LLMEngine.adopt(self.llm_engine)
        self.llm_engine, self.engine_class = engine, type(engine)
        extensions.emit("origin_engine_started", engine)
