"""Our classes stand in for vLLM's: names, bases, signatures, pickles."""

from __future__ import annotations

import importlib
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import origin_vllm
from origin_vllm.seam.contract import CONTRACT

pytestmark = pytest.mark.engine

#: Public names of vLLM that are ours, and therefore derived.
EXTENDED = ("LLM", "LLMEngine", "EngineArgs", "AsyncEngineArgs", "AsyncLLMEngine")

#: Ours and the one of vLLM's that it stands in for, as ``module:name``.
STAND_INS = {
    "origin_vllm.entrypoints.llm:LLM": "vllm.entrypoints.llm:LLM",
    "origin_vllm.engine.llm_engine:LLMEngine": "vllm.v1.engine.llm_engine:LLMEngine",
    "origin_vllm.engine.async_llm_engine:AsyncLLM": "vllm.v1.engine.async_llm:AsyncLLM",
    "origin_vllm.engine.async_llm_engine:AsyncLLMEngine": (
        "vllm.engine.async_llm_engine:AsyncLLMEngine"
    ),
    "origin_vllm.engine.enhanced:EnhancedAsyncLLM": "vllm.v1.engine.async_llm:AsyncLLM",
    "origin_vllm.engine.arg_utils:EngineArgs": "vllm.engine.arg_utils:EngineArgs",
    "origin_vllm.engine.arg_utils:AsyncEngineArgs": "vllm.engine.arg_utils:AsyncEngineArgs",
    "origin_vllm.engine.collector:EnhancedRequestOutputCollector": (
        "vllm.v1.engine.output_processor:RequestOutputCollector"
    ),
    "origin_vllm.engine.collector:TappedRequestOutputCollector": (
        "vllm.v1.engine.output_processor:RequestOutputCollector"
    ),
    "origin_vllm.engine.collector:AdoptingOutputProcessor": (
        "vllm.v1.engine.output_processor:OutputProcessor"
    ),
    "origin_vllm.engine.outputs:EnhancedRequestOutput": "vllm.outputs:RequestOutput",
    "origin_vllm.engine.outputs:EnhancedPoolingRequestOutput": "vllm.outputs:PoolingRequestOutput",
    "origin_vllm.model_executor.models:OriginModelRegistry": (
        "vllm.model_executor.models.registry:_ModelRegistry"
    ),
}

#: Overrides that must exist, so that a renamed method of ours does not pass unseen.
MUST_OVERRIDE = {
    "LLM": {"__init__"},
    "LLMEngine": {"add_request", "abort_request", "step"},
    "AsyncLLM": {"__init__", "add_request", "generate", "encode", "abort", "shutdown"},
    "EnhancedAsyncLLM": {"__init__", "from_engine_args", "from_vllm_config"},
    "EnhancedRequestOutputCollector": {"__init__", "put"},
    "AdoptingOutputProcessor": {"add_request"},
}

#: What a call may hand on by position, with a value for it.
MARK = object()


#: A folder that exists, so that vLLM does not ask a hub for the model.
HERE = str(Path(__file__).parent)


def load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


every_stand_in = pytest.mark.parametrize(
    ("ours", "theirs"), STAND_INS.items(), ids=[one.partition(":")[2] for one in STAND_INS]
)


def overrides(ours: type, theirs: type) -> dict[str, tuple[Any, Any]]:
    """Methods of ours, and of our classes between it and vLLM's, with the ones they replace."""
    found = {}
    for one in ours.__mro__:
        if one.__module__.partition(".")[0] != "origin_vllm":
            continue
        for name, value in vars(one).items():
            # What every object has (object.__init__ too) is nobody's to replace.
            replaced = inspect.getattr_static(theirs, name, None)
            if replaced is getattr(object, name, None) or not callable(getattr(theirs, name, None)):
                continue
            if inspect.isfunction(getattr(value, "__func__", value)):
                found.setdefault(name, (value, replaced))
    return found


def unshown(function: Any) -> inspect.Signature:
    """The signature in the code, not the one that ``like()`` shows."""
    function = getattr(function, "__func__", function)
    shown = function.__dict__.pop("__signature__", None)
    try:
        return inspect.signature(function)
    finally:
        if shown is not None:
            function.__signature__ = shown


def named(signature: inspect.Signature) -> list[inspect.Parameter]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one for one in signature.parameters.values() if one.kind not in variadic]


@every_stand_in
def test_subclass(vllm: ModuleType, ours: str, theirs: str) -> None:
    assert issubclass(load(ours), load(theirs))
    assert load(ours) is not load(theirs)


@every_stand_in
def test_overrides_accept_what_vllm_accepts(vllm: ModuleType, ours: str, theirs: str) -> None:
    found = overrides(load(ours), load(theirs))
    assert MUST_OVERRIDE.get(ours.partition(":")[2], set()) <= found.keys()
    for name, (our_method, their_method) in found.items():
        where = f"{ours}.{name}"
        assert isinstance(our_method, classmethod) == isinstance(their_method, classmethod), where
        signature = inspect.signature(getattr(their_method, "__func__", their_method))
        parameters = named(signature)
        for accepts in (
            unshown(our_method),
            inspect.signature(getattr(our_method, "__func__", our_method)),
        ):
            # As many by position as vLLM takes, the rest by name.
            given = [one for one in parameters if one.kind is not one.KEYWORD_ONLY]
            only = {one.name: MARK for one in parameters if one.kind is one.KEYWORD_ONLY}
            accepts.bind(*(MARK for _ in given), **only)
            # All by name, but the first, which is self or cls.
            by_name = {
                one.name: MARK for one in parameters[1:] if one.kind is not one.POSITIONAL_ONLY
            }
            bound = accepts.bind(MARK, **by_name)
            reached = set(bound.arguments) | set(bound.arguments.get("kwargs", {}))
            assert set(by_name) <= reached, where
            # Nothing that vLLM doesn't ask for.
            needed = [one for one in parameters if one.default is one.empty]
            accepts.bind(*(MARK for _ in needed))


@every_stand_in
def test_parameters_keep_their_places(vllm: ModuleType, ours: str, theirs: str) -> None:
    """A value given by position must reach the parameter it is meant for."""
    for name, (our_method, their_method) in overrides(load(ours), load(theirs)).items():
        signature = inspect.signature(getattr(their_method, "__func__", their_method))
        places = [one.name for one in named(signature) if one.kind is not one.KEYWORD_ONLY]
        written = [
            one.name for one in named(unshown(our_method)) if one.kind is not one.KEYWORD_ONLY
        ]
        assert places[: len(written)] == written, f"{ours}.{name}"


@every_stand_in
def test_shown_signatures_have_all_of_vllm(vllm: ModuleType, ours: str, theirs: str) -> None:
    """What ``help()`` and editors show; ours may add keyword-only parameters."""
    for name, (our_method, their_method) in overrides(load(ours), load(theirs)).items():
        shown = inspect.signature(getattr(our_method, "__func__", our_method))
        base = inspect.signature(getattr(their_method, "__func__", their_method))
        added = [shown.parameters[one] for one in shown.parameters.keys() - base.parameters.keys()]
        wildcards = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        extra = [one for one in added if one.kind not in wildcards]
        assert all(one.kind is one.KEYWORD_ONLY for one in extra), f"{ours}.{name}"
        assert base.parameters.keys() <= shown.parameters.keys(), f"{ours}.{name}"


@every_stand_in
def test_coroutines_stay_coroutines(vllm: ModuleType, ours: str, theirs: str) -> None:
    """An ``async def`` is awaited; ``generate`` may be plain, since it returns vLLM's generator."""
    for name, (our_method, their_method) in overrides(load(ours), load(theirs)).items():
        function = getattr(our_method, "__func__", our_method)
        base = getattr(their_method, "__func__", their_method)
        assert inspect.iscoroutinefunction(function) == inspect.iscoroutinefunction(base), (
            f"{ours}.{name}"
        )


@every_stand_in
def test_class_can_be_changed_in_place(vllm: ModuleType, ours: str, theirs: str) -> None:
    """Where the contract says that we change an instance's class, Python must allow it."""
    if not any(touch.id == theirs and touch.in_place for touch in CONTRACT):
        return
    instance = object.__new__(load(theirs))
    instance._input_stream_task = None  # a collector's __del__ asks for it
    instance.__class__ = load(ours)
    instance.something_of_ours = 1
    assert type(instance) is load(ours)


def test_every_public_name_is_ours_too(vllm: ModuleType) -> None:
    assert set(vllm.__all__) <= set(origin_vllm.__all__)
    for name in origin_vllm.__all__:
        assert getattr(origin_vllm, name) is not None
    assert set(origin_vllm.__all__) <= set(dir(origin_vllm))


def test_what_we_do_not_extend_is_vllms_own(vllm: ModuleType) -> None:
    ours = {*EXTENDED, "ModelRegistry", "__version__", "__version_tuple__"}
    assert ours <= set(vllm.__all__)
    for name in set(vllm.__all__) - ours:
        assert getattr(origin_vllm, name) is getattr(vllm, name), name


def test_what_we_extend_is_derived(vllm: ModuleType) -> None:
    for name in EXTENDED:
        ours, theirs = getattr(origin_vllm, name), getattr(vllm, name)
        assert issubclass(ours, theirs), name
        assert ours is not theirs, name
    assert isinstance(origin_vllm.ModelRegistry, type(vllm.ModelRegistry))
    assert origin_vllm.ModelRegistry.models is vllm.ModelRegistry.models
    assert issubclass(origin_vllm.EnhancedAsyncLLM, origin_vllm.AsyncLLM)
    assert origin_vllm.AsyncLLM is origin_vllm.AsyncLLMEngine


def test_unknown_names_are_attribute_errors(vllm: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no attribute 'LLMM'"):
        _ = origin_vllm.LLMM
    with pytest.raises(ImportError):
        exec("from origin_vllm import envs_that_never_were")


@pytest.mark.parametrize("name", sorted(origin_vllm.__all__))
def test_pickled_by_name(vllm: ModuleType, name: str) -> None:
    value = getattr(origin_vllm, name)
    if isinstance(value, type) or inspect.isfunction(value):
        assert pickle.loads(pickle.dumps(value)) is value


def completion() -> Any:
    from vllm import CompletionOutput

    return CompletionOutput(
        index=0,
        text="four",
        token_ids=[4],
        cumulative_logprob=None,
        logprobs=None,
        finish_reason="stop",
    )


def request_output(kind: Any) -> Any:
    return kind(
        request_id="7",
        prompt="2 + 2 =",
        prompt_token_ids=[2, 2],
        prompt_logprobs=None,
        outputs=[completion()],
        finished=True,
    )


def pooling_output(kind: Any) -> Any:
    import torch
    from vllm import PoolingOutput

    given = {
        "request_id": "7",
        "outputs": PoolingOutput(torch.ones(2)),
        "prompt_token_ids": [2, 2],
        "num_cached_tokens": 0,
        "finished": True,
    }
    return kind(**{one: given[one] for one in inspect.signature(kind).parameters if one in given})


INSTANCES: dict[str, Callable[[], Any]] = {
    "SamplingParams": lambda: origin_vllm.SamplingParams(temperature=0.5, seed=7, stop=["x"]),
    "PoolingParams": lambda: origin_vllm.PoolingParams(),
    "EngineArgs": lambda: origin_vllm.EngineArgs(model=HERE, max_model_len=128),
    "AsyncEngineArgs": lambda: origin_vllm.AsyncEngineArgs(model=HERE, enable_log_requests=True),
    "RequestOutput": lambda: request_output(origin_vllm.RequestOutput),
    "EnhancedRequestOutput": lambda: request_output(origin_vllm.EnhancedRequestOutput),
    "PoolingRequestOutput": lambda: pooling_output(origin_vllm.PoolingRequestOutput),
    "EnhancedPoolingRequestOutput": lambda: pooling_output(
        origin_vllm.EnhancedPoolingRequestOutput
    ),
}


@pytest.mark.parametrize("name", INSTANCES)
def test_pickled_instances(vllm: ModuleType, name: str) -> None:
    before = INSTANCES[name]()
    after = pickle.loads(pickle.dumps(before))
    assert type(after) is type(before) is getattr(origin_vllm, name)
    assert repr(after) == repr(before)


def test_pickled_metadata(vllm: ModuleType) -> None:
    from origin_vllm.engine.outputs import RequestRecord

    before = request_output(origin_vllm.EnhancedRequestOutput)
    before._record = RequestRecord("7", {"cached": True, "tier": "memory"})
    after = pickle.loads(pickle.dumps(before))
    assert after.metadata == before.metadata
    assert (after.metadata["cached"], after.metadata["tier"]) == (True, "memory")
    assert after.text == "four"
