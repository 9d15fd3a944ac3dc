"""The way of a request through the stages, with stages made for the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from origin_vllm.errors import OriginError

pytestmark = pytest.mark.engine


@pytest.fixture
async def stages(engine: Any) -> AsyncIterator[Any]:
    from origin_vllm.engine.stages import NO_STAGES, Stages

    engine.stages = Stages()
    try:
        yield engine.stages
    finally:
        engine.stages = NO_STAGES


def params(**kwargs: Any) -> Any:
    from origin_vllm import SamplingParams

    return SamplingParams(**{"temperature": 0.0, "max_tokens": 4, "ignore_eos": True, **kwargs})


async def last(engine: Any, request_id: str, **kwargs: Any) -> Any:
    return [o async for o in engine.generate("Hello", params(**kwargs), request_id)][-1]


async def test_order_and_values(engine: Any, stages: Any) -> None:
    from origin_vllm.engine.stages import Identity

    calls: list[Any] = []
    identity = Identity(b"k" * 32)

    def identify(request: Any) -> Identity:
        calls.append(("identify", list(request.prompt_token_ids)))
        return identity

    async def look_up(given: Identity) -> None:
        calls.append(("look_up", given))

    def join(given: Identity) -> None:
        calls.append(("join", given))

    def store(given: Identity, collector: Any) -> None:
        calls.append(("store", given, type(collector).__name__))

    stages.identify, stages.look_up, stages.join, stages.store = identify, look_up, join, store
    output = await last(engine, "order")
    assert calls == [
        ("identify", output.prompt_token_ids),
        ("look_up", identity),
        ("join", identity),
        ("store", identity, "EnhancedRequestOutputCollector"),
    ]
    assert len(output.outputs[0].token_ids) == 4
    calls.clear()
    await last(engine, "several", n=2, temperature=0.5, seed=1)
    assert calls == []  # the children of n > 1 are no requests of their own


async def test_an_answer_spares_the_engine(engine: Any, stages: Any) -> None:
    from origin_vllm.engine.stages import Identity

    generated = (await last(engine, "first")).outputs[0]

    class Stored:
        async def give(self, request: Any, prompt: str | None, collector: Any) -> None:
            from vllm import RequestOutput

            collector._record.enhancements["cached"] = True
            collector.put(
                RequestOutput(
                    request.external_req_id, prompt, request.prompt_token_ids, None,
                    [generated], finished=True,
                )
            )  # fmt: skip

    async def look_up(identity: Identity) -> Stored:
        return Stored()

    stages.identify, stages.look_up = lambda request: Identity(b"k" * 32), look_up
    output = await last(engine, "second")
    assert output.metadata["cached"] is True
    assert output.outputs[0].token_ids == generated.token_ids
    assert not engine.output_processor.request_states


@pytest.mark.parametrize("name", ["identify", "look_up", "join", "store", "answer"])
async def test_a_failing_stage_is_left_out(
    engine: Any, stages: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    from origin_vllm.engine.stages import Identity

    class Bad:
        async def give(self, *args: Any) -> None:
            raise OriginError("give")

    def fail(*args: Any) -> Any:
        raise OriginError(name)

    async def bad(*args: Any) -> Any:
        return Bad()

    expected = (await last(engine, f"{name}-before")).text
    stages.identify = lambda request: Identity(b"k" * 32)
    if name == "answer":
        stages.look_up = bad
    else:
        setattr(stages, name, fail)
    assert (await last(engine, f"{name}-with")).text == expected
    assert stages.errors[name] == 1
