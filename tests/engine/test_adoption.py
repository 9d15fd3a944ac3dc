"""Objects of vLLM's that become ours; without an engine."""

from __future__ import annotations

import logging

import pytest

from origin_vllm.engine.adoption import become


class Made:
    pass


class Ours(Made):
    mark = None


class Slotted:
    __slots__ = ("value",)


class OursSlotted(Slotted):
    pass


def test_become() -> None:
    made = Made()
    assert become(made, Ours, mark=1)
    assert type(made) is Ours
    assert made.mark == 1  # type: ignore[attr-defined]


def test_a_layout_that_does_not_fit_is_left_alone_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            made = Slotted()
            assert not become(made, OursSlotted)
            assert type(made) is Slotted
    assert len(caplog.records) == 1
    assert "going on as plain vLLM" in caplog.text


@pytest.mark.engine
async def test_a_collector_of_vllms_own_making_keeps_its_behaviour() -> None:
    """vLLM 0.33 has a collector class for streamed input; ours is put over it."""
    import weakref

    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.output_processor import RequestOutputCollector

    from origin_vllm.engine.collector import Adoption, EnhancedRequestOutputCollector
    from origin_vllm.engine.outputs import RequestRecord

    class Theirs(RequestOutputCollector):
        def put(self, output: object) -> None:
            self.seen = output
            super().put(output)

    class Engine:
        aborted = ""

        async def abort(self, request_id: str, internal: bool) -> None:
            self.aborted = request_id

    engine = Engine()
    collector = Theirs(RequestOutputKind.DELTA, "1")
    pending = Adoption(EnhancedRequestOutputCollector, weakref.ref(engine), RequestRecord("1"))
    pending.adopt(collector)
    pending.adopt(collector)
    assert isinstance(collector, EnhancedRequestOutputCollector)
    assert isinstance(collector, Theirs)
    error = ValueError("passes both")
    collector.put(error)
    assert collector.seen is error
    with pytest.raises(ValueError, match="passes both"):
        async for _ in collector.aiter():
            pass
    assert engine.aborted == "1"
