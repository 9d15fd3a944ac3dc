"""The words the server prints once it answers: how to talk to it."""

from __future__ import annotations

import argparse
import http.client
import json
import shlex
import ssl
import sys
import threading

_POLL_S = 0.25


class Announcement:
    """Waits for the server in a thread of its own and prints once; :meth:`cancel` ends it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="origin-banner", daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop waiting; nothing is printed after this returns."""
        self._cancelled.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._cancelled.wait(_POLL_S):
            model = _served_model(self._args)
            if model is not None:
                if not self._cancelled.is_set():
                    sys.stderr.write(banner(self._args, model))
                    sys.stderr.flush()
                return


def announce(args: argparse.Namespace) -> Announcement | None:
    """Print the banner when the server answers; None where there is no address to print."""
    if getattr(args, "uds", None) or getattr(args, "headless", False):
        return None
    announcement = Announcement(args)
    announcement.start()
    return announcement


def banner(args: argparse.Namespace, model: str) -> str:
    """The text: a curl line, the openai client line, the documentation's address."""
    base = _base_url(args)
    key = "YOUR_KEY" if getattr(args, "api_key", None) else "none"
    header = " -H 'Authorization: Bearer YOUR_KEY'" if key != "none" else ""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Who are you?"}]})
    lines = [
        "",
        f"Origin vLLM serves {model} at {base}",
        "",
        f"  curl {base}/v1/chat/completions{header} -H 'Content-Type: application/json' \\",
        f"    -d {shlex.quote(body)}",
        "",
        f'  OpenAI(base_url="{base}/v1", api_key="{key}").chat.completions.create('
        f'model="{model}", messages=[...])',
        "",
    ]
    if not getattr(args, "disable_fastapi_docs", False):
        lines[-1:] = [f"  API documentation: {base}/docs", ""]
    return "\n".join(lines) + "\n"


def _base_url(args: argparse.Namespace) -> str:
    scheme = "https" if getattr(args, "ssl_certfile", None) else "http"
    host = _reachable_host(args.host)
    root = (getattr(args, "root_path", None) or "").rstrip("/")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{args.port}{root}"


def _reachable_host(host: str | None) -> str:
    """An address a client on this machine can use for what the server listens on."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host or "", host or "")  # noqa: S104


def _served_model(args: argparse.Namespace) -> str | None:
    """The first model's name if the server answers; None while it doesn't."""
    host = _reachable_host(args.host)
    connection: http.client.HTTPConnection
    if getattr(args, "ssl_certfile", None):
        # Our own server, asked only whether it is up: its certificate names another host.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(host, args.port, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection(host, args.port, timeout=2)
    try:
        connection.request("GET", "/health")
        if connection.getresponse().status != 200:
            return None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    names = args.served_model_name or [args.model]
    return str(names if isinstance(names, str) else names[0])
