"""Every script of ``examples/`` runs, as a user would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

#: Script to lines (or their beginnings) that must appear.
EXPECTED = {
    "async_inference.py": [],
    "batch_inference.py": ["Prompt: Hello", "Generated:", "Prompt: What is AI?"],
    "custom_extension.py": [
        "Base vLLM path: ",
        "Fallback mode: True",
        "custom_method of MyClass",
        "RequestAdded: request 0",
        "RequestFinished: request 0",
    ],
    "custom_llm.py": [],
    "enhanced_async_llm.py": ["Text: ", "Cached: False", "NLP Result: None", "Timings: {"],
}


def test_all_are_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.engine
@pytest.mark.parametrize("name", EXPECTED)
def test_example(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines
    for expected in EXPECTED[name]:
        assert any(expected in line for line in lines), (expected, done.stdout[-3000:])
