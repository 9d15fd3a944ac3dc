"""The ways to build an ``EnhancedAsyncLLM``, as far as the engine's start."""

from __future__ import annotations

from typing import Any

import pytest

from origin_vllm.errors import ConfigError

pytestmark = pytest.mark.engine


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What vLLM's constructor was called with; it starts nothing."""
    import importlib
    import inspect

    from vllm.v1.engine.async_llm import AsyncLLM

    importlib.import_module("origin_vllm.engine.enhanced")  # reads vLLM's signature
    calls: list[dict[str, Any]] = []
    signature = inspect.signature(AsyncLLM.__init__)

    def record(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        calls.append(bound.arguments)
        self.output_processor = None

    monkeypatch.setattr(AsyncLLM, "__init__", record)
    monkeypatch.setattr(AsyncLLM, "shutdown", lambda self, *args, **kwargs: None)
    return calls


def test_from_a_model(started: list[dict[str, Any]], model: str) -> None:
    from origin_vllm import EnhancedAsyncLLM, HandlerConfig

    engine = EnhancedAsyncLLM(
        model=model,
        handler_config=HandlerConfig(cache=None),
        max_model_len=256,
        disable_log_stats=True,
        start_engine_loop=False,
    )
    (call,) = started
    assert call["vllm_config"].model_config.max_model_len == 256
    assert call["log_stats"] is False
    assert call["start_engine_loop"] is False
    assert engine.handler_config.cache is None


def test_from_a_model_by_position(started: list[dict[str, Any]], model: str) -> None:
    from origin_vllm import EnhancedAsyncLLM

    EnhancedAsyncLLM(model)
    (call,) = started
    assert call["vllm_config"].model_config.model == model
    assert call["log_stats"] is True


@pytest.mark.parametrize("way", ["from_engine_args", "from_vllm_config"])
def test_class_methods(started: list[dict[str, Any]], model: str, way: str) -> None:
    from origin_vllm import AsyncEngineArgs, EnhancedAsyncLLM, HandlerConfig

    class Mine(EnhancedAsyncLLM):
        pass

    source: Any = AsyncEngineArgs(model=model)
    if way == "from_vllm_config":
        source = source.create_engine_config()
    engine = getattr(Mine, way)(source, handler_config={"cache": None}, stat_loggers=[])
    assert type(engine) is Mine
    assert engine.handler_config == HandlerConfig(cache=None)
    assert started[0]["stat_loggers"] == []


def test_settings_are_the_default(
    started: list[dict[str, Any]], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from origin_vllm import AsyncEngineArgs, EnhancedAsyncLLM
    from origin_vllm.settings import reset_settings

    monkeypatch.setenv("ORIGIN_VLLM_HANDLER__CACHE", "none")
    reset_settings()
    try:
        engine = EnhancedAsyncLLM.from_engine_args(AsyncEngineArgs(model=model))
        assert engine.handler_config.cache is None
    finally:
        monkeypatch.undo()
        reset_settings()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cach": None}, "handler_config.cach: Extra inputs are not permitted"),
        ({"cache": {"max_bytes": "much"}}, "handler_config.cache.max_bytes: "),
        (7, "handler_config: int is not allowed"),
        ({"cache": {"ttl_s": 5.0}}, "handler_config.cache: this release stores no answers yet"),
        ({"nlp": {}}, "handler_config.nlp: this release has no nlp processing yet"),
        ({"similarity": {}}, "handler_config.similarity: "),
    ],
)
def test_wrong_handler_configs(model: str, given: Any, said: str) -> None:
    from origin_vllm import EnhancedAsyncLLM

    with pytest.raises(ConfigError, match=said):
        EnhancedAsyncLLM(model=model, handler_config=given)


def test_the_shown_signature_takes_the_documented_calls() -> None:
    import inspect

    from origin_vllm import EnhancedAsyncLLM

    shown = inspect.signature(EnhancedAsyncLLM)
    shown.bind(model="m", handler_config=None, max_model_len=5)
    shown.bind("config", "executor", True)


def test_unknown_arguments_are_refused(model: str) -> None:
    from origin_vllm import EnhancedAsyncLLM

    with pytest.raises(TypeError, match="max_modle_len"):
        EnhancedAsyncLLM(model=model, max_modle_len=5)
