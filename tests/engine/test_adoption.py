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
