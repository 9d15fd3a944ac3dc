"""What all tests share: a quiet, offline environment, and one engine at a time."""

from __future__ import annotations

import os

# Before anything imports torch or vLLM. One OpenMP thread: on a small busy machine two spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ["ORIGIN_VLLM_CONFIG"] = "none"  # the developer's own settings are not ours

import pytest


@pytest.fixture(scope="session")
def model() -> str:
    """The demo model, or what ``ORIGIN_TEST_MODEL`` names: any small generative model will do."""
    import origin_vllm

    return os.environ.get("ORIGIN_TEST_MODEL", origin_vllm.DEMO_MODEL)
