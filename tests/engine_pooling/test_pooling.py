"""Pooling requests pass through ``EnhancedAsyncLLM``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
async def engine(model: str) -> AsyncIterator[Any]:
    import origin_vllm

    engine = origin_vllm.EnhancedAsyncLLM(
        model=model,
        runner="pooling",
        convert="embed",
        enforce_eager=True,
        max_model_len=512,
        kv_cache_memory_bytes=64 << 20,
    )
    try:
        yield engine
    finally:
        engine.shutdown()


async def test_encode(engine: Any) -> None:
    import torch
    from vllm import PoolingParams, PoolingRequestOutput

    from origin_vllm import EnhancedPoolingRequestOutput

    async def embed(text: str, request_id: str | int) -> Any:
        outputs = [o async for o in engine.encode(text, PoolingParams(task="embed"), request_id)]
        assert len(outputs) == 1
        return outputs[0]

    one, two, other = await embed("Hello", 1), await embed("Hello", 2), await embed("Bye", "x")
    assert type(one) is EnhancedPoolingRequestOutput
    assert isinstance(one, PoolingRequestOutput)
    assert one.metadata["cached"] is False
    assert torch.equal(one.outputs.data, two.outputs.data)
    assert not torch.equal(one.outputs.data, other.outputs.data)
    assert one.request_id == "1"


async def test_aiter(engine: Any) -> None:
    from vllm import PoolingParams

    collector = await engine.add_request("pool", "Hello", PoolingParams(task="embed"))
    assert [o.finished async for o in collector.aiter()] == [True]
