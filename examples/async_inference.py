"""Asynchronous inference; request ids may be integers."""

import asyncio

import origin_vllm
from origin_vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams


async def async_generate():
    engine_args = AsyncEngineArgs(model=origin_vllm.DEMO_MODEL)
    engine = AsyncLLMEngine.from_engine_args(engine_args)

    sampling_params = SamplingParams(temperature=0.8)
    request_id = 0

    results = engine.generate("Hello world", sampling_params, request_id)
    async for output in results:
        print(output.outputs[0].text)
    engine.shutdown()


if __name__ == "__main__":
    asyncio.run(async_generate())
