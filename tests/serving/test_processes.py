"""How servers start and end: signals, kills, several API processes. Each leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.server import Server, wait_until

pytestmark = [
    pytest.mark.engine,
    pytest.mark.serve,
    pytest.mark.usefixtures("no_other_server"),
]

#: Engine and worker of a server that was killed must have left after this long (seconds).
ORPHANS_S = 15.0
READY_LINE = "EnhancedAsyncLLM of Origin vLLM"
TINY = ("--served-model-name", "tiny", "--host", "127.0.0.1", "--enforce-eager")


@contextmanager
def streams(server: Server, count: int = 8) -> Iterator[list[bytes]]:
    """Keep streams open, each with at least one chunk read, until the block is left.

    What each was sent is in the list once the block is left.
    """
    told: list[bytes] = []
    begun = threading.Semaphore(0)
    connections = [
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=60) for _ in range(count)
    ]

    def read(connection: http.client.HTTPConnection) -> None:
        body = {
            "model": "tiny", "prompt": "a", "max_tokens": 2000, "ignore_eos": True, "stream": True,
        }  # fmt: skip
        # The server is stopped under it: any ending will do.
        with suppress(OSError, http.client.HTTPException):
            connection.request(
                "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            text = answer.readline()
            begun.release()
            while line := answer.readline():
                text += line
            told.append(text)

    threads = [threading.Thread(target=read, args=(one,)) for one in connections]
    with ExitStack() as stack:
        for connection in connections:
            stack.callback(connection.close)
        for thread in threads:
            stack.callback(thread.join, 30)
            thread.start()
        for _ in range(count):
            assert begun.acquire(timeout=60)
        yield told


def names(server: Server) -> list[str]:
    found = []
    for process in server.family():
        with suppress(psutil.NoSuchProcess):
            found.append(process.name())
    return sorted(found)


def test_sigterm_under_load(tiny_model: str, tmp_path: Path) -> None:
    with Server(tiny_model, *TINY, folder=tmp_path) as server:
        assert "VLLM::EngineCor" in [name[:15] for name in names(server)]
        with streams(server, 8) as told:
            assert server.stop(signal.SIGTERM) == 0, server.logs()
            server.assert_gone()
    # The clients were told, with a proper end.
    assert len(told) == 8
    for text in told:
        assert b'"finish_reason":"abort"' in text
        assert text.endswith(b"data: [DONE]\n\n")
    assert "Traceback" not in server.err()
    assert "Traceback" not in server.out()


def test_main_process_is_killed(tiny_model: str, tmp_path: Path) -> None:
    """kill -9: engine and worker notice by themselves and leave."""
    with Server(tiny_model, *TINY, folder=tmp_path) as server, streams(server):
        assert len(server.family()) >= 3
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        server.assert_gone(ORPHANS_S)


def test_two_api_processes_and_sigint(tiny_model: str, tmp_path: Path) -> None:
    with Server(tiny_model, *TINY, "--api-server-count", "2", folder=tmp_path) as server:
        # One answers already; the other may still be on its way.
        wait_until("both are ready", lambda: server.out().count(READY_LINE) == 2, 60)
        answered = [
            httpx.post(
                f"{server.url}/v1/completions",
                json={"model": "tiny", "prompt": "a", "max_tokens": 4},
            ).raise_for_status()
            for _ in range(10)
        ]
        assert len({answer.json()["id"] for answer in answered}) == 10
        wait_until("the banner", lambda: "/docs" in server.err(), 10)
        assert server.err().count("Origin vLLM serves tiny") == 1
        with streams(server):
            assert server.stop(signal.SIGINT) == 0, server.logs()
            server.assert_gone()


@pytest.mark.parametrize(("how", "processes"), [(signal.SIGTERM, 3), (signal.SIGINT, 4)])
def test_signal_while_starting(
    tiny_model: str, tmp_path: Path, how: signal.Signals, processes: int
) -> None:
    """Also while vLLM waits for its engine, which swallows its own KeyboardInterrupt there."""
    with Server(tiny_model, *TINY, folder=tmp_path, await_ready=False) as server:
        # The main process, multiprocessing's resource tracker, the engine core, the worker.
        wait_until("it is starting", lambda: len(server.family()) >= processes, 120)
        assert server.stop(how) == 128 + how, server.logs()
        server.assert_gone(ORPHANS_S)
    assert "Origin vLLM serves" not in server.err()
    assert "Traceback" not in server.err()


@pytest.mark.skipif(
    not os.environ.get("RUN_SLOW_TESTS"),
    reason="two engines; RUN_SLOW_TESTS=1 runs it",
)
def test_data_parallel(tiny_model: str, tmp_path: Path) -> None:
    with Server(tiny_model, *TINY, "--data-parallel-size", "2", folder=tmp_path) as server:
        wait_until("both are ready", lambda: server.out().count(READY_LINE) == 2, 60)
        for _ in range(4):
            httpx.post(
                f"{server.url}/v1/completions",
                json={"model": "tiny", "prompt": "a", "max_tokens": 4},
            ).raise_for_status()
