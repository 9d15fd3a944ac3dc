"""The engine as a server builds it."""

from __future__ import annotations

from typing import Any

from origin_vllm.engine import enhanced
from origin_vllm.engine.stages import NO_STAGES
from origin_vllm.serving.signals import leave_on_signals


class EnhancedAsyncLLM(enhanced.EnhancedAsyncLLM):
    """:class:`origin_vllm.EnhancedAsyncLLM` in a server: SIGTERM and SIGINT end its start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        leave_on_signals()
        super().__init__(*args, **kwargs)

    def _always_adopts(self) -> bool:
        # vLLM's server reads neither metadata nor text: without a stage that has something to
        # say, a request goes vLLM's own way and costs what it costs there.
        return self.stages is not NO_STAGES
