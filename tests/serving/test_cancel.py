"""Clients that leave: the engine must end idle, and everybody else must get their answers."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.metrics import Metrics
from tests.support.server import Server, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.serve]

MODEL = "origin-demo"
REQUESTS = 200
TOKENS = 150
#: How long an engine may take to notice that its clients are gone (seconds).
IDLE_S = 30.0
_GENERATED = "vllm:generation_tokens_total"


@dataclass
class Ask:
    """One request and what its client plans to do."""

    chat: bool
    stream: bool
    n: int
    #: After how many bytes, or (not streamed: there are none) seconds, the client leaves.
    leave_after_bytes: int | None = None
    leave_after_s: float | None = None
    left: bool = False
    answer: bytes = field(default=b"", repr=False)

    @property
    def leaves(self) -> bool:
        return self.leave_after_bytes is not None or self.leave_after_s is not None

    def wire(self) -> bytes:
        """The request as it goes over the wire."""
        what = {"messages": [{"role": "user", "content": "Hi"}]} if self.chat else {"prompt": "Hi"}
        body = json.dumps(
            {
                "model": MODEL, "max_tokens": TOKENS, "ignore_eos": True, "temperature": 1,
                "seed": 1, "n": self.n, "stream": self.stream, **what,
            }
        ).encode()  # fmt: skip
        path = "/v1/chat/completions" if self.chat else "/v1/completions"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


def plan(seed: int) -> list[Ask]:
    """Half of the requests leave, at random moments from at once to nearly done."""
    rng = random.Random(seed)
    asks = []
    for place in range(REQUESTS):
        stream = rng.random() < 0.6
        ask = Ask(chat=rng.random() < 0.5, stream=stream, n=rng.choice((1, 1, 1, 2)))
        if place % 2 and stream:
            ask.leave_after_bytes = rng.choice((0, rng.randrange(1, 25_000)))
        elif place % 2:
            ask.leave_after_s = rng.uniform(0, 1.5)
        asks.append(ask)
    rng.shuffle(asks)
    return asks


async def run(ask: Ask, port: int) -> None:
    """Ask over a socket of its own and leave as planned: hard, with a reset."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(ask.wire())
        await writer.drain()
        try:
            async with asyncio.timeout(ask.leave_after_s):
                while part := await reader.read(4096):
                    ask.answer += part
                    if (
                        ask.leave_after_bytes is not None
                        and len(ask.answer) > ask.leave_after_bytes
                    ):
                        ask.left = True
                        break
        except TimeoutError:
            ask.left = True
    finally:
        writer.transport.abort()  # type: ignore[attr-defined]


def assert_complete(ask: Ask) -> None:
    head, _, body = ask.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), ask.answer[:500]
    if ask.stream:
        assert b"data: [DONE]" in body
        assert body.count(b'"finish_reason":"length"') == ask.n
    else:
        told = json.loads(body)
        assert [choice["finish_reason"] for choice in told["choices"]] == ["length"] * ask.n
        assert told["usage"]["completion_tokens"] == TOKENS * ask.n


def wait_idle(server: Server) -> Metrics:
    wait_until("the engine is idle", lambda: Metrics(server.url).in_flight() == 0, IDLE_S, 0.2)
    return Metrics(server.url)


def assert_works(server: Server) -> None:
    answer = httpx.post(
        f"{server.url}/v1/completions",
        json={"model": MODEL, "prompt": "vLLM is", "max_tokens": 5, "ignore_eos": True},
        timeout=30,
    )
    assert answer.raise_for_status().json()["usage"]["completion_tokens"] == 5


async def test_half_of_200_clients_leave(demo_server: Server) -> None:
    before = Metrics(demo_server.url)
    asks = plan(seed=2)
    assert sum(ask.leaves for ask in asks) == REQUESTS // 2
    at_once = asyncio.Semaphore(100)

    async def one(ask: Ask) -> None:
        async with at_once:
            await run(ask, demo_server.port)

    async with asyncio.TaskGroup() as group:
        for ask in asks:
            group.create_task(one(ask))
    for ask in asks:
        if not ask.leaves:
            assert_complete(ask)
    left = [ask for ask in asks if ask.left]
    assert len(left) > REQUESTS // 4  # the others were answered before they could leave
    after = wait_idle(demo_server)
    assert after.total("vllm:kv_cache_usage_perc") == 0
    generated = after.total(_GENERATED) - before.total(_GENERATED)
    stayed = sum(ask.n * TOKENS for ask in asks if not ask.left)
    gone = sum(ask.n * TOKENS for ask in asks if ask.left)
    # The engine stopped working for those who left, and for nobody else.
    assert stayed <= generated < stayed + 0.9 * gone
    assert_works(demo_server)
    assert wait_idle(demo_server).total("vllm:kv_cache_usage_perc") == 0


# A client of its own, with many open streams: it says so once each has begun, and reads on.
_CLIENT = """
import http.client, json, sys, threading

port, count = int(sys.argv[1]), int(sys.argv[2])
begun = threading.Semaphore(0)

def read():
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/v1/completions", json.dumps({
        "model": "origin-demo", "prompt": "Hi", "max_tokens": 2000, "ignore_eos": True,
        "stream": True}), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.readline()
    begun.release()
    while answer.readline():
        pass

for _ in range(count):
    threading.Thread(target=read, daemon=True).start()
for _ in range(count):
    begun.acquire()
print("all have begun", flush=True)
threading.Event().wait()
"""


def test_a_client_process_is_killed(demo_server: Server) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(demo_server.port), "12"],
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "all have begun\n"
            assert Metrics(demo_server.url).in_flight() > 0
        finally:
            client.send_signal(signal.SIGKILL)
    assert wait_idle(demo_server).total("vllm:kv_cache_usage_perc") == 0
    assert_works(demo_server)


def test_the_server_took_it_calmly(demo_server: Server) -> None:
    """After the tests above: a client that leaves is nothing to write an error about."""
    assert "Traceback" not in demo_server.out()
    assert "Traceback" not in demo_server.err()
