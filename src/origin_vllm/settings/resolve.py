"""From the sources to the settings: which file counts, what overrides what, what is from where."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from origin_vllm.errors import ConfigError
from origin_vllm.settings.model import OriginSettings
from origin_vllm.settings.sources import Assignment, Layer, read_env, read_file, read_flags
from origin_vllm.settings.tree import ENV_PREFIX, TREE, Tree, is_none_word

CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
#: The key of ``--origin-config`` among parsed flags; it is no setting.
CONFIG_KEY = "config"
LOCAL_FILES = ("origin_vllm.toml", "origin_vllm.json")
REMEDY = "origin-vllm config schema   (lists every setting)"

Root = TypeVar("Root", bound=BaseModel)


@dataclass(frozen=True)
class Resolved(Generic[Root]):
    """Settings with their history.

    Args:
        settings: The effective settings.
        sources: For every effective setting, by dotted key, where its value comes from:
            ``default``, ``file F``, ``environment V`` or ``flag F``.
        file: The settings file that was read, as messages call it; None without one.
    """

    settings: Root
    sources: dict[str, str]
    file: str | None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder we may not look into holds no settings of ours
        return False


def find_file(
    flags: Mapping[str, str], env: Mapping[str, str], cwd: Path
) -> tuple[Path, str] | None:
    """The settings file that counts and its name in messages; None without one.

    The first of: ``--origin-config``, ``ORIGIN_VLLM_CONFIG``, ``./origin_vllm.toml``,
    ``./origin_vllm.json``, ``~/.config/origin_vllm/config.toml`` (or under ``XDG_CONFIG_HOME``).
    The word ``none`` in the first two means: no file, whatever lies around.
    """
    named = flags.get(CONFIG_KEY) or env.get(CONFIG_VARIABLE)
    if named:
        return None if is_none_word(named) else (cwd / named, named)
    for name in LOCAL_FILES:
        if _is_file(cwd / name):
            return cwd / name, name
    base = env.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):  # the XDG rules: a relative one is to be ignored
        base = f"{env['HOME']}/.config" if env.get("HOME") else ""
    home = Path(base, "origin_vllm", "config.toml")
    return (home, str(home)) if base and _is_file(home) else None


def _fail(problems: list[str]) -> ConfigError:
    if len(problems) == 1:
        return ConfigError(problems[0], remedy=REMEDY)
    lines = "\n".join(f"  - {line}" for line in problems)
    return ConfigError(f"{len(problems)} settings are wrong:\n{lines}", remedy=REMEDY)


def _merge(tree: Tree, assignments: Iterable[Assignment]) -> tuple[dict[str, Any], dict[str, str]]:
    """Apply assignments in order: nested values that differ from the defaults, and who set them."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for assignment in assignments:
        path = assignment.setting.path
        table = values
        for depth, name in enumerate(path[:-1], start=1):
            around = tree.by_path.get(path[:depth])  # a section that can be off, or None
            off = table[name] is None if name in table else around and around.default is None
            if off and around is not None:  # setting a field of it switches it on
                sources[around.key] = assignment.source
            if table.get(name) is None:
                table[name] = {}
            table = table[name]
        if assignment.setting.section is None:
            table[path[-1]] = assignment.value
        else:  # as a whole: whatever was said about its fields before no longer counts
            table[path[-1]] = None if assignment.value is None else {}
            for setting in tree.below(path):
                sources.pop(setting.key, None)
        sources[assignment.setting.key] = assignment.source
    return values, sources


def is_effective(settings: BaseModel, path: tuple[str, ...]) -> bool:
    """Whether a setting counts: no section around it is switched off."""
    value: Any = settings
    for name in path[:-1]:
        value = getattr(value, name)
        if value is None:
            return False
    return True


def resolve_tree(
    tree: Tree,
    root: type[Root],
    flags: Mapping[str, str],
    env: Mapping[str, str],
    cwd: Path,
) -> Resolved[Root]:
    """`resolve` for any tree (the tests have trees of their own)."""
    found = find_file(flags, env, cwd)
    layers: list[Layer] = []
    unreadable: ConfigError | None = None
    try:
        layers += [read_file(tree, *found)] if found else []
    except ConfigError as error:
        unreadable = error
    layers.append(read_env(tree, env))
    layers.append(read_flags(tree, {key: flags[key] for key in flags if key != CONFIG_KEY}))
    problems = [problem for layer in layers for problem in layer.problems]
    if unreadable is not None:
        raise _fail([unreadable.message, *problems]) if problems else unreadable
    if problems:
        raise _fail(problems)
    values, sources = _merge(tree, [item for layer in layers for item in layer.assignments])
    try:
        settings = root.model_validate(values)
    except ValidationError as error:  # rules between fields: every value is right on its own
        lines = []
        for item in error.errors(include_url=False, include_input=False):
            key = ".".join(str(part) for part in item["loc"])
            lines.append(f"{key or 'settings'}: {item['msg'].removeprefix('Value error, ')}")
        raise _fail(lines) from None
    known = {
        setting.key: sources.get(setting.key, "default")
        for setting in tree.settings
        if is_effective(settings, setting.path)
    }
    return Resolved(settings, known, found[1] if found else None)


def resolve(
    flags: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Resolved[OriginSettings]:
    """Read all sources; later ones win: defaults, file, environment, flags.

    Args:
        flags: What `split_flags` found; none by default.
        env: The environment; by default this process's.
        cwd: Where ``./origin_vllm.toml`` is looked for and relative file names start.

    Raises:
        ConfigError: Anything wrong anywhere, all of it in one error, a line each.
    """
    return resolve_tree(
        TREE,
        OriginSettings,
        {} if flags is None else flags,
        os.environ if env is None else env,
        Path.cwd() if cwd is None else cwd,
    )


def load_settings(
    flags: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> OriginSettings:
    """The effective settings; arguments and errors as for `resolve`."""
    return resolve(flags, env, cwd).settings


def explain(
    flags: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> dict[str, str]:
    """Where each effective setting comes from, by dotted key; arguments as for `resolve`."""
    return resolve(flags, env, cwd).sources


@lru_cache(maxsize=1)
def get_settings() -> OriginSettings:
    """The settings of this process, read once from the file and the environment.

    Flags reach it, and every child process, through the environment (`flags_to_env`).

    Raises:
        ConfigError: As for `resolve`.
    """
    return load_settings()


def reset_settings() -> None:
    """Forget what `get_settings` read; the next call reads again (for tests)."""
    get_settings.cache_clear()
