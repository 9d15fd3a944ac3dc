"""Shutting an engine down while requests wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.engine


async def test_shutdown_ends_requests_in_flight(model: str) -> None:
    from origin_vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams

    args = AsyncEngineArgs(
        model=model, enforce_eager=True, max_model_len=1024, kv_cache_memory_bytes=64 << 20
    )
    engine: Any = AsyncLLMEngine.from_engine_args(args)
    try:
        params = SamplingParams(max_tokens=900, ignore_eos=True, temperature=0.0)
        running = asyncio.Event()

        async def ask(number: int) -> str:
            reason = None
            async for output in engine.generate("Hello", params, number):
                running.set()
                reason = output.outputs[0].finish_reason
            return str(reason)

        tasks = [asyncio.create_task(ask(number)) for number in range(3)]
        await asyncio.wait_for(running.wait(), 60)
    finally:
        await asyncio.to_thread(engine.shutdown)
    assert await asyncio.wait_for(asyncio.gather(*tasks), 30) == ["abort"] * 3
    assert not engine.output_processor.request_states
