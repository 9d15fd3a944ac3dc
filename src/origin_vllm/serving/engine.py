"""The engine as a server builds it."""

from __future__ import annotations

from typing import Any

from origin_vllm.engine import enhanced
from origin_vllm.serving.signals import leave_on_signals


class EnhancedAsyncLLM(enhanced.EnhancedAsyncLLM):
    """:class:`origin_vllm.EnhancedAsyncLLM` in a server: SIGTERM and SIGINT end its start."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        leave_on_signals()
        super().__init__(*args, **kwargs)
