"""``EnhancedAsyncLLM`` as a user has it: the document's calls, streams, aborts, clean-up."""

from __future__ import annotations

import asyncio
import gc
import pickle
import random
import weakref
from itertools import pairwise
from typing import Any

import pytest

pytestmark = pytest.mark.engine

LONG = {"max_tokens": 400, "ignore_eos": True, "temperature": 0.0}


def params(**kwargs: Any) -> Any:
    from origin_vllm import SamplingParams

    return SamplingParams(**{"temperature": 0.0, "max_tokens": 8, **kwargs})


async def idle(engine: Any) -> None:
    """Wait until the engine core itself says that nothing runs or waits."""
    for _ in range(200):
        stats = engine.output_processor
        if not stats.get_num_unfinished_requests() and not stats.external_req_ids:
            break
        await asyncio.sleep(0.05)
    assert stats.request_states == {}
    assert stats.parent_requests == {}
    assert not any(stats.external_req_ids.values())
    # The core: it can only be put to sleep in this mode when it has no request left.
    await asyncio.wait_for(engine.pause_generation(mode="wait"), timeout=30)
    await engine.resume_generation()


async def test_document_003_basic_use(engine: Any) -> None:
    import vllm

    from origin_vllm import EnhancedRequestOutput, EnhancedRequestOutputCollector

    collector = await engine.add_request(
        request_id="test_request", prompt="What is AI?", params=params(output_kind=0)
    )
    assert type(collector) is EnhancedRequestOutputCollector
    outputs = [output async for output in collector.aiter()]
    assert [output.finished for output in outputs][-1] is True
    assert sum(output.finished for output in outputs) == 1
    last = outputs[-1]
    assert type(last) is EnhancedRequestOutput
    assert isinstance(last, vllm.RequestOutput)
    assert last.text == last.outputs[0].text
    assert last.metadata.get("cached", False) is False
    assert last.metadata.get("nlp_result") is None
    assert set(last.metadata) == {
        "cached", "tier", "age", "coalesced", "nlp_result", "similar", "timings",
    }  # fmt: skip
    timings = last.metadata["timings"]
    assert 0 <= timings["queued"] <= timings["ttft"] <= timings["total"]
    copy = pickle.loads(pickle.dumps(last))
    assert (type(copy), copy.text, copy.metadata) == (type(last), last.text, last.metadata)


@pytest.mark.parametrize("kind", ["CUMULATIVE", "DELTA", "FINAL_ONLY"])
async def test_output_kinds(engine: Any, kind: str) -> None:
    from vllm.sampling_params import RequestOutputKind

    seen = [
        output
        async for output in engine.generate(
            "Hello", params(output_kind=RequestOutputKind[kind], ignore_eos=True), f"kind-{kind}"
        )
    ]
    tokens = [list(output.outputs[0].token_ids) for output in seen]
    if kind == "FINAL_ONLY":
        assert len(seen) == 1
    if kind == "CUMULATIVE":
        assert all(later[: len(sooner)] == sooner for sooner, later in pairwise(tokens))
    if kind == "DELTA":
        tokens = [[token for chunk in tokens for token in chunk]]
    assert len(tokens[-1]) == 8


async def test_parallel_sampling(engine: Any) -> None:
    from origin_vllm import EnhancedRequestOutput

    seen: dict[int, int] = {}
    async for output in engine.generate(
        "Hello", params(n=3, temperature=0.9, seed=7, ignore_eos=True), "n"
    ):
        assert type(output) is EnhancedRequestOutput
        for sequence in output.outputs:
            seen[sequence.index] = len(sequence.token_ids)
    assert seen == {0: 8, 1: 8, 2: 8}


async def test_integer_request_ids(engine: Any) -> None:
    async for output in engine.generate("Hello", params(), 0):
        assert output.request_id == "0"
    collector = await engine.add_request(1, "Hello", params(**LONG))
    await engine.abort(1)
    assert [output.finished async for output in collector][-1] is True


@pytest.mark.parametrize("request_id", [True, None, 1.5, b"x"])
async def test_other_request_ids_are_refused(engine: Any, request_id: Any) -> None:
    from origin_vllm.errors import RequestError

    with pytest.raises(RequestError, match=f"request_id: {type(request_id).__name__}"):
        await engine.add_request(request_id, "Hello", params())


async def test_prompt_adapter_request(engine: Any) -> None:
    from origin_vllm.errors import RequestError

    collector = await engine.add_request("pa", "Hello", params(), prompt_adapter_request=None)
    assert [output.finished async for output in collector][-1] is True
    with pytest.raises(RequestError, match="prompt_adapter_request"):
        await engine.add_request("pa", "Hello", params(), prompt_adapter_request=object())
    with pytest.raises(RequestError, match="prompt_adapter_request"):
        engine.generate("Hello", params(), "pa", prompt_adapter_request=object())


async def test_generate_enhanced_makes_up_ids(engine: Any) -> None:
    one = [o async for o in engine.generate_enhanced("Hello", params())]
    two = [o async for o in engine.generate_enhanced("Hello", params(), 0)]
    assert one[-1].request_id not in ("", "0", two[-1].request_id)
    assert two[-1].request_id == "0"
    assert one[-1].text == two[-1].text


async def test_bad_requests_fail_as_in_vllm(engine: Any) -> None:
    from vllm.exceptions import VLLMValidationError

    with pytest.raises((ValueError, VLLMValidationError)):
        await engine.add_request("long", {"prompt_token_ids": [5] * 5000}, params())
    with pytest.raises((ValueError, VLLMValidationError)):
        [o async for o in engine.generate({"prompt_token_ids": []}, params(), "empty")]
    await idle(engine)


async def test_streaming_input(engine: Any) -> None:
    from vllm.engine.protocol import StreamingInput
    from vllm.sampling_params import RequestOutputKind

    from origin_vllm import EnhancedRequestOutput

    async def chunks() -> Any:
        for text in ("Hello", " again"):
            yield StreamingInput(prompt=text)

    sampling = params(output_kind=RequestOutputKind.DELTA, max_tokens=4, ignore_eos=True)
    outputs = [o async for o in engine.generate(chunks(), sampling, "stream-in")]
    assert all(type(o) is EnhancedRequestOutput for o in outputs)
    assert sum(len(o.outputs[0].token_ids) for o in outputs) == 8  # four for each chunk

    async def failing() -> Any:
        yield StreamingInput(prompt="Hello")
        raise LookupError("the caller's own error")

    collector = await engine.add_request("stream-bad", failing(), sampling)
    with pytest.raises(LookupError, match="the caller's own error"):
        async for _ in collector.aiter():
            pass
    await idle(engine)


async def test_leaving_early_aborts(engine: Any) -> None:
    collector = await engine.add_request("early", "Hello", params(**LONG))
    stream = collector.aiter()
    async for _ in stream:
        break
    await stream.aclose()
    await idle(engine)

    collector = await engine.add_request("unread", "Hello", params(**LONG))
    await collector.aclose()
    await collector.aclose()
    await idle(engine)


async def test_half_of_many_are_cancelled(engine: Any) -> None:
    """200 requests, every other cancelled at a random moment: nothing is left of them."""
    rng = random.Random(20)
    collectors: list[weakref.ref[Any]] = []
    finished = 0

    async def one(number: int) -> None:
        nonlocal finished
        sampling = params(max_tokens=rng.randint(20, 60), ignore_eos=True, n=1)
        if number % 5 == 0:
            sampling = params(max_tokens=20, ignore_eos=True, n=2, temperature=1.0, seed=number)
        if number % 3 == 0:
            async for output in engine.generate(f"Number {number}", sampling, f"many-{number}"):
                done = output.finished
        else:
            collector = await engine.add_request(f"many-{number}", f"Number {number}", sampling)
            collectors.append(weakref.ref(collector))
            async for output in collector:
                done = output.finished
        assert done
        finished += 1

    before = asyncio.all_tasks()
    tasks = [asyncio.create_task(one(number)) for number in range(200)]

    async def cancel(task: asyncio.Task[None]) -> None:
        await asyncio.sleep(rng.random() * 2)
        task.cancel()

    await asyncio.gather(*(cancel(task) for task in tasks[::2]))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [r for r in results if r is not None and not isinstance(r, asyncio.CancelledError)]
    assert errors == []
    assert finished >= 100
    await idle(engine)
    del tasks, results
    gc.collect()
    assert [ref() for ref in collectors if ref() is not None] == []
    assert asyncio.all_tasks() == before


async def test_extensions_see_requests_and_outputs(engine: Any) -> None:
    from origin_vllm import get_config
    from origin_vllm.extensions import RequestAdded, RequestFailed, RequestFinished

    events: list[Any] = []
    got_all = asyncio.Event()
    loop = asyncio.get_running_loop()

    def custom_logger(event: Any) -> None:
        events.append(event)
        if isinstance(event, RequestFailed):
            loop.call_soon_threadsafe(got_all.set)

    get_config().add_custom_extension("custom_logger", custom_logger)
    try:
        whole = [o async for o in engine.generate("Hello", params(n=2, seed=1, temperature=1), "e")]
        await (await engine.add_request("left", "Hello", params(**LONG))).aclose()
        await asyncio.wait_for(got_all.wait(), 20)
    finally:
        get_config().remove_custom_extension("custom_logger")
    first, failed = events[0], events[-1]
    assert isinstance(first, RequestAdded)
    assert (first.request_id, first.prompt, first.params.n) == ("e", "Hello", 2)
    finished = [event for event in events if isinstance(event, RequestFinished)]
    assert [event.request_id for event in finished] == ["e"]
    (last,) = finished[0].output.outputs  # the sequence that ended last
    assert last.text in {sequence.text for sequence in whole[-1].outputs}
    assert (failed.request_id, failed.aborted, failed.error) == ("left", True, None)
    # Nobody listens any more: nothing is added to a request's way.
    collector = await engine.add_request("quiet", "Hello", params())
    assert collector._tap is None
    assert [o.finished async for o in collector][-1]


async def test_a_raising_or_hanging_extension_changes_nothing(engine: Any) -> None:
    import threading

    from origin_vllm import get_config

    release = threading.Event()

    def hangs(event: Any) -> None:
        release.wait(30)

    def raises(event: Any) -> None:
        raise RuntimeError("a broken guest")

    expected = [o async for o in engine.generate("Hello", params(), "without")][-1].text
    get_config().add_custom_extension("hangs", hangs)
    get_config().add_custom_extension("raises", raises)
    try:
        for number in range(20):
            outputs = [o async for o in engine.generate("Hello", params(), f"with-{number}")]
            assert outputs[-1].text == expected
    finally:
        release.set()
        get_config().remove_custom_extension("hangs")
        get_config().remove_custom_extension("raises")
