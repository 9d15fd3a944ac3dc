"""``EngineArgs`` and ``AsyncEngineArgs``: vLLM's own, with defaults that are safe on a CPU."""

from __future__ import annotations

from typing import Any

from origin_vllm.engine.cpu import apply_cpu_defaults
from origin_vllm.engine.signatures import like
from origin_vllm.seam.engine import AsyncEngineArgs as _AsyncEngineArgs
from origin_vllm.seam.engine import EngineArgs as _EngineArgs


class EngineArgs(_EngineArgs):
    """Arguments of the synchronous engine: every field of :class:`vllm.EngineArgs`."""

    @like(_EngineArgs.create_engine_config)
    def create_engine_config(self, *args: Any, **kwargs: Any) -> Any:
        """As vLLM's; on a CPU the defaults of :func:`apply_cpu_defaults` come first."""
        apply_cpu_defaults(self)
        return super().create_engine_config(*args, **kwargs)


class AsyncEngineArgs(_AsyncEngineArgs, EngineArgs):
    """Arguments of the asynchronous engine: every field of :class:`vllm.AsyncEngineArgs`."""
