"""The demo server as its users meet it: clients, errors, metrics, the words it prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.support.metrics import Metrics
from tests.support.server import Server, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.serve]

MODEL = "origin-demo"
QUESTION = [{"role": "user", "content": "Who are you?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ASK_WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.fixture
def client(demo_server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{demo_server.url}/v1", api_key="none", max_retries=0, timeout=60
    ) as client:
        yield client


@pytest.fixture
def http(demo_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo_server.url, timeout=60) as http:
        yield http


# Chat


def test_models(client: openai.OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == [MODEL]
    assert client.models.list().data[0].max_model_len == 2048


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION)
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert "Origin vLLM" in choice.message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_in_chinese(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "你是谁？"}]
    )
    assert "演示模型" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"


def test_chat_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    with client.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    *parts, last = chunks
    assert len({chunk.id for chunk in chunks}) == 1
    assert parts[0].choices[0].delta.role == "assistant"
    assert "".join(part.choices[0].delta.content or "" for part in parts) == (
        whole.choices[0].message.content
    )
    assert [part.choices[0].finish_reason for part in parts] == [None] * (len(parts) - 1) + ["stop"]
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (
        whole.usage.prompt_tokens,
        whole.usage.completion_tokens,
    )


def test_chat_streamed_without_usage(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, max_tokens=4
    ) as stream:
        chunks = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


def test_chat_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=3, logprobs=True, top_logprobs=2
    )
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 3
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)


# Completions


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="vLLM is", max_tokens=6, temperature=0)
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason in ("stop", "length")
    with client.completions.create(
        model=MODEL, prompt="vLLM is", max_tokens=6, temperature=0, stream=True
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason


def test_completions_n_with_seed(client: openai.OpenAI) -> None:
    def sample(seed: int) -> list[str]:
        answer = client.completions.create(
            model=MODEL, prompt="The", max_tokens=12, n=2, temperature=1.5, seed=seed,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert answer.usage.completion_tokens == 24
        return [choice.text for choice in answer.choices]

    first = sample(7)
    assert first == sample(7)
    assert first[0] != first[1]
    assert first != sample(8)


def test_completions_n_streamed(client: openai.OpenAI) -> None:
    with client.completions.create(
        model=MODEL, prompt="The", max_tokens=8, n=3, temperature=1, seed=1, stream=True,
        extra_body={"ignore_eos": True},
    ) as stream:  # fmt: skip
        chunks = list(stream)
    ends = [chunk.choices[0] for chunk in chunks if chunk.choices[0].finish_reason]
    assert sorted(choice.index for choice in ends) == [0, 1, 2]


def test_completions_of_several_prompts(client: openai.OpenAI) -> None:
    prompts = ["vLLM is", "A", "Origin vLLM"]
    together = client.completions.create(model=MODEL, prompt=prompts, max_tokens=5, temperature=0)
    alone = [
        client.completions.create(model=MODEL, prompt=one, max_tokens=5, temperature=0)
        for one in prompts
    ]
    assert [c.text for c in together.choices] == [one.choices[0].text for one in alone]


def test_completions_logprobs_and_echo(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt="vLLM is", max_tokens=3, temperature=0, logprobs=2, echo=True
    )
    choice = answer.choices[0]
    assert "vLLM is" in choice.text
    told = choice.logprobs
    assert len(told.tokens) == answer.usage.total_tokens
    assert told.token_logprobs[0] is None  # nothing comes before the first token
    assert all(value <= 0 for value in told.token_logprobs[1:])


def test_stop_string(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0)
    text = whole.choices[0].message.content
    cut = client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, stop=[" Origin"]
    )
    assert cut.choices[0].message.content == text.partition(" Origin")[0]
    assert cut.choices[0].finish_reason == "stop"


def test_tokenize_and_back(http: httpx.Client) -> None:
    text = "Hello, 世界! 👋"
    told = http.post("/tokenize", json={"model": MODEL, "prompt": text}).raise_for_status().json()
    assert told["count"] == len(told["tokens"]) > 0
    assert told["max_model_len"] == 2048
    plain = http.post(
        "/tokenize", json={"model": MODEL, "prompt": text, "add_special_tokens": False}
    ).json()
    back = http.post("/detokenize", json={"model": MODEL, "tokens": plain["tokens"]})
    assert back.raise_for_status().json()["prompt"] == text
    chat = http.post("/tokenize", json={"model": MODEL, "messages": QUESTION}).json()
    answer = http.post(
        "/v1/chat/completions", json={"model": MODEL, "messages": QUESTION, "max_tokens": 1}
    ).json()
    assert chat["count"] == answer["usage"]["prompt_tokens"]


def test_prompt_as_token_ids(client: openai.OpenAI, http: httpx.Client) -> None:
    ids = http.post("/tokenize", json={"model": MODEL, "prompt": "vLLM is"}).json()["tokens"]
    given: dict[str, Any] = {"model": MODEL, "max_tokens": 5, "temperature": 0}
    by_ids = client.completions.create(prompt=ids, **given)
    assert by_ids.choices[0].text == (
        client.completions.create(prompt="vLLM is", **given).choices[0].text
    )


# Tools and structured answers


def test_tools_auto(client: openai.OpenAI) -> None:
    asked = client.chat.completions.create(model=MODEL, messages=ASK_WEATHER, tools=[WEATHER])
    choice = asked.choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    told = client.chat.completions.create(
        model=MODEL,
        tools=[WEATHER],
        messages=[
            *ASK_WEATHER,
            choice.message.model_dump(include={"role", "content", "tool_calls"}),
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": '{"temperature": 21, "sky": "sunny"}',
            },
        ],
    )
    assert told.choices[0].finish_reason == "stop"
    assert told.choices[0].message.content


def test_tools_streamed(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model=MODEL, messages=ASK_WEATHER, tools=[WEATHER], stream=True
    ) as stream:
        chunks = list(stream)
    calls = [call for c in chunks for call in c.choices[0].delta.tool_calls or []]
    assert [call.function.name for call in calls if call.function.name] == ["get_weather"]
    arguments = "".join(call.function.arguments or "" for call in calls)
    assert json.loads(arguments) == {"city": "Paris"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_tools_that_must_be_called(client: openai.OpenAI, choice: Any) -> None:
    # A question that no tool helps with: the grammar, not the model, makes the call.
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[WEATHER], tool_choice=choice, max_tokens=200
    )
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert list(arguments) == ["city"] and isinstance(arguments["city"], str)


def test_tools_that_must_not_be_called(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK_WEATHER, tools=[WEATHER], tool_choice="none", max_tokens=50
    )
    assert not answer.choices[0].message.tool_calls


def test_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "answer": {"enum": ["yes", "no"]},
            "digit": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["answer", "digit"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Is vLLM fast?"}],
        max_tokens=60,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "verdict", "schema": schema, "strict": True},
        },
    )
    assert answer.choices[0].finish_reason == "stop"
    told = json.loads(answer.choices[0].message.content)
    assert told.keys() == {"answer", "digit"}
    assert told["answer"] in ("yes", "no")
    assert 0 <= told["digit"] <= 9


@pytest.mark.parametrize(
    ("grammar", "allowed"),
    [({"choice": ["red", "blue"]}, {"red", "blue"}), ({"regex": "[ab]{1}"}, {"a", "b"})],
)
def test_other_grammars(client: openai.OpenAI, grammar: Any, allowed: set[str]) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=20, extra_body={"structured_outputs": grammar}
    )
    assert answer.choices[0].message.content in allowed


# Other interfaces


def test_responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input="Who are you?", max_output_tokens=60)
    assert answer.status == "completed"
    assert "Origin vLLM" in answer.output_text


def test_anthropic_messages(demo_server: Server) -> None:
    with anthropic.Anthropic(
        base_url=demo_server.url, api_key="none", max_retries=0, timeout=60
    ) as client:
        answer = client.messages.create(model=MODEL, max_tokens=60, messages=QUESTION)
        assert answer.role == "assistant"
        assert answer.stop_reason == "end_turn"
        assert "Origin vLLM" in answer.content[0].text
        with client.messages.stream(model=MODEL, max_tokens=60, messages=QUESTION) as stream:
            assert "".join(stream.text_stream) == answer.content[0].text
        counted = client.messages.count_tokens(model=MODEL, messages=QUESTION)
        assert counted.input_tokens == answer.usage.input_tokens


def test_small_endpoints(http: httpx.Client) -> None:
    assert http.get("/health").status_code == 200
    assert http.get("/ping").status_code == 200
    assert http.get("/version").raise_for_status().json().keys() == {"version"}
    assert "server_load" in http.get("/load").raise_for_status().json()
    assert "swagger" in http.get("/docs").raise_for_status().text.lower()


# vLLM's own app, built without us, with what it tells of itself.
_VLLM_APP = """
import json, sys
from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.entrypoints.openai.api_server import build_app
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()
ServeSubcommand().subparser_init(parser.add_subparsers())
app = build_app(parser.parse_args(["serve", *sys.argv[2:]]), ("generate",))
routes = [[route.path, sorted(route.methods)] for route in app.routes if hasattr(route, "methods")]
with open(sys.argv[1], "w") as file:
    json.dump({"openapi": app.openapi(), "routes": routes}, file)
"""


def test_routes_are_those_of_vllm_serve(
    demo_server: Server, http: httpx.Client, tmp_path: Path
) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ORIGIN_")}
    done = subprocess.run(
        [sys.executable, "-c", _VLLM_APP, str(tmp_path / "app.json")],
        env=env, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads((tmp_path / "app.json").read_text())
    # The document holds every path, method, parameter and schema; the log also hidden routes.
    ours = http.get("/openapi.json").raise_for_status().json()
    assert ours["paths"].keys() == theirs["openapi"]["paths"].keys()
    assert ours == theirs["openapi"]
    logged = []
    for line in demo_server.out().splitlines():
        _, found, route = line.partition("Route: ")
        if found and ", Methods: " in route:
            path, _, methods = route.partition(", Methods: ")
            logged.append([path, sorted(methods.split(", "))])
    assert sorted(logged) == sorted(theirs["routes"])


# Metrics


def test_metrics_grow_with_requests(client: openai.OpenAI, demo_server: Server) -> None:
    names = [
        "vllm:request_success_total",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:time_to_first_token_seconds_count",
        "vllm:e2e_request_latency_seconds_count",
    ]
    before = Metrics(demo_server.url)
    assert before.families.keys() >= {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:prefix_cache_queries",
        "vllm:inter_token_latency_seconds",
        "vllm:cache_config_info",
        "http_requests",
        "process_resident_memory_bytes",
    }
    usage = client.chat.completions.create(model=MODEL, messages=QUESTION).usage
    expected = [1, usage.prompt_tokens, usage.completion_tokens, 1, 1]

    def grown() -> bool:
        now = Metrics(demo_server.url)
        return [now.total(name) - before.total(name) for name in names] == expected

    wait_until("the counters grew", grown, 10)


# Wrong requests


def test_too_long_prompt(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="2048"):
        client.completions.create(model=MODEL, prompt="hi " * 4000)
    with pytest.raises(openai.BadRequestError, match="2048"):
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi " * 4000}]
        )


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.chat.completions.create(model="gpt-9", messages=QUESTION)
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.completions.create(model="gpt-9", prompt="hi")


def body(**fields: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": QUESTION, **fields}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":',
        b"[]",
        b'{"model": "origin-demo"}',
        body(messages=[{"role": "user", "content": 5}]),
        body(messages=[{"role": "pope", "content": "a"}]),
        body(temperature=-1),
        body(max_tokens=-1),
        body(n=0),
        body(tool_choice="required"),
    ],
)
def test_bad_body(http: httpx.Client, body: bytes) -> None:
    answer = http.post(
        "/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == 400
    assert error["message"]
    assert "Traceback" not in answer.text


def test_wrong_path_and_method(http: httpx.Client) -> None:
    assert http.get("/v1/nothing").status_code == 404
    assert http.get("/v1/chat/completions").status_code == 405
    assert http.post("/v1/embeddings", json={"model": MODEL, "input": "a"}).status_code == 404


# What the server prints


def test_banner_is_printed_once_and_is_right(demo_server: Server) -> None:
    wait_until("the banner", lambda: "/docs" in demo_server.err(), 10)
    told = demo_server.err()
    assert "Origin vLLM serves" not in demo_server.out()
    assert told.count("Origin vLLM serves") == 1
    assert f"Origin vLLM serves {MODEL} at {demo_server.url}\n" in told
    _, _, told = told.partition("Origin vLLM serves")
    assert "\033" not in told  # no colours in a file
    lines = told.splitlines()
    docs = next(line for line in lines if "/docs" in line)
    assert httpx.get(docs.split()[-1]).status_code == 200
    line = next(line.strip() for line in lines if "OpenAI(" in line)
    assert "messages=[...]" in line
    with ExitStack() as stack:  # the line leaves closing the client to the interpreter
        names = {
            "OpenAI": lambda **given: stack.enter_context(openai.OpenAI(**given)),
            "messages": QUESTION,
        }
        answer = eval(line.replace("[...]", "messages"), names)
    assert answer.choices[0].message.content


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_line_works_as_printed(demo_server: Server) -> None:
    wait_until("the banner", lambda: "/docs" in demo_server.err(), 10)
    lines = demo_server.err().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("  curl "))
    end = lines.index("", start)
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines[start:end])], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_every_request_went_through_our_engine(demo_server: Server) -> None:
    assert demo_server.out().count("EnhancedAsyncLLM of Origin vLLM") == 1


def test_nothing_went_wrong(demo_server: Server) -> None:
    """After all the tests above: bad requests are the client's business, not the log's."""
    assert "Traceback" not in demo_server.out()
    assert "Traceback" not in demo_server.err()
    assert demo_server.healthy()
