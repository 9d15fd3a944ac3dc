"""``EnhancedAsyncLLM``: the engine that the extras live in."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from origin_vllm.engine.arg_utils import AsyncEngineArgs
from origin_vllm.engine.async_llm_engine import AsyncLLM
from origin_vllm.engine.collector import EnhancedRequestOutputCollector, adoption
from origin_vllm.engine.outputs import EnhancedRequestOutput
from origin_vllm.engine.signatures import like
from origin_vllm.engine.stages import NO_STAGES
from origin_vllm.errors import ConfigError
from origin_vllm.seam.engine import AsyncLLM as _AsyncLLM
from origin_vllm.seam.engine import Executor, UsageContext
from origin_vllm.settings import CacheConfig, HandlerConfig, get_settings

logger = logging.getLogger(__name__)

# What vLLM's constructor takes beside the three that an engine configuration answers.
_CONSTRUCTOR = frozenset(inspect.signature(_AsyncLLM.__init__).parameters) - {
    "self",
    "vllm_config",
    "executor_class",
    "log_stats",
}


class EnhancedAsyncLLM(AsyncLLM):
    """vLLM's asynchronous engine whose outputs carry ``metadata`` and ``text``.

    Three ways to build it, all of vLLM's included::

        EnhancedAsyncLLM(model="...", handler_config=HandlerConfig(), max_model_len=4096)
        EnhancedAsyncLLM.from_engine_args(AsyncEngineArgs(model="..."))
        EnhancedAsyncLLM.from_vllm_config(vllm_config)

    Args:
        vllm_config: vLLM's configuration, or the model's name or path.
        executor_class: With ``vllm_config``: as vLLM's.
        log_stats: With ``vllm_config``: as vLLM's.
        handler_config: Which extras are on. None takes the ``handler`` section of the settings;
            ``HandlerConfig(cache=None, nlp=None, similarity=None)`` is plain vLLM.
        **kwargs: vLLM's constructor arguments and, with a model instead of a ``vllm_config``, every
            field of :class:`AsyncEngineArgs`.

    Raises:
        ConfigError: ``handler_config`` asks for something this release can't do.
        TypeError: An argument that neither vLLM's constructor nor ``AsyncEngineArgs`` has.
    """

    _collector_class = EnhancedRequestOutputCollector

    @like(
        _AsyncLLM.__init__,
        optional=("vllm_config", "executor_class", "log_stats"),
        rest="engine_args",
        model=None,
        handler_config=None,
    )
    def __init__(
        self,
        vllm_config: Any = None,
        executor_class: Any = None,
        log_stats: bool | None = None,
        *args: Any,
        handler_config: HandlerConfig | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # First, because a wrong configuration should not cost an engine's start.
        self.handler_config = _handler_config(handler_config)
        self.stages = NO_STAGES
        if vllm_config is None or isinstance(vllm_config, str):
            if isinstance(vllm_config, str):
                kwargs["model"] = vllm_config
            constructor = {name: kwargs.pop(name) for name in _CONSTRUCTOR & kwargs.keys()}
            engine_args = AsyncEngineArgs(**kwargs)
            vllm_config = engine_args.create_engine_config(
                constructor.get("usage_context", UsageContext.ENGINE_CONTEXT)
            )
            if log_stats is None:
                log_stats = not engine_args.disable_log_stats
            constructor.setdefault("log_requests", engine_args.enable_log_requests)
            kwargs = constructor
        super().__init__(
            vllm_config,
            executor_class or Executor.get_class(vllm_config),
            True if log_stats is None else log_stats,
            *args,
            **kwargs,
        )

    @classmethod
    @like(_AsyncLLM.from_vllm_config.__func__, handler_config=None)
    def from_vllm_config(
        cls, *args: Any, handler_config: HandlerConfig | dict[str, Any] | None = None, **kwargs: Any
    ) -> EnhancedAsyncLLM:
        """As vLLM's, plus ``handler_config``."""
        return _built_by(_AsyncLLM.from_vllm_config, cls, handler_config)(*args, **kwargs)

    @classmethod
    @like(_AsyncLLM.from_engine_args.__func__, handler_config=None)
    def from_engine_args(
        cls, *args: Any, handler_config: HandlerConfig | dict[str, Any] | None = None, **kwargs: Any
    ) -> EnhancedAsyncLLM:
        """As vLLM's, plus ``handler_config``."""
        return _built_by(_AsyncLLM.from_engine_args, cls, handler_config)(*args, **kwargs)

    def _always_adopts(self) -> bool:
        return True

    @like(_AsyncLLM._add_request)
    async def _add_request(
        self, request: Any, prompt: str | None, parent_req: Any, index: int, queue: Any
    ) -> None:
        # Every rendered request passes here (n > 1, streamed input and pooling included); those
        # that are one whole generation may be answered without one.
        if self.stages.identify is None or parent_req is not None or request.resumable:
            await super()._add_request(request, prompt, parent_req, index, queue)
        else:
            await self._add_enhanced_request(request, prompt, queue)

    async def _add_enhanced_request(self, request: Any, prompt: str | None, collector: Any) -> None:
        """Take a rendered request through the stages (see :mod:`origin_vllm.engine.stages`)."""
        if (pending := adoption.get()) is not None:
            pending.adopt(collector)  # a stage sees our collector, and so does who waits on it
        stages, name = self.stages, "identify"
        try:
            identity = stages.identify(request) if stages.identify is not None else None
            if identity is not None:
                answer = None
                if stages.look_up is not None:
                    name = "look_up"
                    answer = await stages.look_up(identity)
                if answer is None and stages.join is not None:
                    name = "join"
                    answer = stages.join(identity)
                if answer is not None:
                    name = "answer"
                    await answer.give(request, prompt, collector)
                    return
                if stages.store is not None:
                    name = "store"
                    stages.store(identity, collector)
        except Exception:
            # An extra failed; the user still has vLLM.
            stages.errors[name] += 1
            logger.exception("Stage %s failed; request %s is generated.", name, request.request_id)
        await super()._add_request(request, prompt, None, 0, collector)

    def generate_enhanced(
        self,
        prompt: Any,
        sampling_params: Any,
        request_id: str | int | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[EnhancedRequestOutput, None]:
        """:meth:`generate`, with a request id made up if none is given."""
        if request_id is None:
            request_id = uuid4().hex
        return self.generate(prompt, sampling_params, request_id, **kwargs)


def _built_by(
    classmethod_: Any, cls: type[EnhancedAsyncLLM], handler_config: Any
) -> Callable[..., Any]:
    """vLLM's own class method, with our argument added to the one call of ``cls`` it ends in."""
    return functools.partial(
        classmethod_.__func__, functools.partial(cls, handler_config=handler_config)
    )


def _handler_config(given: HandlerConfig | dict[str, Any] | None) -> HandlerConfig:
    if given is None:
        config = get_settings().handler
    elif isinstance(given, HandlerConfig):
        config = given
    elif isinstance(given, dict):
        try:
            config = HandlerConfig.model_validate(given)
        except ValidationError as error:
            problems = (
                ".".join(map(str, ("handler_config", *one["loc"]))) + f": {one['msg']}"
                for one in error.errors()
            )
            raise ConfigError("; ".join(problems)) from None
    else:
        raise ConfigError(
            f"handler_config: {type(given).__name__} is not allowed; pass a HandlerConfig, a dict "
            "of its fields, or None."
        )
    for name in ("nlp", "similarity"):
        if getattr(config, name) is not None:
            raise ConfigError(
                f"handler_config.{name}: this release has no {name} processing yet; only None is "
                "allowed.",
                remedy=f"HandlerConfig({name}=None)",
            )
    if config.cache not in (None, CacheConfig()):
        raise ConfigError(
            "handler_config.cache: this release stores no answers yet, so its settings would have "
            "no effect; only CacheConfig() and None are allowed.",
            remedy="HandlerConfig()",
        )
    return config
