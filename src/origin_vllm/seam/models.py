"""vLLM's model registry. Importing this imports vLLM."""

from __future__ import annotations

from origin_vllm.seam import require_vllm

require_vllm()

from vllm.model_executor.models.registry import ModelRegistry, _ModelRegistry

__all__ = ["ModelRegistry", "_ModelRegistry"]
