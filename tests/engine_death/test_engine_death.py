"""What a request sees when the engine dies under it, and what is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.engine


async def test_engine_death_ends_every_request(model: str) -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    from origin_vllm import EnhancedAsyncLLM, SamplingParams

    before = set(psutil.Process().children(recursive=True))
    engine: Any = EnhancedAsyncLLM(
        model=model, enforce_eager=True, max_model_len=1024, kv_cache_memory_bytes=64 << 20
    )
    try:
        started = set(psutil.Process().children(recursive=True)) - before
        (core,) = (one for one in started if one.ppid() == psutil.Process().pid and _is_core(one))
        params = SamplingParams(max_tokens=900, ignore_eos=True, temperature=0.0)
        first_outputs = asyncio.Barrier(5)

        async def collect(number: int) -> None:
            told = False
            async for _ in await engine.add_request(number, "Hello", params):
                if not told:
                    told = True
                    await first_outputs.wait()

        async def generate(number: int) -> None:
            told = False
            async for _ in engine.generate("Hello", params, number):
                if not told:
                    told = True
                    await first_outputs.wait()

        tasks = [asyncio.create_task(collect(n)) for n in (1, 2)]
        tasks += [asyncio.create_task(generate(n)) for n in (3, 4)]
        await asyncio.wait_for(first_outputs.wait(), 60)
        core.kill()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        assert [type(result) for result in results] == [EngineDeadError] * 4
        with pytest.raises(EngineDeadError):
            await engine.add_request("after", "Hello", params)
    finally:
        engine.shutdown()
    # The worker is the core's child: nobody but its own lifeline ends it now.
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, 20)
    assert [one for one in alive if "resource_tracker" not in " ".join(one.cmdline())] == []


def _is_core(process: psutil.Process) -> bool:
    return "EngineCore" in " ".join(process.cmdline())
