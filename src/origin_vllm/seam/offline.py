"""vLLM's offline class that ours derives from. Importing this imports vLLM."""

from __future__ import annotations

from origin_vllm.seam import require_vllm

require_vllm()

from vllm.entrypoints.llm import LLM

__all__ = ["LLM"]
