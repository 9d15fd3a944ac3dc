"""Extensions are documented: hooks, events, settings, counters; and the page's code works."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from origin_vllm.extensions import (
    RequestEvent,
    SupervisorLimits,
    SupervisorStats,
    get_manager,
    hookspecs,
    reset_manager,
)
from origin_vllm.extensions.hookspecs import HOOKS
from origin_vllm.settings import ExtensionSettings

from .conftest import PATIENCE_S, failed, finished

PAGE = (Path(__file__).parents[2] / "docs" / "extensions.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_hooks() -> None:
    for hook, argument in HOOKS.items():
        assert f"| `{hook}({argument})` |" in PAGE
        assert inspect.getdoc(getattr(hookspecs, hook))
    assert set(re.findall(r"origin_\w+(?=\()", PAGE)) <= set(HOOKS)


def test_events() -> None:
    for event in get_args(RequestEvent):
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{event.__name__}` |"))
        assert re.findall(r"`(\w+)`", row)[1:] == [field.name for field in fields(event)]


def test_settings_and_counters() -> None:
    for field in ExtensionSettings.model_fields:
        assert re.search(rf"^{field} = ", PAGE, re.MULTILINE), field
    for field in fields(SupervisorStats):
        assert f"`{field.name}`" in PAGE


def test_defaults_are_those_of_the_settings() -> None:
    settings, limits = ExtensionSettings(), SupervisorLimits()
    for field in ("timeout_s", "queue_size", "max_failures", "cooldown_s"):
        assert getattr(settings, field) == getattr(limits, field)
        assert f"{field} = {getattr(limits, field)}" in PAGE


def test_the_code_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reset_manager()
    alerts = []

    async def alert(*about: object) -> None:
        alerts.append(about)

    names: dict[str, object] = {"alert": alert}
    for block in BLOCKS:
        exec(block, names)
    audit = names["Audit"]()  # type: ignore[operator]
    manager = get_manager()
    manager.register("audit", audit)
    manager.emit("origin_request_finished", finished("r1"))
    manager.emit("origin_request_failed", failed("r2"))
    assert manager.close(PATIENCE_S)
    audit.file.close()
    assert (tmp_path / "audit.log").read_text() == "r1 0.500 s\n"
    assert alerts == [("r2", None, True)]
    assert capsys.readouterr().out == "0\nRequestFinished r1\nRequestFailed r2\n"
    reset_manager()
