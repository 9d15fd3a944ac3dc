"""Importing vLLM in a process of its own, to see whether it works and which device it picks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

#: Runs in the child. It goes through the seam, as everything of ours does.
_PROGRAM = """
import json, sys
from origin_vllm.seam import require_vllm
require_vllm()
import vllm
# vLLM's names load as they are used: without these two nearly nothing would have been imported.
vllm.LLM, vllm.AsyncLLMEngine
from vllm.platforms import current_platform
print("\\n" + json.dumps({
    "version": vllm.__version__,
    "device": current_platform.device_type,
    "platform": type(current_platform).__name__,
}), flush=True)
"""


@dataclass(frozen=True)
class ProbeResult:
    """What came of it: either the first three, or ``error`` (the child's last words)."""

    version: str = ""
    device: str = ""
    platform: str = ""
    error: str = ""
    timed_out: bool = False
    signal: int = 0


def import_vllm(timeout: float, program: str = _PROGRAM) -> ProbeResult:
    """Import vLLM in a subprocess.

    Args:
        timeout: Seconds after which the subprocess and its children are killed.
        program: What to run; it prints the result as JSON on its last line.
    """
    # -P: the folder we are called from must not offer modules. The search path is handed on, so
    # that it also holds when this runs as a script from a checkout.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = {**os.environ, "PYTHONPATH": path, "VLLM_LOGGING_LEVEL": "ERROR"}
    child = subprocess.Popen(  # noqa: S603 - our own interpreter and program
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=env,
        start_new_session=True,  # so that what it starts can be killed with it
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(child)
        return ProbeResult(error=f"no answer within {timeout:g} s", timed_out=True)
    except BaseException:  # Ctrl-C: nothing stays behind
        _kill(child)
        raise
    if child.returncode == 0:
        with contextlib.suppress(ValueError, IndexError, TypeError):
            return ProbeResult(**json.loads(out.strip().splitlines()[-1]))
    number = -child.returncode if child.returncode < 0 else 0
    return ProbeResult(error=(err.strip() or out.strip())[-8000:], signal=number)


def _kill(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
