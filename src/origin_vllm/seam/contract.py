"""Every piece of vLLM that we touch, by name, with the reason. Imports nothing of vLLM.

Read by ``tests/seam`` (against the installed vLLM), by ``tools/seam_check.py`` (against the parsed
source of other releases) and by people who wonder what a vLLM upgrade could break. What the
entries claim is checked by :mod:`origin_vllm.seam.check`; ``docs/seam.md`` says what to do when
one no longer holds.
"""

from __future__ import annotations

from origin_vllm.seam.touch import Importer, Touch

__all__ = [
    "COLLECTOR_MAKERS",
    "CONTRACT",
    "ENGINE_BUILDER",
    "ENGINE_IMPORTERS",
    "ENGINE_MODULE",
    "ENGINE_NAME",
    "LAUNCH_PATHS",
    "WAYS_IN",
    "Importer",
    "Touch",
]

_ASYNC = "vllm.v1.engine.async_llm"
_SYNC = "vllm.v1.engine.llm_engine"
_OUT = "vllm.v1.engine.output_processor"
_SERVE = "vllm.entrypoints.cli.serve"
_ARGS = "vllm.engine.arg_utils"
_OUTPUTS = "vllm.outputs"
_REGISTRY = "vllm.model_executor.models.registry"

CONTRACT: tuple[Touch, ...] = (
    # -- public names, as the package hands them on -------------------------------------------
    Touch("vllm", "__all__", "origin_vllm.__all__ holds every public name", kind="value"),
    Touch("vllm", "__version__", "the version check"),
    Touch(
        "vllm._version",
        "__version__",
        "the version check reads its file before anything of vLLM is imported",
        optional=True,  # a checkout that was never built has none; the metadata answers then
    ),
    # -- asynchronous engine -------------------------------------------------------------------
    Touch(
        _ASYNC,
        "AsyncLLM",
        "base of our AsyncLLM",
        kind="class",
        attributes=("output_processor", "input_processor", "engine_core", "vllm_config"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.__init__",
        "EnhancedAsyncLLM(model=...) builds its arguments; the output processor is made here",
        kind="function",
        positional=("vllm_config", "executor_class", "log_stats"),
        params=(
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
        complete=True,
        uses=("OutputProcessor",),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.from_vllm_config",
        "the server builds its engine with it; we wrap the one call of cls",
        kind="classmethod",
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
        only_called=("cls",),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.from_engine_args",
        "subclasses are built by it; we wrap the one call of cls",
        kind="classmethod",
        positional=("engine_args",),
        params=("start_engine_loop", "usage_context", "stat_loggers"),
        uses=("cls",),
        only_called=("cls",),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.add_request",
        "overridden: the collector it makes becomes ours",
        kind="coroutine",
        positional=("request_id", "prompt", "params"),
        params=(
            "arrival_time",
            "lora_request",
            "tokenization_kwargs",
            "trace_headers",
            "priority",
            "data_parallel_rank",
            "prompt_text",
        ),
        uses=("RequestOutputCollector", "_add_request", "_add_streaming_input_request"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM._add_request",
        "every request (n = 1) enters the output processor here, before it leaves for the engine",
        kind="coroutine",
        params=("request", "prompt", "parent_req", "index", "queue"),
        uses=("output_processor", "add_request", "add_request_async"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM._add_streaming_input_request",
        "a streamed input's collector is made here; its task inherits what add_request announced",
        kind="coroutine",
        uses=("_add_request", "create_task", "_input_stream_task"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.generate",
        "reads the collector that add_request returned; ours returns this generator",
        kind="async generator",
        positional=("prompt", "sampling_params", "request_id"),
        params=("lora_request", "priority"),
        uses=("add_request", "get_nowait", "get", "abort", "close"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.encode",
        "reads the collector that add_request returned; ours returns this generator",
        kind="async generator",
        positional=("prompt", "pooling_params", "request_id"),
        uses=("add_request", "get_nowait", "get"),
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.abort",
        "overridden: accepts integer request ids; the collector's aclose() calls it",
        kind="coroutine",
        positional=("request_id",),
        params=("internal",),
        complete=True,
    ),
    Touch(
        _ASYNC,
        "AsyncLLM.shutdown",
        "overridden: ends what we started",
        kind="function",
        params=("timeout",),
    ),
    Touch(
        _ASYNC,
        "InputStreamError",
        "aiter() unwraps it, as generate() does",
        kind="class",
        attributes=("cause",),
    ),
    # -- synchronous engine --------------------------------------------------------------------
    Touch(
        _SYNC,
        "LLMEngine",
        "base of our LLMEngine, which the engine that LLM made turns into",
        kind="class",
        attributes=("output_processor",),
        in_place=True,
    ),
    Touch(
        _SYNC,
        "LLMEngine.__init__",
        "makes the output processor that turns into ours",
        kind="function",
        uses=("OutputProcessor",),
    ),
    Touch(
        _SYNC,
        "LLMEngine.add_request",
        "overridden: extensions see requests",
        kind="function",
        positional=("request_id", "prompt", "params"),
        params=("lora_request", "prompt_text"),
        uses=("output_processor", "add_request"),
    ),
    Touch(
        _SYNC,
        "LLMEngine.step",
        "overridden: extensions see outputs",
        kind="function",
        uses=("request_outputs",),
    ),
    Touch(
        _SYNC,
        "LLMEngine.abort_request",
        "overridden: accepts integer request ids",
        kind="function",
        positional=("request_ids", "internal"),
        complete=True,
    ),
    Touch(
        _SYNC,
        "LLMEngine.from_engine_args",
        "subclasses are built by it",
        kind="classmethod",
        positional=("engine_args",),
        params=("usage_context", "stat_loggers"),
        uses=("cls",),
    ),
    # -- collectors and output processor ---------------------------------------------------------
    Touch(
        _OUT,
        "RequestOutputCollector",
        "base of our collector, which vLLM's collectors turn into",
        kind="class",
        attributes=("aggregate", "request_id", "output", "ready", "_input_stream_task"),
        in_place=True,
        # Streamed input since 0.33; ours is put over it (Adoption.adopt).
        subclasses=("StreamingInputOutputCollector",),
    ),
    Touch(
        _OUT,
        "RequestOutputCollector.__init__",
        "ours passes these on",
        kind="function",
        positional=("output_kind", "request_id"),
        complete=True,
    ),
    Touch(
        _OUT,
        "RequestOutputCollector.put",
        "overridden: outputs get metadata",
        kind="function",
        positional=("output",),
        complete=True,
    ),
    Touch(_OUT, "RequestOutputCollector.get", "aiter() reads with it", "coroutine", complete=True),
    Touch(
        _OUT,
        "RequestOutputCollector.get_nowait",
        "aiter() reads with it",
        kind="function",
        complete=True,
    ),
    Touch(
        _OUT,
        "RequestOutputCollector.close",
        "aclose() closes with it",
        kind="function",
        complete=True,
    ),
    Touch(
        _OUT,
        "OutputProcessor",
        "the one place where n = 1 and n > 1 meet; vLLM's turns into ours",
        kind="class",
        attributes=("request_states",),
        in_place=True,
    ),
    Touch(
        _OUT,
        "OutputProcessor.add_request",
        "overridden: the collector becomes ours here",
        kind="function",
        positional=("request", "prompt", "parent_req", "request_index", "queue"),
        complete=True,
        uses=("queue",),
    ),
    Touch(
        _OUT,
        "RequestState",
        "LLMEngine.abort_request finds the caller's id in it",
        kind="class",
        attributes=("external_req_id",),
    ),
    # -- what travels: requests and outputs -------------------------------------------------------
    Touch(
        "vllm.v1.engine",
        "EngineCoreRequest",
        "extensions are told of a request from it",
        kind="class",
        attributes=(
            "prompt_token_ids",
            "sampling_params",
            "pooling_params",
            "arrival_time",
            "lora_request",
        ),
    ),
    Touch(
        "vllm.v1.engine.parallel_sampling",
        "ParentRequest",
        "holds the parameters as given when n > 1",
        kind="class",
        attributes=("sampling_params",),
    ),
    Touch(
        "vllm.lora.request",
        "LoRARequest",
        "extensions are told the adapter's name",
        kind="class",
        attributes=("lora_name",),
    ),
    Touch(
        _OUTPUTS,
        "RequestOutput",
        "base of our output, which vLLM's outputs turn into",
        kind="class",
        attributes=("request_id", "prompt", "prompt_token_ids", "outputs", "finished", "metrics"),
        in_place=True,
    ),
    Touch(
        _OUTPUTS,
        "RequestOutput.add",
        "the collector merges deltas with it",
        kind="function",
        params=("next_output", "aggregate"),
        complete=True,
    ),
    Touch(
        _OUTPUTS,
        "CompletionOutput",
        "text of an output, and what a snapshot for extensions must copy",
        kind="class",
        attributes=("text", "token_ids", "logprobs", "finish_reason"),
    ),
    Touch(
        _OUTPUTS,
        "PoolingRequestOutput",
        "base of our pooling output, which vLLM's turn into",
        kind="class",
        attributes=("request_id", "outputs", "finished"),
        in_place=True,
        # Made by LLM.embed() and the like from a finished output, which may be ours.
        subclasses=(
            "EmbeddingRequestOutput",
            "ClassificationRequestOutput",
            "ScoringRequestOutput",
        ),
    ),
    Touch(_OUTPUTS, "STREAM_FINISHED", "a shared sentinel that must stay itself", kind="value"),
    Touch(
        "vllm.v1.metrics.stats",
        "RequestStateStats",
        "metadata['timings'] comes from it",
        kind="class",
        attributes=(
            "queued_ts",
            "scheduled_ts",
            "first_token_ts",
            "last_token_ts",
            "first_token_latency",
        ),
    ),
    # -- arguments -----------------------------------------------------------------------------
    Touch(
        _ARGS,
        "EngineArgs",
        "base of our EngineArgs; the CPU defaults fill these in",
        kind="class",
        attributes=(
            "model",
            "served_model_name",
            "enable_chunked_prefill",
            "kv_cache_memory_bytes",
            "disable_log_stats",
        ),
    ),
    Touch(
        _ARGS,
        "EngineArgs.create_engine_config",
        "overridden: the CPU defaults go in before it",
        kind="function",
        positional=("usage_context",),
        complete=True,
    ),
    Touch(
        _ARGS,
        "EngineArgs.__post_init__",
        "loads general plugins in every process, ours among them",
        kind="function",
        uses=("load_general_plugins",),
    ),
    Touch(
        _ARGS,
        "AsyncEngineArgs",
        "base of our AsyncEngineArgs",
        kind="class",
        attributes=("enable_log_requests",),
    ),
    Touch(
        _ARGS,
        "AsyncEngineArgs.from_cli_args",
        "the server makes its engine arguments with it, which loads our plugin in time",
        kind="classmethod",
        uses=("cls",),
    ),
    Touch("vllm.pooling_params", "PoolingParams", "tells pooling requests from generation"),
    Touch("vllm.sampling_params", "SamplingParams", "a request's parameters"),
    Touch(
        "vllm.sampling_params",
        "RequestOutputKind",
        "output kinds of a collector",
        kind="class",
        attributes=("CUMULATIVE", "DELTA", "FINAL_ONLY"),
    ),
    Touch(
        "vllm.usage.usage_lib",
        "UsageContext",
        "default of EnhancedAsyncLLM(model=...)",
        kind="class",
        attributes=("ENGINE_CONTEXT",),
    ),
    Touch("vllm.v1.executor", "Executor", "EnhancedAsyncLLM(model=...) asks it for the class"),
    Touch(
        "vllm.v1.executor",
        "Executor.get_class",
        "EnhancedAsyncLLM(model=...) asks it for the class",
        kind="staticmethod",
        positional=("vllm_config",),
        complete=True,
    ),
    Touch("vllm.platforms", "current_platform", "whether the CPU defaults apply"),
    Touch(
        "vllm.platforms.interface",
        "Platform.is_cpu",
        "whether the CPU defaults apply",
        kind="function",
        complete=True,
    ),
    # -- offline -------------------------------------------------------------------------------
    Touch(
        "vllm.entrypoints.llm",
        "LLM",
        "base of our LLM",
        kind="class",
        attributes=("llm_engine", "engine_class"),
    ),
    Touch(
        "vllm.entrypoints.llm",
        "LLM.__init__",
        "builds the engine that we adopt",
        kind="function",
        positional=("model",),
        params=("kv_cache_memory_bytes",),
        uses=("llm_engine", "LLMEngine", "from_engine_args"),
    ),
    # -- models --------------------------------------------------------------------------------
    Touch(_REGISTRY, "ModelRegistry", "shares its table with ours", uses=("_ModelRegistry",)),
    Touch(
        _REGISTRY,
        "_ModelRegistry",
        "base of our registry",
        kind="class",
        attributes=("models",),
    ),
    Touch(
        _REGISTRY,
        "_ModelRegistry.register_model",
        "overridden: registrations reach engine processes",
        kind="function",
        positional=("model_arch", "model_cls"),
        complete=True,
    ),
    # -- server --------------------------------------------------------------------------------
    Touch(_SERVE, "ServeSubcommand", "vLLM's serve command", kind="class"),
    Touch(
        _SERVE,
        "ServeSubcommand.cmd",
        "starts the server, on every launch path",
        kind="staticmethod",
        positional=("args",),
        complete=True,
        uses=("run_server", "run_headless", "run_multi_api_server"),
    ),
    Touch(
        _SERVE,
        "ServeSubcommand.validate",
        "vLLM's own checks of the flags",
        kind="function",
        positional=("args",),
        complete=True,
    ),
    Touch(
        _SERVE,
        "ServeSubcommand.subparser_init",
        "every flag of vllm serve",
        kind="function",
        positional=("subparsers",),
        complete=True,
        uses=("make_arg_parser",),
    ),
    Touch(
        "vllm.entrypoints.openai.cli_args",
        "FrontendArgs",
        "flags that the demo model, the banner and error sentences read",
        kind="class",
        attributes=("host", "port", "uds", "enable_auto_tool_choice", "tool_call_parser"),
        # We read the parsed flags and never import it.
        also=("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.common.cli_args"),
    ),
    Touch("vllm.utils.argparse_utils", "FlexibleArgumentParser", "vLLM's own parser", kind="class"),
    Touch(
        "vllm.logger",
        "configure_logging_from_args",
        "logging flags of vllm serve, since 0.31",
        kind="function",
        positional=("args",),
        complete=True,
        optional=True,
    ),
    # -- processes -----------------------------------------------------------------------------
    Touch(
        "vllm.plugins",
        "load_general_plugins",
        "how engine and API processes reach plugin.py",
        kind="function",
    ),
    Touch(
        "vllm.plugins",
        "DEFAULT_PLUGINS_GROUP",
        "the entry point group that pyproject.toml names",
        uses=("vllm.general_plugins",),
    ),
    Touch(
        "vllm.envs",
        "environment_variables",
        "variables that we set or read, under vLLM's names",
        uses=(
            "VLLM_PLUGINS",
            "VLLM_LOGGING_LEVEL",
            "VLLM_WORKER_MULTIPROC_METHOD",
            "VLLM_CPU_KVCACHE_SPACE",
            "VLLM_CPU_OMP_THREADS_BIND",
        ),
    ),
)

#: The module whose one name we replace in server processes (see seam/serving.py), and the name.
ENGINE_MODULE = _ASYNC
ENGINE_NAME = "AsyncLLM"

#: The function that builds the server's engine imports ``AsyncLLM`` by name when it is called. That
#: import is what we redirect (see seam/serving.py); it moved once, so any of these may hold it.
ENGINE_BUILDER = (
    "vllm.entrypoints.launchers.api_server.entry:build_async_engine_client_from_engine_args",
    "vllm.entrypoints.openai.api_server:build_async_engine_client_from_engine_args",
)

#: Methods of ``AsyncLLM`` that make a collector, and the only calls they may hand it to: both lead
#: to ``OutputProcessor.add_request``, where it becomes ours before an output can reach it.
COLLECTOR_MAKERS = ("AsyncLLM.add_request", "AsyncLLM._add_streaming_input_request")
WAYS_IN = ("_add_request", "output_processor.add_request")

#: What ``ServeSubcommand.cmd`` hands all flags to, and how our engine gets there. A new one may
#: build its engine in a way that the replaced name does not reach.
LAUNCH_PATHS = {
    "run_server": "one API server in this process; the builder runs here",
    "run_multi_api_server": "several API server processes; each loads plugin.py before the builder",
    "run_dp_supervisor": "an API server process for each rank; each loads plugin.py",
    "run_headless": "engine cores only: no AsyncLLM",
    "serve_grpc": "imported when called, after the name was replaced",
}

#: Every module of vLLM that takes the engine class by name the moment it is imported. A release
#: with another one fails the check until someone has looked at it.
ENGINE_IMPORTERS = (
    Importer(
        "vllm.engine.async_llm_engine",
        "vLLM's alias AsyncLLMEngine; `vllm serve` does not use it",
    ),
    Importer(
        "vllm.entrypoints.api_server",
        "the demonstration server of old, a program of its own (up to 0.26)",
    ),
    Importer(
        "vllm.entrypoints.grpc_server",
        "ServeSubcommand.cmd imports it when asked for --grpc (a deprecated alias since 0.30)",
        late=True,
    ),
    Importer(
        "vllm.entrypoints.launchers.grpc_server",
        "ServeSubcommand.cmd imports it when asked for --grpc (since 0.30)",
        late=True,
    ),
)
