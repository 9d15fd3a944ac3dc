"""Which extensions there are, and telling them.

Extensions come from code (:meth:`ExtensionManager.register`), from entry points of other packages
and from the settings. They see requests and outputs and can't change them.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from origin_vllm.errors import ExtensionError
from origin_vllm.extensions.binding import bind, suggestion
from origin_vllm.extensions.observer import IDLE_S, Observer
from origin_vllm.extensions.supervisor import SupervisorLimits, SupervisorStats

if TYPE_CHECKING:
    from origin_vllm.settings import ExtensionSettings

logger = logging.getLogger(__name__)

#: Other packages name their extensions under this entry point group.
ENTRY_POINT_GROUP = "origin_vllm.extensions"

Source = Literal["code", "entry point", "settings"]


@dataclass(frozen=True, slots=True)
class _Entry:
    extension: object
    source: Source
    observer: Observer


class ExtensionManager:
    """The extensions of one process; every method may be called from any thread.

    Args:
        limits: What one extension may cost.
        clock: Monotonic seconds; tests bring their own.
        idle_s: Seconds without an event after which an extension's thread ends.
    """

    #: False when nobody listens: callers then need not even make an event.
    active: bool

    def __init__(
        self,
        limits: SupervisorLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        idle_s: float = IDLE_S,
    ) -> None:
        self.active = False
        self._limits = limits or SupervisorLimits()
        self._clock = clock
        self._idle_s = idle_s
        self._lock = threading.RLock()
        # Both are replaced, never changed, so that emit() reads them without the lock.
        self._entries: dict[str, _Entry] = {}
        self._listeners: dict[str, tuple[Observer, ...]] = {}

    # -- who --------------------------------------------------------------------------------------

    def register(
        self, name: str, extension: object, *, replace: bool = False, source: Source = "code"
    ) -> None:
        """Add an extension.

        Args:
            name: What logs and counters call it.
            extension: See :func:`origin_vllm.extensions.binding.bind`.
            replace: Take the place of one with the same name; its counters start at zero.
            source: Where it comes from.

        Raises:
            ExtensionError: the name is taken or empty, or the extension isn't one.
        """
        if not isinstance(name, str) or not name:
            raise ExtensionError(f"an extension's name is a string that isn't empty, not {name!r}")
        targets = bind(name, extension)
        observer = Observer(name, targets, self._limits, clock=self._clock, idle_s=self._idle_s)
        with self._lock:
            old = self._entries.get(name)
            if old is not None and not replace:
                raise ExtensionError(
                    f"there is an extension {name!r} already (from {old.source})",
                    remedy="another name, or replace=True",
                )
            self._publish(self._entries | {name: _Entry(extension, source, observer)})
        if old is not None:
            old.observer.retire()

    def unregister(self, name: str) -> None:
        """Remove an extension; it is told nothing more, not even what is queued for it.

        Raises:
            ExtensionError: there is no such extension.
        """
        with self._lock:
            entries = dict(self._entries)
            entry = entries.pop(name, None)
            if entry is None:
                raise ExtensionError(f"no extension {name!r}{suggestion(str(name), entries)}")
            self._publish(entries)
        entry.observer.retire()

    def load_entry_points(self, disabled: Iterable[str] = ()) -> list[str]:
        """Register the extensions that installed packages name; those registered already stay.

        One that can't be loaded is logged and left out: a package that happens to be installed
        must not keep the engine from starting.

        Args:
            disabled: Names of entry points to leave out.

        Returns:
            The names registered by this call.
        """
        left_out = set(disabled)
        points = {point.name: point for point in _entry_points()}
        for name in sorted(left_out - points.keys()):
            hint = suggestion(name, points)
            logger.warning("extensions.disabled: no entry point is called %r%s", name, hint)
        loaded = []
        for name, point in sorted(points.items()):
            if name in left_out or name in self._entries:  # taken in code, or loaded before
                continue
            try:
                self.register(name, point.load(), source="entry point")
            except Exception as exc:
                logger.error("extension %r (%s) can't be loaded", name, point.value, exc_info=exc)
            else:
                loaded.append(name)
        return loaded

    def load_paths(self, paths: Iterable[str]) -> list[str]:
        """Register extensions named as ``package.module:object``, or ``package.module`` itself.

        The path is the extension's name; those registered already stay.

        Returns:
            The names registered by this call.

        Raises:
            ExtensionError: a path can't be loaded. What is named by hand must be right.
        """
        loaded = []
        for path in paths:
            if path not in self._entries:
                self.register(path, _load(path), source="settings")
                loaded.append(path)
        return loaded

    def names(self) -> list[str]:
        """The names of all extensions, in the order of their registration."""
        return list(self._entries)

    def extensions(self, source: Source | None = None) -> dict[str, object]:
        """Name to extension as it was registered; with ``source``, only those from there."""
        return {
            name: entry.extension
            for name, entry in self._entries.items()
            if source is None or entry.source == source
        }

    def configure(self, limits: SupervisorLimits) -> None:
        """Set what an extension may cost, for those that are there and those to come."""
        with self._lock:
            self._limits = limits
            for entry in self._entries.values():
                entry.observer.supervisor.configure(limits)

    def _publish(self, entries: dict[str, _Entry]) -> None:
        listeners: dict[str, tuple[Observer, ...]] = {}
        for entry in entries.values():
            for hook in entry.observer.targets:
                listeners[hook] = (*listeners.get(hook, ()), entry.observer)
        self._entries, self._listeners, self.active = entries, listeners, bool(entries)

    # -- telling them -----------------------------------------------------------------------------

    def has(self, hook: str) -> bool:
        """Whether some extension implements ``hook``."""
        return hook in self._listeners

    def emit(self, hook: str, value: object) -> None:
        """Tell every extension that implements ``hook``; never waits, never raises.

        Args:
            hook: A name from :data:`origin_vllm.extensions.hookspecs.HOOKS`.
            value: The hook's argument: an event, or the engine.
        """
        for observer in self._listeners.get(hook, ()):
            try:
                observer.offer(hook, value)
            except Exception as exc:  # ours to mend, and no reason to fail a request
                logger.error("telling %s failed", observer.supervisor.name, exc_info=exc)

    def stats(self) -> dict[str, SupervisorStats]:
        """Each extension's counters and state, by name."""
        return {name: entry.observer.supervisor.stats() for name, entry in self._entries.items()}

    def close(self, timeout: float = 5.0) -> bool:
        """Deliver what is queued and end all threads; the extensions stay, a later event restarts.

        To be called when an engine goes; blocks, so not from an event loop.

        Args:
            timeout: Seconds for all of them together.

        Returns:
            Whether every thread ended; one that is stuck in its extension is named in the log.
        """
        end = time.monotonic() + timeout
        observers = [entry.observer for entry in self._entries.values()]
        for observer in observers:
            observer.finish()  # all at once, so that a stuck one takes no time from the others
        ended = True
        for observer in observers:
            ended &= observer.close(max(0.0, end - time.monotonic()))
        return ended


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)


def _load(path: str) -> object:
    module_name, colon, attributes = path.partition(":")
    if not module_name or (colon and not attributes):
        raise ExtensionError(f"extension {path!r} isn't of the form package.module:object")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as exc:
        missing = isinstance(exc, ModuleNotFoundError)
        raise ExtensionError(
            f"extension {path!r}: importing {module_name!r} failed: {type(exc).__name__}: {exc}",
            remedy="install its package, or put its folder on PYTHONPATH" if missing else None,
        ) from exc
    for attribute in attributes.split(".") if attributes else ():
        try:
            found = getattr(found, attribute)
        except AttributeError as exc:
            raise ExtensionError(
                f"extension {path!r}: there is no {attribute!r} in it"
                f"{suggestion(attribute, dir(found))}"
            ) from exc
    return found


_singleton: ExtensionManager | None = None
_singleton_lock = threading.Lock()


def get_manager() -> ExtensionManager:
    """The process's extension manager, made at the first call; closed when the process ends."""
    global _singleton
    with _singleton_lock:
        if _singleton is None:
            _singleton = ExtensionManager()
            atexit.register(_singleton.close)
        return _singleton


def load_extensions(settings: ExtensionSettings | None = None) -> ExtensionManager:
    """Have the process's manager hold the extensions of entry points and settings; for engines.

    May be called again; what is there stays.

    Args:
        settings: The section ``extensions``; the process's own settings unless given.

    Raises:
        ExtensionError: an extension named in the settings can't be loaded.
        ConfigError: the settings are wrong.
    """
    if settings is None:
        from origin_vllm.settings import get_settings

        settings = get_settings().extensions
    manager = get_manager()
    manager.configure(
        SupervisorLimits(
            timeout_s=settings.timeout_s,
            queue_size=settings.queue_size,
            max_failures=settings.max_failures,
            cooldown_s=settings.cooldown_s,
        )
    )
    manager.load_entry_points(settings.disabled)
    manager.load_paths(settings.load)
    return manager


def reset_manager(timeout: float = 5.0) -> None:
    """Close and forget the process's manager, its extensions with it. For tests."""
    global _singleton
    with _singleton_lock:
        old, _singleton = _singleton, None
    if old is not None:
        atexit.unregister(old.close)
        old.close(timeout)
