"""``origin_vllm.LLM``: vLLM's offline class on our engine."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def llm(model: str) -> Iterator[Any]:
    from origin_vllm import LLM

    llm = LLM(model=model, enforce_eager=True, max_model_len=512, kv_cache_memory_bytes=64 << 20)
    yield llm
    del llm
    gc.collect()


def test_classes(llm: Any) -> None:
    import vllm

    import origin_vllm
    from origin_vllm.engine.llm_engine import LLMEngine

    assert isinstance(llm, vllm.LLM)
    assert type(llm.llm_engine) is LLMEngine is origin_vllm.LLMEngine
    assert isinstance(llm.llm_engine, vllm.LLMEngine)


def test_generate_keeps_the_order_of_prompts(llm: Any) -> None:
    from origin_vllm import SamplingParams

    prompts = ["Hello", "How are you?", "What is AI?", "x" * 200, "y"]
    lengths = [3, 40, 1, 17, 9]
    params = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True) for n in lengths]
    outputs = llm.generate(prompts, params, use_tqdm=False)
    assert [output.prompt for output in outputs] == prompts
    assert [len(output.outputs[0].token_ids) for output in outputs] == lengths


def test_chat(llm: Any) -> None:
    from origin_vllm import SamplingParams

    messages = [{"role": "user", "content": "Hello"}]
    (output,) = llm.chat(messages, SamplingParams(temperature=0, max_tokens=5), use_tqdm=False)
    assert output.finished


def test_seeded_sampling_of_a_long_prompt_leaves_the_engine_alive(llm: Any) -> None:
    """On a CPU, vLLM's default (chunked prefill) dies of this one request."""
    from origin_vllm import SamplingParams

    prompts = [{"prompt_token_ids": [7] * n} for n in (500, 400, 499)]
    params = SamplingParams(temperature=0.8, seed=1, max_tokens=4)
    assert len(llm.generate(prompts, params, use_tqdm=False)) == 3
    assert llm.llm_engine.vllm_config.scheduler_config.enable_chunked_prefill is False


def test_extensions_see_offline_requests(llm: Any) -> None:
    from origin_vllm import SamplingParams, get_config
    from origin_vllm.extensions import RequestAdded, RequestFinished, get_manager

    events: list[Any] = []
    get_config().add_custom_extension("seen", events.append)
    try:
        params = SamplingParams(temperature=0.7, seed=3, max_tokens=4, n=2)
        llm.generate(["Hello", "Bye"], params, use_tqdm=False)
    finally:
        assert get_manager().close(20)  # delivers what is queued
        get_config().remove_custom_extension("seen")
    added = [event for event in events if isinstance(event, RequestAdded)]
    assert [event.prompt for event in added] == ["Hello", "Bye"]
    assert [event.params.n for event in added] == [2, 2]
    finished = [event for event in events if isinstance(event, RequestFinished)]
    assert sorted(e.request_id for e in finished) == sorted(e.request_id for e in added)


def test_synchronous_engine_by_hand(llm: Any) -> None:
    """Document 004's loop, with an integer request id; aborted requests are told."""
    from origin_vllm import SamplingParams, get_config
    from origin_vllm.extensions import RequestFailed, get_manager

    engine = llm.llm_engine
    events: list[Any] = []
    get_config().add_custom_extension("seen", events.append)
    try:
        engine.add_request(0, "Hello", SamplingParams(temperature=0, max_tokens=3))
        engine.add_request(1, "Hello", SamplingParams(temperature=0, max_tokens=300))
        engine.abort_request([1])
        outputs = []
        while engine.has_unfinished_requests():
            outputs += engine.step()
    finally:
        assert get_manager().close(20)
        get_config().remove_custom_extension("seen")
    assert {output.request_id for output in outputs if output.finished} == {"0"}
    failed = [event for event in events if isinstance(event, RequestFailed)]
    assert [(event.request_id, event.aborted) for event in failed] == [("1", True)]
    assert engine._taps == {}
