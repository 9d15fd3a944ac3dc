"""What vLLM needs on a machine without a GPU.

Everything here yields to what the user said: an argument, an environment variable or a setting of
the ``cpu`` section (see ``docs/configuration.md``).
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from origin_vllm import DEMO_MODEL
from origin_vllm.settings import get_settings

logger = logging.getLogger(__name__)

#: Default size of the KV cache for the demo model (bytes): a million tokens would be a waste.
_DEMO_KV_BYTES = 512 << 20


def prepare_environment() -> dict[str, str]:
    """Choose threads before torch is imported, in this process and all it starts.

    Returns:
        The environment variables that were set, empty when the user had set them all.

    vLLM's ``auto`` pins each engine's threads and reserves a core; two engines on a small machine
    then share one. ``nobind`` leaves placing to the kernel. OpenMP threads that wait actively slow
    everything else on the machine down, hence ``PASSIVE``.
    """
    cpu = get_settings().cpu
    threads = cpu.threads or max(1, _usable_cores() - 1)
    wanted = {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "VLLM_CPU_OMP_THREADS_BIND": cpu.omp_bind or "nobind",
    }
    chosen = {name: value for name, value in wanted.items() if not os.environ.get(name)}
    if cpu.threads is not None:  # said in the settings: stronger than an inherited variable
        chosen["OMP_NUM_THREADS"] = str(cpu.threads)
    if cpu.omp_bind is not None:
        chosen["VLLM_CPU_OMP_THREADS_BIND"] = cpu.omp_bind
    os.environ.update(chosen)
    return chosen


def apply_cpu_defaults(args: Any) -> dict[str, Any]:
    """Fill in engine arguments that the user left open, if vLLM runs on a CPU here.

    Args:
        args: An ``EngineArgs`` or the parsed flags of ``serve``: the attributes have the same
            names. Changed in place.

    Returns:
        What was set, by argument name; empty on any other device.
    """
    from origin_vllm.seam.engine import current_platform

    if not current_platform.is_cpu():
        return {}
    cpu = get_settings().cpu
    chosen: dict[str, Any] = {}
    if args.enable_chunked_prefill is None and not cpu.chunked_prefill:
        # A seeded request with temperature > 0 whose prompt is prefilled in chunks kills the whole
        # engine on a CPU ("CPU Generator does not use offset", seen with vLLM 0.32).
        chosen["enable_chunked_prefill"] = bool(cpu.chunked_prefill)
    if args.kv_cache_memory_bytes is None and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        chosen["kv_cache_memory_bytes"] = _kv_cache_bytes(args.model, cpu.kv_cache_gib)
    for name, value in chosen.items():
        setattr(args, name, value)
    if chosen:
        logger.info("CPU defaults: %s", ", ".join(f"{k}={v}" for k, v in chosen.items()))
    return chosen


def _kv_cache_bytes(model: str, gib: float | None) -> int:
    if gib is not None:
        return int(gib * (1 << 30))
    # vLLM would take nine tenths of the machine's memory, used or not, and fail where somebody
    # else uses some of it.
    return _DEMO_KV_BYTES if model == DEMO_MODEL else _available_memory() // 2


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _available_memory() -> int:
    """Bytes this process may still use: the machine's, or less inside a container."""
    import psutil

    available = int(psutil.virtual_memory().available)
    cgroup = Path("/sys/fs/cgroup")  # version 2
    try:
        limit = int((cgroup / "memory.max").read_text())
        available = min(available, limit - int((cgroup / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no cgroup, or "max": no limit
    return max(0, available)


def engine_kwargs_for_cpu(model: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """:func:`apply_cpu_defaults` for the keyword arguments of ``LLM``; returns new ones."""
    given = SimpleNamespace(
        model=model,
        enable_chunked_prefill=kwargs.get("enable_chunked_prefill"),
        kv_cache_memory_bytes=kwargs.get("kv_cache_memory_bytes"),
    )
    return {**kwargs, **apply_cpu_defaults(given)}
