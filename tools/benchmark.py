"""Benchmarks that print ratios, for ``docs/benchmarks.md``.

``python tools/benchmark.py overhead`` starts ``vllm serve`` and ``origin-vllm serve`` with the same
flags on the same model and asks both the same questions in turns. The server whose turn it isn't is
frozen (SIGSTOP), so that it takes no core from the other. Each round gives one ratio of requests
per second; the table shows the median of the rounds and their spread, which is the noise of the
machine: a difference inside the spread is none.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from origin_vllm import DEMO_MODEL

#: Given to both servers: what origin-vllm would choose on a CPU, said aloud.
COMMON = [
    "--host=127.0.0.1",
    "--enforce-eager",
    "--no-enable-chunked-prefill",
    "--no-enable-prefix-caching",
    "--max-model-len=1024",
    "--max-num-batched-tokens=4096",
    "--kv-cache-memory-bytes=268435456",
    "--disable-uvicorn-access-log",
]

START_TIMEOUT_S = 300


@dataclass
class Server:
    """One server process and all it started."""

    name: str
    port: int
    process: psutil.Popen

    def tree(self) -> list[psutil.Process]:
        """The server and its engine processes."""
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_s(self) -> float:
        """Processor time the API process has used (seconds): where our code runs."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def freeze(self) -> None:
        """Take it off the machine's cores."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let it run."""
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def serve(name: str, command: list[str], log_folder: Path) -> Iterator[Server]:
    """Start a server on a free port, wait until it answers, and end it with all it started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",  # else two starts of the same program differ by some percent
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
    }
    log_file = log_folder / f"{name}.log"
    with log_file.open("wb") as log:
        process = psutil.Popen(
            [*command, "--port", str(port)], stdout=log, stderr=log, env=environment
        )
    server = Server(name, port, process)
    try:
        asyncio.run(_ready(server, log_file))
        yield server
    finally:
        server.thaw()
        family = server.tree()
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=30)
        for left in alive:
            left.kill()


async def _ready(server: Server, log_file: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            if server.process.poll() is not None:
                break
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{server.port}/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.5)
    raise SystemExit(f"{server.name} did not start; see {log_file}")


async def load(
    server: Server, model: str, *, requests: int, concurrency: int, stream: bool, tokens: int
) -> float:
    """Requests per second for ``requests`` distinct completions, ``concurrency`` at a time."""
    numbers = iter(range(requests))
    # The same prompts for both servers, a different one for each request.
    salt = random.Random(0)  # noqa: S311
    prompts = [" ".join(f"{salt.randrange(10**6)}" for _ in range(4)) for _ in range(requests)]
    url = f"http://127.0.0.1:{server.port}/v1/completions"

    async def worker(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            body = {
                "model": model,
                "prompt": prompts[number],
                "max_tokens": tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": stream,
            }
            async with session.post(url, json=body) as answer:
                data = await answer.read()
                if answer.status != 200 or (stream and b"data: [DONE]" not in data):
                    raise SystemExit(f"{server.name}: {answer.status} {data[:500]!r}")

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        start = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(concurrency)))
        return requests / (time.perf_counter() - start)


def overhead(options: argparse.Namespace) -> dict[str, Any]:
    """Measure ``origin-vllm serve`` against ``vllm serve``; returns what the table shows."""
    bin_folder = Path(sys.executable).parent
    flags = [options.model, "--served-model-name", "model", *COMMON]
    log_folder = Path(options.log_folder)
    log_folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with (
        serve("vllm", [str(bin_folder / "vllm"), "serve", *flags], log_folder) as theirs,
        serve(
            "origin-vllm", [str(bin_folder / "origin-vllm"), "serve", *flags], log_folder
        ) as ours,
    ):
        both = [theirs, ours]
        for server in both:
            server.freeze()
        cells = list(itertools.product(options.concurrency, (False, True)))
        rates: dict[tuple[int, bool], list[tuple[float, float]]] = {cell: [] for cell in cells}
        costs: dict[tuple[int, bool], list[tuple[float, float]]] = {cell: [] for cell in cells}
        for round_number in range(options.rounds + 1):
            for concurrency, stream in cells:
                measured: dict[str, float] = {}
                used: dict[str, float] = {}
                requests = max(options.requests, 4 * concurrency)
                if concurrency == 1:
                    requests = max(8, options.requests // 8)
                # Who goes first alternates, so that a drift of the machine favours nobody.
                for server in both if round_number % 2 else reversed(both):
                    server.thaw()
                    before = server.cpu_s()
                    measured[server.name] = asyncio.run(
                        load(
                            server,
                            "model",
                            requests=requests,
                            concurrency=concurrency,
                            stream=stream,
                            tokens=options.tokens,
                        )
                    )
                    used[server.name] = server.cpu_s() - before
                    server.freeze()
                if round_number:  # the first round only warms up
                    cell = (concurrency, stream)
                    rates[cell].append((measured["vllm"], measured["origin-vllm"]))
                    costs[cell].append((used["vllm"], used["origin-vllm"]))
            sys.stderr.write(f"round {round_number} of {options.rounds}\n")
    for (concurrency, stream), pairs in rates.items():
        ratios = sorted(after / before for before, after in pairs)
        cpu = sorted(after / before for before, after in costs[concurrency, stream])
        rows.append(
            {
                "concurrency": concurrency,
                "streamed": "yes" if stream else "no",
                "vllm_requests_per_s": statistics.median(before for before, _ in pairs),
                "ratio_median": statistics.median(ratios),
                "ratio_min": ratios[0],
                "ratio_max": ratios[-1],
                "cpu_median": statistics.median(cpu),
                "cpu_min": cpu[0],
                "cpu_max": cpu[-1],
                "rounds": len(ratios),
            }
        )
    return {"benchmark": "overhead", "tokens": options.tokens, "rows": rows}


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = [
        "| concurrency | streamed | requests/s, origin-vllm over vllm | spread | "
        "processor time of the API process, origin-vllm over vllm | spread |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        "| {concurrency} | {streamed} | {ratio_median:.3f} "
        "| {ratio_min:.3f} to {ratio_max:.3f} "
        "| {cpu_median:.3f} | {cpu_min:.3f} to {cpu_max:.3f} |".format_map(row)
        for row in result["rows"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Run one benchmark and print its table; ``--json`` prints the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("overhead", help="origin-vllm serve against vllm serve")
    one.add_argument("--model", default=DEMO_MODEL, help="any model both can serve")
    one.add_argument("--rounds", type=int, default=9)
    one.add_argument("--requests", type=int, default=128, help="per measurement (at least)")
    one.add_argument("--tokens", type=int, default=64, help="generated per request")
    one.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    one.add_argument("--log-folder", default=".cache/benchmark", help="where servers log")
    one.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = overhead(options)
    print(json.dumps(result, indent=2) if options.json else table(result))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, subprocess.SubprocessError):
        main()
