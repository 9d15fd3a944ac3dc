"""A real ``origin-vllm serve`` for tests: started, awaited, stopped, and nothing left behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.ports import free_port

#: How long a start may take on a small, busy machine (seconds).
READY_S = 240.0
#: How long a server may take to leave after a signal that it handles (seconds).
STOP_S = 30.0


def wait_until(what: str, condition, timeout: float, every: float = 0.1):
    """Call ``condition`` until it is true and return what it said; fail after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while True:
        said = condition()
        if said:
            return said
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s")
        time.sleep(every)


class Server:
    """``origin-vllm serve`` as a context manager.

    Args:
        *argv: Model and flags; ``--port`` is added.
        folder: Where ``out.log`` and ``err.log`` go, and the server's working directory.
        env: Laid over this process's environment.
        await_ready: Whether entering the context waits until the server answers.

    Leaving the context stops it with SIGTERM and checks that it went with status 0, that no process
    of it lives and that its port is free. When the body failed (or the server hangs) its whole
    family is killed.
    """

    def __init__(
        self,
        *argv: str,
        folder: Path,
        env: dict[str, str] | None = None,
        await_ready: bool = True,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.argv = [
            str(Path(sys.executable).with_name("origin-vllm")), "serve", *argv,
            "--port", str(self.port),
        ]  # fmt: skip
        self.env = {
            **os.environ,
            "ORIGIN_VLLM_CPU__KV_CACHE_GIB": "0.25",
            "VLLM_LOGGING_COLOR": "0",
            **(env or {}),
        }
        self.folder = folder
        self._await_ready = await_ready
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            (self.folder / "out.log").open("wb") as out,
            (self.folder / "err.log").open("wb") as err,
        ):
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=self.env,
                start_new_session=True,  # a Ctrl-C is not for it; and see family()
            )
        if self._await_ready:
            try:
                self.wait_ready()
            except BaseException:
                self.kill_family()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self.process.returncode is None:
                assert self.stop(signal.SIGTERM) == 0, self.logs()
            if kind is None:
                self.assert_gone()
        finally:
            self.kill_family()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def wait_ready(self, timeout: float = READY_S) -> None:
        """Wait until ``/health`` answers; fail at once when the process ends."""

        def ready() -> bool:
            status = self.process.poll()
            assert status is None, f"the server ended with status {status}\n{self.logs()}"
            return self.healthy()

        try:
            wait_until("the server is ready", ready, timeout, every=0.2)
        except AssertionError as error:
            if "not within" in str(error):
                raise AssertionError(f"{error}\n{self.logs()}") from None
            raise

    def healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, how: signal.Signals, timeout: float = STOP_S) -> int:
        """Send one signal to the main process and return its exit status."""
        self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the server did not end within {timeout:g} s of {how.name}: {self.family()}\n"
                f"{self.logs()}"
            ) from None

    def assert_gone(self, timeout: float = 5.0) -> None:
        """No process of this server lives and its port is free, now or very soon."""
        wait_until(
            f"nothing is left of the server: {self.family()}", lambda: not self.family(), timeout
        )
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", self.port))
            sock.listen()

    def family(self) -> list[psutil.Process]:
        """Every living process of the server, orphans included: they share its session."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue  # gone in between, or somebody else's
        return found

    def kill_family(self) -> None:
        """SIGKILL for everything, until nothing is left."""
        if self.process is None:
            return
        deadline = time.monotonic() + 10
        while (family := self.family()) and time.monotonic() < deadline:
            for process in family:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(family, timeout=1)
        self.process.wait(10)

    def out(self) -> str:
        return (self.folder / "out.log").read_text(errors="replace")

    def err(self) -> str:
        return (self.folder / "err.log").read_text(errors="replace")

    def logs(self, last: int = 6000) -> str:
        """The ends of both logs, for a failing test's message."""
        return f"--- stderr\n{self.err()[-last:]}\n--- stdout\n{self.out()[-last:]}"
