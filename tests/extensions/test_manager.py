from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace

import pytest

from origin_vllm.errors import ExtensionError
from origin_vllm.extensions import (
    ExtensionManager,
    get_manager,
    load_extensions,
    reset_manager,
)

from .conftest import PATIENCE_S, added, extension_threads, failed, finished, output

MakeManager = Callable[..., ExtensionManager]


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, object]] = []

    def origin_engine_started(self, engine: object) -> None:
        self.seen.append(("started", engine))

    def origin_request_added(self, event: object) -> None:
        self.seen.append(("added", event))

    async def origin_request_finished(self, event: object) -> None:
        self.seen.append(("finished", event))


def test_nobody_listens(make_manager: MakeManager) -> None:
    manager = make_manager()
    assert manager.active is False
    assert not manager.has("origin_output")
    manager.emit("origin_output", output())
    assert manager.close()
    assert manager.stats() == {}


def test_told_in_order_and_only_what_is_asked_for(make_manager: MakeManager) -> None:
    manager, recorder, events = make_manager(), Recorder(), [added(), finished(), added("r2")]
    manager.register("recorder", recorder)
    assert manager.active is True
    assert manager.has("origin_request_added")
    assert not manager.has("origin_output")
    manager.emit("origin_engine_started", "the engine")
    manager.emit("origin_request_added", events[0])
    manager.emit("origin_output", output())
    manager.emit("origin_request_finished", events[1])
    manager.emit("origin_request_added", events[2])
    manager.emit("origin_no_such_hook", output())
    assert manager.close(PATIENCE_S)
    assert recorder.seen == [
        ("started", "the engine"),
        ("added", events[0]),
        ("finished", events[1]),
        ("added", events[2]),
    ]
    stats = manager.stats()["recorder"]
    assert (stats.calls, stats.errors, stats.dropped, stats.state) == (4, 0, 0, "ok")


def test_plain_callable_gets_every_event(make_manager: MakeManager) -> None:
    manager = make_manager()
    seen: list[object] = []
    manager.register("list", seen.append)
    events = [added(), output(), finished(), failed()]
    for hook, event in zip(
        ["request_added", "output", "request_finished", "request_failed"], events, strict=True
    ):
        manager.emit(f"origin_{hook}", event)
    manager.emit("origin_engine_stopped", object())
    assert manager.close(PATIENCE_S)
    assert seen == events


def test_events_are_frozen() -> None:
    for event in (added(), output(), finished(), failed()):
        with pytest.raises(FrozenInstanceError):
            event.request_id = "other"  # type: ignore[misc]
        assert not hasattr(event, "__dict__")


def test_one_that_raises_leaves_the_others_alone(
    make_manager: MakeManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager = make_manager(max_failures=100)
    seen: list[object] = []

    def bad(event: object) -> None:
        raise SystemExit if len(seen) % 2 else ValueError

    manager.register("bad", bad)
    manager.register("good", seen.append)
    for _ in range(10):
        manager.emit("origin_output", output())
    assert manager.close(PATIENCE_S)
    assert len(seen) == 10
    stats = manager.stats()
    assert (stats["bad"].calls, stats["bad"].errors) == (10, 10)
    assert stats["good"].errors == 0
    assert len(caplog.records) <= 2


def test_names(make_manager: MakeManager) -> None:
    manager = make_manager()
    first, second = Recorder(), Recorder()
    manager.register("recorder", first)
    manager.register("print", print)
    manager.register("again", first)  # the same object under two names is told twice
    with pytest.raises(ExtensionError, match=r"already \(from code\)"):
        manager.register("recorder", second)
    manager.register("recorder", second, replace=True)
    manager.unregister("print")
    assert manager.names() == ["recorder", "again"]
    assert manager.extensions() == {"recorder": second, "again": first}
    assert manager.extensions("settings") == {}
    with pytest.raises(ExtensionError, match="did you mean 'recorder'"):
        manager.unregister("recoder")
    for name in ("", 3):
        with pytest.raises(ExtensionError, match="name"):
            manager.register(name, print)  # type: ignore[arg-type]
    manager.unregister("recorder")
    manager.unregister("again")
    assert manager.active is False


def test_replaced_and_removed_ones_hear_nothing_more(make_manager: MakeManager) -> None:
    manager = make_manager()
    old: list[object] = []
    new: list[object] = []
    entered, release = threading.Event(), threading.Event()

    def slow(event: object) -> None:
        old.append(event)
        entered.set()
        release.wait(PATIENCE_S)

    manager.register("x", slow)
    observer = manager._entries["x"].observer
    for _ in range(3):
        manager.emit("origin_output", output())
    assert entered.wait(PATIENCE_S)
    manager.register("x", new.append, replace=True)
    manager.emit("origin_output", output())
    observer.offer("origin_output", output())  # an emit that was under way
    release.set()
    assert observer.close(PATIENCE_S)
    assert manager.close(PATIENCE_S)
    assert (len(old), len(new)) == (1, 1)


def test_from_many_threads_while_extensions_come_and_go(make_manager: MakeManager) -> None:
    manager = make_manager(queue_size=100_000)
    seen: list[str] = []
    manager.register("list", lambda event: seen.append(event.request_id))
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            manager.register("guest", lambda event: None)
            manager.unregister("guest")

    def emit(thread: int) -> None:
        for i in range(300):
            manager.emit("origin_output", output(f"{thread}/{i}"))

    churner = threading.Thread(target=churn)
    emitters = [threading.Thread(target=emit, args=(n,)) for n in range(4)]
    for thread in (churner, *emitters):
        thread.start()
    for thread in emitters:
        thread.join(PATIENCE_S)
    stop.set()
    churner.join(PATIENCE_S)
    assert manager.close(PATIENCE_S)
    for n in range(4):  # all there, in the order of their thread
        assert [x for x in seen if x.startswith(f"{n}/")] == [f"{n}/{i}" for i in range(300)]


async def test_emit_on_an_event_loop_does_not_wait(make_manager: MakeManager) -> None:
    manager = make_manager()
    release = threading.Event()
    manager.register("slow", lambda event: release.wait(PATIENCE_S))
    for _ in range(5):
        manager.emit("origin_output", output())
    assert manager.stats()["slow"].calls == 0
    release.set()
    assert manager.close(PATIENCE_S)
    assert manager.stats()["slow"].calls == 5


def test_emit_never_raises(
    make_manager: MakeManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manager = make_manager()
    manager.register("x", print)
    monkeypatch.setattr(manager._entries["x"].observer, "offer", lambda *_: 1 / 0)
    manager.emit("origin_output", output())
    assert "ZeroDivisionError" in caplog.text


def test_one_stuck_extension_takes_no_time_from_the_others(
    make_manager: MakeManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager = make_manager()
    entered, release, done = threading.Event(), threading.Event(), threading.Event()

    def stuck(event: object) -> None:
        entered.set()
        release.wait(PATIENCE_S)

    manager.register("stuck", stuck)
    manager.register("fine", lambda event: done.set())
    for _ in range(2):
        manager.emit("origin_output", output())
    assert entered.wait(PATIENCE_S)
    assert done.wait(PATIENCE_S)
    assert not manager.close(0.05)
    assert "'stuck': still busy" in caplog.text
    assert "'fine'" not in caplog.text
    assert manager.stats()["stuck"].dropped == 1
    release.set()


# -- loading --------------------------------------------------------------------------------------

MODULE = """
import origin_vllm

seen = []

class Audit:
    def origin_output(self, event):
        seen.append(event)

class Nested:
    audit = Audit()

def origin_output(event):
    seen.append(event)

def one(event):
    seen.append(event)

wrong = object()
"""


@pytest.fixture
def their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package on the path, installed with entry points."""
    name = "their_extension_package"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("raise RuntimeError('no GPU')")
    dist = tmp_path / f"{name}-1.0.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (dist / "entry_points.txt").write_text(
        f"[origin_vllm.extensions]\naudit = {name}:Audit\none = {name}:one\n"
        f"module = {name}\nbroken = {name}_broken\nwrong = {name}:wrong\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_entry_points(
    make_manager: MakeManager, their_package: str, caplog: pytest.LogCaptureFixture
) -> None:
    manager = make_manager()
    manager.register("one", print)
    assert manager.load_entry_points(disabled=["module", "moduel"]) == ["audit"]
    assert manager.names() == ["one", "audit"]  # "one" stays the one from code
    assert manager.extensions("entry point").keys() == {"audit"}
    assert "no entry point is called 'moduel'; did you mean 'module'?" in caplog.text
    assert "extension 'broken'" in caplog.text
    assert "no GPU" in caplog.text
    assert "extension 'wrong'" in caplog.text
    assert manager.load_entry_points(["module"]) == []  # again: nothing new, no error
    manager.emit("origin_output", output())
    assert manager.close(PATIENCE_S)
    assert len(sys.modules[their_package].seen) == 1


def test_paths(make_manager: MakeManager, their_package: str) -> None:
    manager = make_manager()
    paths = [f"{their_package}:{x}" for x in ("Audit", "Nested.audit", "one")] + [their_package]
    assert manager.load_paths(paths) == paths
    assert manager.load_paths(paths) == []
    manager.emit("origin_output", output())
    assert manager.close(PATIENCE_S)
    assert len(sys.modules[their_package].seen) == 4


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{}:Audti", "no 'Audti' in it; did you mean 'Audit'"),
        ("{}:Nested.audti", "did you mean 'audit'"),
        ("{}_missing:x", r"ModuleNotFoundError(.|\n)*PYTHONPATH"),
        ("{}_broken:x", "RuntimeError: no GPU$"),
        ("{}:wrong", "neither callable"),
        (":x", "package.module:object"),
        ("{}:", "package.module:object"),
        ("", "package.module:object"),
    ],
)
def test_bad_paths(make_manager: MakeManager, their_package: str, path: str, message: str) -> None:
    manager = make_manager()
    with pytest.raises(ExtensionError, match=message):
        manager.load_paths([path.format(their_package)])
    assert manager.names() == []


def test_the_processes_manager(their_package: str) -> None:
    reset_manager()
    manager = get_manager()
    assert get_manager() is manager
    settings = SimpleNamespace(
        load=(f"{their_package}:one",),
        disabled=("one", "module", "broken", "wrong"),
        timeout_s=1.0,
        queue_size=2,
        max_failures=3,
        cooldown_s=4.0,
    )
    manager.register("early", print)
    for _ in range(2):
        assert load_extensions(settings) is manager  # type: ignore[arg-type]
        assert manager.names() == ["early", "audit", f"{their_package}:one"]
    limits = manager._entries["early"].observer.supervisor.limits
    assert (limits.timeout_s, limits.queue_size, limits.cooldown_s) == (1.0, 2, 4.0)
    reset_manager()
    assert get_manager() is not manager
    assert get_manager().names() == []
    reset_manager()
    reset_manager()
    assert extension_threads() == []
