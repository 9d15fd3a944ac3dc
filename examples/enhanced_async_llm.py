"""The enhanced engine: vLLM's AsyncLLM whose outputs carry `text` and `metadata`."""

import asyncio

import origin_vllm
from origin_vllm import EnhancedAsyncLLM, HandlerConfig, SamplingParams


async def main():
    enhanced_llm = EnhancedAsyncLLM(
        model=origin_vllm.DEMO_MODEL,
        handler_config=HandlerConfig(),
    )
    sampling_params = SamplingParams(temperature=0, max_tokens=32)
    try:
        # The inherited add_request; what it returns is a RequestOutputCollector, and more.
        collector = await enhanced_llm.add_request(
            request_id="test_request", prompt="What is AI?", params=sampling_params
        )
        async for output in collector.aiter():
            print(f"Text: {output.text}")
            if output.finished:
                print(f"Cached: {output.metadata.get('cached', False)}")
                print(f"NLP Result: {output.metadata.get('nlp_result')}")
                break

        # The inherited generate() works through it unchanged.
        async for output in enhanced_llm.generate("Hello", sampling_params, "another"):
            if output.finished:
                print(f"Timings: {output.metadata['timings']}")
    finally:
        enhanced_llm.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
