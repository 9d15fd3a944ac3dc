"""Origin vLLM: the extension layer for vLLM. All of vLLM, unforked, by inheritance.

Swap ``vllm`` for ``origin_vllm`` in an import. Every public name of vLLM is here: the classes we
extend are true subclasses, all others are vLLM's own objects. Importing this package is cheap: no
torch, no vLLM, until a name that needs them is used.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from origin_vllm.version import __version__, __version_tuple__

if TYPE_CHECKING:
    from vllm import (
        ClassificationOutput,
        ClassificationRequestOutput,
        CompletionOutput,
        EmbeddingOutput,
        EmbeddingRequestOutput,
        PoolingOutput,
        PoolingParams,
        PoolingRequestOutput,
        PromptType,
        RequestOutput,
        SamplingParams,
        ScoringOutput,
        ScoringRequestOutput,
        TextPrompt,
        TokensPrompt,
        initialize_ray_cluster,
    )

    from origin_vllm.config import get_config
    from origin_vllm.engine.arg_utils import AsyncEngineArgs, EngineArgs
    from origin_vllm.engine.async_llm_engine import AsyncLLM, AsyncLLMEngine
    from origin_vllm.engine.collector import EnhancedRequestOutputCollector
    from origin_vllm.engine.enhanced import EnhancedAsyncLLM
    from origin_vllm.engine.llm_engine import LLMEngine
    from origin_vllm.engine.outputs import EnhancedPoolingRequestOutput, EnhancedRequestOutput
    from origin_vllm.entrypoints.llm import LLM
    from origin_vllm.errors import OriginError
    from origin_vllm.model_executor.models import ModelRegistry
    from origin_vllm.settings import HandlerConfig, OriginSettings, get_settings

#: Folder of the demo model that ships with the package (Hugging Face format, a few megabytes).
DEMO_MODEL: str = str(Path(__file__).parent / "demo_model")

# Where each name of ours lives; everything else in ``__all__`` is vLLM's own.
_OURS: dict[str, str] = {
    "AsyncEngineArgs": "origin_vllm.engine.arg_utils",
    "AsyncLLM": "origin_vllm.engine.async_llm_engine",
    "AsyncLLMEngine": "origin_vllm.engine.async_llm_engine",
    "EngineArgs": "origin_vllm.engine.arg_utils",
    "EnhancedAsyncLLM": "origin_vllm.engine.enhanced",
    "EnhancedPoolingRequestOutput": "origin_vllm.engine.outputs",
    "EnhancedRequestOutput": "origin_vllm.engine.outputs",
    "EnhancedRequestOutputCollector": "origin_vllm.engine.collector",
    "HandlerConfig": "origin_vllm.settings",
    "LLM": "origin_vllm.entrypoints.llm",
    "LLMEngine": "origin_vllm.engine.llm_engine",
    "ModelRegistry": "origin_vllm.model_executor.models",
    "OriginError": "origin_vllm.errors",
    "OriginSettings": "origin_vllm.settings",
    "get_config": "origin_vllm.config",
    "get_settings": "origin_vllm.settings",
}

__all__ = [
    "DEMO_MODEL",
    "LLM",
    "AsyncEngineArgs",
    "AsyncLLM",
    "AsyncLLMEngine",
    "ClassificationOutput",
    "ClassificationRequestOutput",
    "CompletionOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "EngineArgs",
    "EnhancedAsyncLLM",
    "EnhancedPoolingRequestOutput",
    "EnhancedRequestOutput",
    "EnhancedRequestOutputCollector",
    "HandlerConfig",
    "LLMEngine",
    "ModelRegistry",
    "OriginError",
    "OriginSettings",
    "PoolingOutput",
    "PoolingParams",
    "PoolingRequestOutput",
    "PromptType",
    "RequestOutput",
    "SamplingParams",
    "ScoringOutput",
    "ScoringRequestOutput",
    "TextPrompt",
    "TokensPrompt",
    "__version__",
    "__version_tuple__",
    "get_config",
    "get_settings",
    "initialize_ray_cluster",
]


def __getattr__(name: str) -> Any:
    if name in _OURS:
        value = getattr(importlib.import_module(_OURS[name]), name)
    elif name.startswith("__") or importlib.util.find_spec(f"{__name__}.{name}") is not None:
        # For a module of ours this is what makes `from origin_vllm import setup` import it.
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        # Also names that a newer vLLM made public after this release.
        from origin_vllm.seam import public

        value = public(name)
    globals()[name] = value  # the next look-up is an ordinary one
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
