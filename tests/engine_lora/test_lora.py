"""LoRA and priorities pass through; building an engine from vLLM's own configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lora import make_adapter

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
async def engine(model: str) -> AsyncIterator[Any]:
    import origin_vllm

    args = origin_vllm.AsyncEngineArgs(
        model=model,
        enforce_eager=True,
        max_model_len=512,
        kv_cache_memory_bytes=128 << 20,
        enable_lora=True,
        max_loras=2,  # one more than adapters in use: see FACTS on base rows in a mixed batch
        max_lora_rank=8,
        scheduling_policy="priority",
    )
    engine = origin_vllm.EnhancedAsyncLLM.from_vllm_config(
        args.create_engine_config(),
        handler_config=origin_vllm.HandlerConfig(cache=None),
    )
    try:
        yield engine
    finally:
        engine.shutdown()


async def test_lora_and_priority(engine: Any, model: str, tmp_path: Path) -> None:
    from vllm.lora.request import LoRARequest

    from origin_vllm import SamplingParams

    adapter = LoRARequest("tuned", 1, str(make_adapter(tmp_path / "adapter", model)))
    params = SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True)

    async def ask(request_id: str, **kwargs: Any) -> Any:
        outputs = [o async for o in engine.generate("Hello there", params, request_id, **kwargs)]
        return outputs[-1]

    base = await ask("base")
    tuned = await ask("tuned", lora_request=adapter, priority=-3)
    again = await ask("again", priority=5)
    assert tuned.lora_request.lora_name == "tuned"
    assert tuned.outputs[0].token_ids != base.outputs[0].token_ids
    assert again.outputs[0].token_ids == base.outputs[0].token_ids
    # The positional order is vLLM's: arrival_time, lora_request, ...
    collector = await engine.add_request("position", "Hello there", params, None, adapter)
    outputs = [o async for o in collector]
    assert outputs[-1].outputs[0].token_ids == tuned.outputs[0].token_ids


async def test_handler_config_came_through(engine: Any) -> None:
    assert engine.handler_config.cache is None
