"""What every vLLM process of ours does first (entry point ``vllm.general_plugins``).

vLLM loads general plugins in each of its processes: API servers, engine cores, workers. In a
process that belongs to a plain vLLM this does nothing.
"""

from __future__ import annotations

import os


def register() -> None:
    """Called by vLLM, possibly several times in one process."""
    if "ORIGIN_VLLM_ACTIVE" not in os.environ:
        return
    from origin_vllm.engine.lifeline import end_with_parent

    end_with_parent()
    if "ORIGIN_VLLM_MODELS" in os.environ:
        from origin_vllm.model_executor.models import register_from_environment

        register_from_environment()
    if "ORIGIN_VLLM_SERVE" in os.environ:
        from origin_vllm.seam.serving import substitute_engine

        substitute_engine()
