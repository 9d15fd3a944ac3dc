"""The servers of this folder: one that several modules share, and at most one at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.server import Server

# The clients and helpers these tests import come with vLLM.
collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]


class SharedServer:
    """The demo server, started when first asked for; gone when another server needs the cores."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._server: Server | None = None

    def get(self) -> Server:
        from tests.support.server import Server

        if self._server is None:
            self._server = self._stack.enter_context(Server(folder=self._folder))
        return self._server

    def close(self) -> None:
        self._server = None
        self._stack.close()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    shared = SharedServer(tmp_path_factory.mktemp("demo_server"))
    yield shared
    shared.close()


@pytest.fixture
def demo_server(shared_server: SharedServer) -> Server:
    """``origin-vllm serve`` without a model; stopped by SIGTERM, checked to leave nothing."""
    return shared_server.get()


@pytest.fixture
def no_other_server(shared_server: SharedServer) -> None:
    """For tests that start a server of their own."""
    shared_server.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.support.tiny_models import tiny_llama

    return str(tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama"))
