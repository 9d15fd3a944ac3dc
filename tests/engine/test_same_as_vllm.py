"""Property: the same engine answers the same through vLLM's own class and through ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.engine

_ids = count()


@contextmanager
def as_plain_vllm(engine: Any) -> Iterator[Any]:
    """The very same engine with vLLM's own classes.

    Our classes add behaviour and no state, so taking them away gives what
    ``vllm.v1.engine.async_llm.AsyncLLM`` would have built from the same arguments.
    """
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.output_processor import OutputProcessor

    ours, processor = type(engine), type(engine.output_processor)
    engine.__class__, engine.output_processor.__class__ = AsyncLLM, OutputProcessor
    try:
        yield engine
    finally:
        engine.__class__, engine.output_processor.__class__ = ours, processor


prompts = st.one_of(
    st.text(min_size=1, max_size=40),
    st.lists(st.integers(5, 250), min_size=1, max_size=40).map(
        lambda ids: {"prompt_token_ids": ids}
    ),
)


@st.composite
def sampling(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of ``SamplingParams`` whose answer is a function of the request."""
    chosen: dict[str, Any] = {
        "temperature": 0.0,
        "max_tokens": draw(st.integers(1, 16)),
        "output_kind": draw(st.sampled_from([0, 1, 2])),
    }
    if draw(st.booleans()):
        chosen |= {
            "temperature": draw(st.sampled_from([0.3, 1.0, 1.7])),
            "seed": draw(st.integers(0, 2**31)),
            "top_p": draw(st.sampled_from([1.0, 0.9])),
            "top_k": draw(st.sampled_from([0, 5, 50])),
            "n": draw(st.integers(1, 3)),
        }
    optional = {
        "min_tokens": st.integers(0, chosen["max_tokens"]),
        "ignore_eos": st.booleans(),
        "logprobs": st.integers(0, 3),
        "prompt_logprobs": st.integers(0, 2),
        "stop": st.lists(st.sampled_from(["e", "a", " ", "the", "。"]), min_size=1, max_size=2),
        "include_stop_str_in_output": st.booleans(),
        "stop_token_ids": st.lists(st.integers(5, 250), max_size=3),
        "repetition_penalty": st.sampled_from([1.0, 1.3]),
        "presence_penalty": st.sampled_from([0.0, 0.7]),
        "frequency_penalty": st.sampled_from([0.0, 0.7]),
        "logit_bias": st.just({17: 3.0, 40: -5.0}),
        "allowed_token_ids": st.just(list(range(5, 200))),
        "skip_special_tokens": st.booleans(),
        "spaces_between_special_tokens": st.booleans(),
        "min_p": st.sampled_from([0.0, 0.1]),
    }
    for name, strategy in optional.items():
        if draw(st.integers(0, 3)) == 0:
            chosen[name] = draw(strategy)
    if draw(st.integers(0, 7)) == 0:
        chosen["detokenize"] = False
        chosen.pop("stop", None)
    return chosen


def _logprobs(positions: Any) -> Any:
    if positions is None:
        return None
    return [
        None
        if position is None
        else {
            token: (round(entry.logprob, 4), entry.rank, entry.decoded_token)
            for token, entry in position.items()
        }
        for position in positions
    ]


async def answer(engine: Any, prompt: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Everything a client can see of an answer, with the chunks of a stream put together."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    kind = RequestOutputKind(arguments["output_kind"])
    sampling_params = SamplingParams(**{**arguments, "output_kind": kind})
    sequences: dict[int, dict[str, Any]] = {}
    finished: list[bool] = []
    prompt_logprobs, prompt_token_ids, chunks = [], None, 0
    async for output in engine.generate(prompt, sampling_params, f"same-{next(_ids)}"):
        chunks += 1
        finished.append(output.finished)
        prompt_token_ids = output.prompt_token_ids
        if output.prompt_logprobs:
            prompt_logprobs = _logprobs(output.prompt_logprobs)
        for sequence in output.outputs:
            fresh = {"text": "", "token_ids": [], "logprobs": []}
            seen = sequences.setdefault(sequence.index, dict(fresh))
            if kind is not RequestOutputKind.DELTA:
                seen.update(fresh)
            seen["text"] += sequence.text
            seen["token_ids"] = [*seen["token_ids"], *sequence.token_ids]
            seen["logprobs"] = [*seen["logprobs"], *(_logprobs(sequence.logprobs) or [])]
            seen["cumulative_logprob"] = (
                None
                if sequence.cumulative_logprob is None
                else round(sequence.cumulative_logprob, 3)
            )
            seen["finish_reason"] = sequence.finish_reason
            seen["stop_reason"] = sequence.stop_reason
    return {
        "sequences": sequences,
        "prompt_logprobs": prompt_logprobs,
        "prompt_token_ids": prompt_token_ids,
        # The shape of the stream: one end, at the end; how many chunks came before it depends on
        # how fast the reader was, except where only one may come.
        "finished": (finished[-1], sum(finished)),
        "one_chunk": chunks == 1 if kind is RequestOutputKind.FINAL_ONLY else None,
    }


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(prompt=prompts, arguments=sampling())
async def test_same_answers(engine: Any, prompt: Any, arguments: dict[str, Any]) -> None:
    from vllm import RequestOutput

    ours = await answer(engine, prompt, arguments)
    with as_plain_vllm(engine):
        theirs = await answer(engine, prompt, arguments)
        # Make sure that this side really is vLLM's own.
        collector = await engine.add_request(f"plain-{next(_ids)}", "x", _greedy())
        assert type(collector).__module__ == "vllm.v1.engine.output_processor"
        output = await collector.get()
        assert type(output) is RequestOutput
    assert ours == theirs


def _greedy() -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(max_tokens=1, temperature=0.0, output_kind=RequestOutputKind.FINAL_ONLY)
