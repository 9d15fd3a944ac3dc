"""Inheriting from vLLM by name, and the process-wide choices around it (contract row A3).

:func:`get_config` holds where vLLM comes from, whether a missing base class is replaced, and the
extensions added in code. The other functions make classes: :func:`get_base_class` finds one by
name, :func:`safe_inherit` and :func:`create_inherited_class` derive from it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import os
import pkgutil
import sys
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from origin_vllm.errors import BaseClassError, ConfigError, ExtensionError, MissingVLLMError

if TYPE_CHECKING:
    from origin_vllm.settings import InheritanceSettings

__all__ = [
    "FallbackBase",
    "InheritanceConfig",
    "create_inherited_class",
    "get_base_class",
    "get_config",
    "safe_inherit",
]

logger = logging.getLogger(__name__)


class InheritanceConfig:
    """Where the base classes come from, and what joins them. Use the one of :func:`get_config`.

    What isn't said in code is taken from the section ``inheritance`` of the settings.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path: str | None = None
        self._root: str | None = None
        self._fallback_mode: bool | None = None

    @property
    def base_vllm_path(self) -> str | None:
        """The path set, else the folder of the vLLM found (without importing it), else None."""
        if self._path is not None:
            return self._path
        configured = _settings().base_vllm_path
        return _found_vllm() if configured is None else str(configured)

    def apply_settings(self) -> None:
        """Make the checkout named in the settings the base, unless code named one.

        Raises:
            ConfigError: as for :meth:`set_base_vllm_path`.
        """
        path = _settings().base_vllm_path
        if path is not None and self._path is None:
            self.set_base_vllm_path(path)

    def set_base_vllm_path(self, path: str | os.PathLike[str]) -> None:
        """Make a checkout of vLLM the base, in this process and in those it starts.

        Args:
            path: The checkout (the folder that holds the package ``vllm``) or the package itself.

        Raises:
            ConfigError: there is no package ``vllm``, or another vLLM is imported already.
        """
        given = os.path.abspath(os.path.expanduser(_path_text(path)))  # noqa: PTH100, PTH111
        root = _checkout_root(given)
        package = str(Path(root, "vllm"))
        if sys.modules.get("vllm") is not None:
            found = _found_vllm()
            if found is None or os.path.realpath(found) != os.path.realpath(package):
                raise ConfigError(
                    "base_vllm_path can't be changed: vLLM is already imported from another folder",
                    remedy="call set_base_vllm_path() before anything that imports vLLM",
                    detail=f"imported from {found}, asked for {package}",
                )
        with self._lock:
            before = list(sys.path), os.environ.get("PYTHONPATH")
            _put_first(root, instead_of=self._root)
            found = _found_vllm()
            if found is None or os.path.realpath(found) != os.path.realpath(package):
                # An import hook (of an editable install, say) that goes before sys.path.
                sys.path[:] = before[0]
                _set_environment("PYTHONPATH", before[1])
                raise ConfigError(
                    f"base_vllm_path {given!r} has no effect: another vLLM is found before it",
                    remedy="uninstall the other vLLM (an editable install hooks the import)",
                    detail=f"found {found}, asked for {package}",
                )
            self._path, self._root = given, root

    @property
    def fallback_mode(self) -> bool:
        """Whether a missing base is replaced, and said so, in place of an error; True at first."""
        chosen = self._fallback_mode
        return _settings().fallback_mode if chosen is None else chosen

    def enable_fallback_mode(self, enabled: bool = True) -> None:
        """Have a missing base class replaced by :class:`FallbackBase` (True) or refused (False).

        Raises:
            ConfigError: ``enabled`` isn't a bool.
        """
        if not isinstance(enabled, bool):
            raise ConfigError(f"fallback_mode is {enabled!r}: True or False needed")
        self._fallback_mode = enabled

    @property
    def custom_extensions(self) -> dict[str, object]:
        """The extensions added in code, by name (a copy)."""
        from origin_vllm.extensions import get_manager

        return get_manager().extensions("code")

    def add_custom_extension(self, name: str, extension: object, *, replace: bool = False) -> None:
        """Have an extension see this process's requests and outputs (``docs/extensions.md``).

        Args:
            name: What logs and counters call it.
            extension: A callable of one argument (the event), or an object with hook methods.
            replace: Take the place of the extension of this name.

        Raises:
            ExtensionError: the name is taken, or the extension isn't one.
        """
        # Imported here: a plain `import origin_vllm.config` needs none of it.
        from origin_vllm.extensions import get_manager

        get_manager().register(name, extension, replace=replace)

    def remove_custom_extension(self, name: str) -> None:
        """Remove an extension added in code.

        Raises:
            ExtensionError: there is none of this name.
        """
        from origin_vllm.extensions import get_manager

        ours = self.custom_extensions
        if name not in ours:
            raise ExtensionError(f"no custom extension {name!r}{_did_you_mean(str(name), ours)}")
        get_manager().unregister(name)


_config = InheritanceConfig()


def get_config() -> InheritanceConfig:
    """The process's configuration."""
    return _config


class FallbackBase:
    """Stands in for a base class that is missing, so that a module with a subclass still imports.

    It can be made with any arguments and has nothing of the missing class: asking for more than
    the subclass brings is an ``AttributeError`` that says so.
    """

    #: Tells a stand-in from the real thing.
    is_fallback: ClassVar[bool] = True
    #: The class it stands in for, as ``module.name``.
    missing_base: ClassVar[str] = ""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{type(self).__name__!r} has no attribute {name!r}:"
            f" its base {type(self).missing_base} is missing, and a stand-in took its place",
            name=name,
            obj=self,
        )


def get_base_class(module: str, name: str) -> type[Any]:
    """Import a class by name.

    Args:
        module: Dotted path, as ``vllm.entrypoints.llm``.
        name: The class's name in it.

    Raises:
        BaseClassError: the module or the class doesn't exist, isn't a class, or doesn't import.
        UnsupportedVLLMError: it is vLLM's, and the vLLM found is outside the tested window.
    """
    asked = f"base class {name!r} of module {module!r}"
    if module.partition(".")[0] == "vllm":
        _prepare_vllm(asked)
    try:
        found = importlib.import_module(module)
    except Exception as exc:
        if isinstance(exc, ModuleNotFoundError) and _is_part_of(exc.name, module):
            raise BaseClassError(
                f"{asked}: there is no module {exc.name!r}{_closest_module(exc.name, name)}"
            ) from exc
        raise BaseClassError(
            f"{asked}: the module doesn't import ({type(exc).__name__})", detail=str(exc)
        ) from exc
    try:
        base = getattr(found, name)
    except AttributeError as exc:
        known = [public for public in dir(found) if not public.startswith("_")]
        raise BaseClassError(f"{asked}: there is no such name{_did_you_mean(name, known)}") from exc
    except Exception as exc:  # a lazy module imports it only now
        raise BaseClassError(
            f"{asked}: it doesn't import ({type(exc).__name__})", detail=str(exc)
        ) from exc
    if not isinstance(base, type):
        kind = type(base)
        raise BaseClassError(f"{asked} is not a class but a {kind.__name__} (of {kind.__module__})")
    return base


def create_inherited_class(
    base: type[Any] | tuple[str, str],
    new_name: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    docstring: str | None = None,
    module: str | None = None,
) -> type[Any]:
    """Make a subclass at run time.

    Args:
        base: The base class, or its ``(module, name)``.
        new_name: The subclass's name.
        attributes: Its methods and attributes. A function from outside a class body has no
            zero-argument ``super()``; it says ``super(MyClass, self)``.
        docstring: Its docstring.
        module: The module that it says it is from; the caller's unless given. Its instances
            pickle when the class is bound to ``new_name`` there.

    Raises:
        BaseClassError: the base doesn't exist or can't be inherited from.
        ConfigError: a name isn't an identifier.
    """
    if not isinstance(base, type):
        base = get_base_class(*base)
    return _derive(base, new_name, attributes, docstring, module or _caller())


def safe_inherit(
    module: str, base_name: str, new_name: str, attributes: Mapping[str, Any] | None = None
) -> type[Any]:
    """Make a subclass of a class known by name, whether or not the class exists.

    Args:
        module: Dotted path of the base class's module.
        base_name: The base class's name.
        new_name: The subclass's name.
        attributes: Its methods and attributes.

    Returns:
        The subclass; when the base is missing and fallback mode is on, one of
        :class:`FallbackBase`, with a warning in the log.

    Raises:
        BaseClassError: the base is missing and fallback mode is off.
        UnsupportedVLLMError: as for :func:`get_base_class`; a wrong vLLM isn't a missing one.
        ConfigError: a name isn't an identifier.
    """
    try:
        base = get_base_class(module, base_name)
    except BaseClassError as exc:
        if not get_config().fallback_mode:
            raise
        logger.warning(
            "MISSING BASE CLASS: %s.%s (%s). %r is made without it and has only its own methods; "
            "get_config().enable_fallback_mode(False) makes this an error",
            module,
            base_name,
            exc.message,
            new_name,
        )
        missing = {"missing_base": f"{module}.{base_name}"}
        return _derive(FallbackBase, new_name, missing | dict(attributes or {}), None, _caller())
    return _derive(base, new_name, attributes, None, _caller())


def _derive(
    base: type[Any],
    new_name: str,
    attributes: Mapping[str, Any] | None,
    docstring: str | None,
    module: str,
) -> type[Any]:
    for kind, name in [("class", new_name), *(("attribute", key) for key in attributes or {})]:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"{kind} name {name!r}: a Python identifier needed")
    # A docstring or module among the attributes is the caller's more exact wish.
    namespace = {"__module__": module, "__qualname__": new_name, "__doc__": docstring}
    namespace |= attributes or {}
    try:
        return types.new_class(new_name, (base,), exec_body=lambda body: body.update(namespace))
    except TypeError as exc:  # a final class, or its metaclass or __init_subclass__ refuses
        raise BaseClassError(
            f"{base.__module__}.{base.__qualname__} can't be inherited from: {exc}"
        ) from exc


def _caller() -> str:
    """The module that called the public function that called us."""
    return str(sys._getframe(2).f_globals.get("__name__", "__main__"))


# -- where vLLM is --------------------------------------------------------------------------------


def _settings() -> InheritanceSettings:
    # Imported here, as the seam below: `import origin_vllm.config` stays light.
    from origin_vllm.settings import get_settings

    return get_settings().inheritance


def _prepare_vllm(asked: str) -> None:
    from origin_vllm.seam import require_vllm

    get_config().apply_settings()
    try:
        require_vllm()
    except MissingVLLMError as exc:
        raise BaseClassError(
            f"{asked}: {exc.message}", remedy=exc.remedy, detail=exc.detail
        ) from exc


def _found_vllm() -> str | None:
    """The folder of the vLLM package that is or would be imported."""
    try:
        spec = importlib.util.find_spec("vllm")
    except (ImportError, ValueError):  # a stub in sys.modules without a spec
        return None
    # A mere folder called vllm has no origin: Python would take it for a namespace package.
    if spec is None or spec.origin is None:
        return None
    return str(Path(spec.origin).parent)


def _path_text(path: str | os.PathLike[str]) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        text = ""
    if not isinstance(text, str) or not text:
        raise ConfigError(f"base_vllm_path is {path!r}: the path of a vLLM checkout needed")
    return text


def _checkout_root(given: str) -> str:
    # A checkout is usually called vllm itself, so look inside first.
    if Path(given, "vllm", "__init__.py").is_file():
        return given
    if Path(given).name == "vllm" and Path(given, "__init__.py").is_file():
        return str(Path(given).parent)
    raise ConfigError(
        f"base_vllm_path {given!r}: no package vllm there;"
        " the folder that holds it, or the package's own folder, is needed"
    )


def _put_first(root: str, instead_of: str | None) -> None:
    gone = {root, instead_of}
    sys.path[:] = [root, *(entry for entry in sys.path if entry not in gone)]
    # Engine processes are started afresh and read this.
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [entry for entry in inherited if entry and entry not in gone]
    _set_environment("PYTHONPATH", os.pathsep.join([root, *kept]))
    importlib.invalidate_caches()


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


# -- close matches --------------------------------------------------------------------------------


def _did_you_mean(wrong: str, known: list[str] | dict[str, object]) -> str:
    close = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _is_part_of(missing: str | None, module: str) -> bool:
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def _closest_module(missing: str | None, name: str) -> str:
    """A sibling module with a similar name, or the same class at the top of the package."""
    parent, _, leaf = (missing or "").rpartition(".")
    package = sys.modules.get(parent)
    if package is None:
        return ""
    siblings = [entry.name for entry in pkgutil.iter_modules(getattr(package, "__path__", []))]
    close = difflib.get_close_matches(leaf, siblings, n=1)
    if close:
        return f"; did you mean {parent + '.' + close[0]!r}?"
    top = parent.partition(".")[0]
    if name in getattr(sys.modules.get(top), "__all__", ()):
        return f"; did you mean {name!r} of {top!r}?"
    return ""
