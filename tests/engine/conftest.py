"""One engine for all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture(scope="package")
async def engine(model: str) -> AsyncIterator[Any]:
    """An ``EnhancedAsyncLLM`` on the demo model, plain vLLM otherwise."""
    import origin_vllm

    engine = origin_vllm.EnhancedAsyncLLM(
        model=model,
        handler_config=origin_vllm.HandlerConfig(cache=None, nlp=None, similarity=None),
        enforce_eager=True,
        max_model_len=1024,
        max_num_seqs=64,
        kv_cache_memory_bytes=256 << 20,
        enable_prefix_caching=False,
        seed=0,
    )
    try:
        yield engine
    finally:
        engine.shutdown()
