"""vLLM's engine classes that ours derive from. Importing this imports vLLM."""

from __future__ import annotations

from origin_vllm.seam import require_vllm

require_vllm()

from vllm.engine.arg_utils import AsyncEngineArgs, EngineArgs
from vllm.outputs import STREAM_FINISHED, PoolingRequestOutput, RequestOutput
from vllm.platforms import current_platform
from vllm.pooling_params import PoolingParams
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM, InputStreamError
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector
from vllm.v1.executor import Executor

__all__ = [
    "STREAM_FINISHED",
    "AsyncEngineArgs",
    "AsyncLLM",
    "EngineArgs",
    "Executor",
    "InputStreamError",
    "LLMEngine",
    "OutputProcessor",
    "PoolingParams",
    "PoolingRequestOutput",
    "RequestOutput",
    "RequestOutputCollector",
    "RequestOutputKind",
    "SamplingParams",
    "UsageContext",
    "current_platform",
]
