"""Every piece of vLLM that we touch, by name, with the reason. Imports nothing of vLLM.

Read by ``tests/seam`` (against the installed vLLM), by ``tools/seam_check.py`` (against the parsed
source of other releases) and by people who wonder what a vLLM upgrade could break.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Touch:
    """One name of vLLM that we import, subclass, call or replace.

    Attributes:
        module: Dotted module it is imported from.
        name: Name in it, or ``Class.attribute``.
        why: What we need it for.
        params: Parameters that must exist by these names (functions and methods).
        attributes: Attributes its ``__init__`` must set on ``self`` (classes).
        uses: Text facts about the body: names that must occur in it. This is how we notice that a
            function stopped working the way we rely on while its signature stayed.
    """

    module: str
    name: str
    why: str
    params: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


_ASYNC = "vllm.v1.engine.async_llm"
_SYNC = "vllm.v1.engine.llm_engine"
_OUT = "vllm.v1.engine.output_processor"
_SERVE = "vllm.entrypoints.cli.serve"

CONTRACT: tuple[Touch, ...] = (
    # -- public names, as the package hands them on -------------------------------------------
    Touch("vllm", "__all__", "origin_vllm.__all__ holds every public name"),
    Touch("vllm.version", "__version__", "the version check"),
    # -- engine --------------------------------------------------------------------------------
    Touch(
        _ASYNC,
        "AsyncLLM",
        "base of our AsyncLLM",
        attributes=("output_processor", "input_processor", "engine_core", "vllm_config"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.__init__",
        "EnhancedAsyncLLM(model=...) builds its arguments",
        params=(
            "vllm_config",
            "executor_class",
            "log_stats",
            "usage_context",
            "mm_registry",
            "log_requests",
            "start_engine_loop",
            "stat_loggers",
            "aggregate_engine_logging",
            "client_addresses",
            "client_count",
            "client_index",
        ),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.from_vllm_config",
        "the server builds its engine with it",
        params=(
            "vllm_config",
            "usage_context",
            "stat_loggers",
            "enable_log_requests",
            "disable_log_stats",
            "client_addresses",
            "client_count",
            "client_index",
        ),
        uses=("cls",),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.from_engine_args",
        "a classmethod, so subclasses are built by it",
        params=("engine_args", "start_engine_loop", "usage_context", "stat_loggers"),
        uses=("cls",),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.add_request",
        "overridden: returns our collector",
        params=(
            "request_id",
            "prompt",
            "params",
            "arrival_time",
            "lora_request",
            "tokenization_kwargs",
            "trace_headers",
            "priority",
            "data_parallel_rank",
            "prompt_text",
        ),
        uses=("_add_request", "output_processor", "_add_streaming_input_request"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM._add_request",
        "where a rendered request enters the engine (n = 1)",
        params=("request", "prompt", "parent_req", "index", "queue"),
        uses=("output_processor",),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.generate",
        "reads the collector that add_request returned",
        params=("prompt", "sampling_params", "request_id", "lora_request", "priority"),
        uses=("add_request", "get_nowait", "abort"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.encode",
        "reads the collector that add_request returned",
        params=("prompt", "pooling_params", "request_id"),
        uses=("add_request",),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.abort",
        "overridden: accepts integer request ids",
        params=("request_id", "internal"),
    ),
    Touch(_ASYNC, "AsyncLLM.shutdown", "overridden: ends what we started", params=("timeout",)),
    Touch(
        _ASYNC, "InputStreamError", "aiter() unwraps it, as generate() does", attributes=("cause",)
    ),
    Touch(_SYNC, "LLMEngine", "base of our LLMEngine", attributes=("output_processor",)),
    Touch(
        _SYNC,
        "LLMEngine.add_request",
        "overridden: extensions see requests",
        params=("request_id", "prompt", "params", "lora_request", "prompt_text"),
    ),
    Touch(_SYNC, "LLMEngine.step", "overridden: extensions see outputs"),
    Touch(
        _SYNC,
        "LLMEngine.abort_request",
        "overridden: accepts integer request ids",
        params=("request_ids", "internal"),
    ),
    Touch(
        _SYNC,
        "LLMEngine.from_engine_args",
        "a classmethod, so subclasses are built by it",
        params=("engine_args", "usage_context", "stat_loggers"),
        uses=("cls",),
    ),
    Touch(
        _OUT,
        "RequestOutputCollector",
        "base of our collector",
        attributes=("aggregate", "request_id", "output", "ready", "_input_stream_task"),
    ),
    Touch(
        _OUT,
        "RequestOutputCollector.__init__",
        "we construct it",
        params=("output_kind", "request_id"),
    ),
    Touch(
        _OUT, "RequestOutputCollector.put", "overridden: outputs get metadata", params=("output",)
    ),
    Touch(_OUT, "RequestOutputCollector.get", "aiter() reads with it"),
    Touch(_OUT, "RequestOutputCollector.get_nowait", "aiter() reads with it"),
    Touch(_OUT, "RequestOutputCollector.close", "aiter() closes with it"),
    Touch(_OUT, "OutputProcessor", "the one place where n = 1 and n > 1 meet"),
    Touch(
        _OUT,
        "OutputProcessor.add_request",
        "overridden: the collector becomes ours here",
        params=("request", "prompt", "parent_req", "request_index", "queue"),
    ),
    Touch(
        "vllm.outputs",
        "RequestOutput",
        "base of our output",
        attributes=("request_id", "prompt", "prompt_token_ids", "outputs", "finished", "metrics"),
    ),
    Touch(
        "vllm.outputs",
        "RequestOutput.add",
        "the collector merges deltas with it",
        params=("next_output", "aggregate"),
    ),
    Touch("vllm.outputs", "PoolingRequestOutput", "base of our pooling output"),
    Touch("vllm.outputs", "STREAM_FINISHED", "a shared sentinel that must stay itself"),
    Touch("vllm.engine.arg_utils", "EngineArgs", "base of our EngineArgs"),
    Touch(
        "vllm.engine.arg_utils",
        "EngineArgs.create_engine_config",
        "builds the engine's config",
        params=("usage_context",),
    ),
    Touch(
        "vllm.engine.arg_utils",
        "EngineArgs.__post_init__",
        "loads general plugins in every process, ours among them",
        uses=("load_general_plugins",),
    ),
    Touch("vllm.engine.arg_utils", "AsyncEngineArgs", "base of our AsyncEngineArgs"),
    Touch("vllm.pooling_params", "PoolingParams", "tells pooling requests from generation"),
    Touch("vllm.sampling_params", "SamplingParams", "a request's parameters"),
    Touch("vllm.sampling_params", "RequestOutputKind", "output kinds of a collector"),
    Touch("vllm.usage.usage_lib", "UsageContext", "default of EnhancedAsyncLLM(model=...)"),
    Touch("vllm.v1.executor", "Executor", "EnhancedAsyncLLM(model=...) asks it for the class"),
    Touch("vllm.platforms", "current_platform", "whether the CPU defaults apply"),
    # -- offline -------------------------------------------------------------------------------
    Touch("vllm.entrypoints.llm", "LLM", "base of our LLM"),
    Touch(
        "vllm.entrypoints.llm",
        "LLM.__init__",
        "builds the engine that we adopt",
        params=("model",),
        uses=("llm_engine",),
    ),
    # -- models --------------------------------------------------------------------------------
    Touch("vllm.model_executor.models.registry", "ModelRegistry", "shared with ours"),
    Touch("vllm.model_executor.models.registry", "_ModelRegistry", "base of our registry"),
    Touch(
        "vllm.model_executor.models.registry",
        "_ModelRegistry.register_model",
        "overridden: registrations reach engine processes",
        params=("model_arch", "model_cls"),
    ),
    # -- server --------------------------------------------------------------------------------
    Touch(
        _SERVE,
        "ServeSubcommand.cmd",
        "starts the server, on every launch path",
        params=("args",),
        uses=("run_server", "run_headless", "run_multi_api_server"),
    ),
    Touch(_SERVE, "ServeSubcommand.validate", "vLLM's own checks of the flags", params=("args",)),
    Touch(
        _SERVE, "ServeSubcommand.subparser_init", "every flag of vllm serve", params=("subparsers",)
    ),
    Touch("vllm.utils.argparse_utils", "FlexibleArgumentParser", "vLLM's own parser"),
    Touch("vllm.plugins", "load_general_plugins", "how engine and API processes reach plugin.py"),
)

#: The function that builds the server's engine imports ``AsyncLLM`` by name when it is called. That
#: import is what we redirect (see seam/serving.py); it moved once, so any of these may hold it.
ENGINE_BUILDER = (
    "vllm.entrypoints.launchers.api_server.entry:build_async_engine_client_from_engine_args",
    "vllm.entrypoints.openai.api_server:build_async_engine_client_from_engine_args",
)
