"""Reading the sources: a file, the environment and flags, each into a list of assignments.

A source never raises for what is written in it: it notes each mistake as one line, so that all of
them are told at once. The lines say where, which key, what kind of value was found and what is
allowed; values of secrets, of unknown keys and of structured settings are never repeated.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from origin_vllm.errors import ConfigError
from origin_vllm.settings.tree import ENV_PREFIX, Setting, Tree, is_none_word

#: Variables under our prefix that are no settings.
OWN_VARIABLES = frozenset(ENV_PREFIX + name for name in ("CONFIG", "ACTIVE", "MODELS", "SERVE"))

# Kubernetes puts these into every pod beside a Service called "origin-vllm" (or "origin-vllm-x").
_SERVICE_LINK = re.compile(
    r"ORIGIN_VLLM_((?!.*__)\w+_)?"
    r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list"}


@dataclass(frozen=True)
class Assignment:
    """One setting given a value by one source.

    Args:
        setting: What is set.
        value: A leaf's checked value; for a section None (off) or True (on, otherwise default).
        source: Where it stands, for people: ``environment ORIGIN_VLLM_...``.
    """

    setting: Setting
    value: Any
    source: str


@dataclass
class Layer:
    """What one source sets, and the mistakes found in it."""

    assignments: list[Assignment] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def shown(text: str) -> str:
    """A name from outside, made fit for one line of a message."""
    return text if text.isprintable() and len(text) <= 80 else repr(text[:80])


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest to a mistyped name."""
    close = difflib.get_close_matches(name, list(candidates), n=1)
    return close[0] if close else None


def kind_of(value: object, *, hide: bool = False) -> str:
    """What a value is, in words that follow "got"; ``hide`` keeps the value itself out."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "a table"
    name = _KINDS.get(type(value), type(value).__name__)
    article = "an" if name[0] in "aeiou" else "a"
    huge = isinstance(value, int) and value.bit_length() > 200  # Python refuses to write some
    if hide or huge or name == "list":
        return f"{article} {name}"
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return f"the {name} {text if len(text) <= 60 else text[:57] + '...'}"


def _wrong(setting: Setting, name: str, value: object, error: ValidationError | None) -> str:
    """The line for a value that a leaf does not allow."""
    line = f"{name} must be {setting.allowed}"
    if error is not None:
        first = error.errors(include_url=False, include_context=False)[0]
        place = first["loc"][0] if first["loc"] else None
        if isinstance(value, list) and isinstance(place, int) and place < len(value):
            return f"{line}; item {place + 1} is {kind_of(value[place], hide=setting.secret)}"
    return f"{line}, got {kind_of(value, hide=setting.secret)}"


def _typed(setting: Setting, value: Any, name: str, source: str, layer: Layer) -> None:
    """Take a leaf's value from a format that has types: a file, or JSON in a variable or flag."""
    if setting.optional and is_none_word(value):
        value = None
    try:
        # Strict, and as JSON: "5" and true are no numbers, yet a string makes a path.
        checked = setting.adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        layer.problems.append(f"{source}: {_wrong(setting, name, value, error)}")
    except (TypeError, ValueError, RecursionError):  # a date, or what JSON can't hold
        layer.problems.append(f"{source}: {_wrong(setting, name, value, None)}")
    else:
        layer.assignments.append(Assignment(setting, checked, source))


def _unknown(tree: Tree, path: tuple[str, ...], name: str) -> str:
    """The line for a key that a table does not have."""
    key = ".".join((*path, shown(name)))
    siblings = list(tree.sections[path].model_fields)
    near = did_you_mean(name, siblings)
    if near is not None:
        return f"{key} is not a setting; did you mean {'.'.join((*path, near))}?"
    places = [(*s.path,) for s in tree.settings] + [p for p in tree.sections if p]
    for place in places:  # the right name in the wrong table
        if place[-1] == name:
            return f"{key} is not a setting; did you mean {'.'.join(place)}?"
    table = ".".join(path) or "the top level"
    if not siblings:
        return f"{key} is not a setting; {table} has no settings yet"
    return f"{key} is not a setting; allowed in {table}: {', '.join(siblings)}"


def read_table(
    tree: Tree, path: tuple[str, ...], table: Mapping[str, Any], source: str, layer: Layer
) -> None:
    """Take a table of a file (or a JSON object) into a layer, key by key."""
    for name, value in table.items():
        here = (*path, name)
        setting = tree.by_path.get(here)
        if here in tree.sections:
            if setting is not None and (value is None or is_none_word(value)):
                layer.assignments.append(Assignment(setting, None, source))
            elif isinstance(value, dict):
                if setting is not None:
                    layer.assignments.append(Assignment(setting, True, source))
                read_table(tree, here, value, source, layer)
            else:
                allowed = "a table, or none" if setting is not None else "a table"
                layer.problems.append(
                    f"{source}: {'.'.join(here)} must be {allowed}, got {kind_of(value, hide=True)}"
                )
        elif setting is not None:
            _typed(setting, value, setting.key, source, layer)
        else:
            layer.problems.append(f"{source}: {_unknown(tree, path, name)}")


def _parse_json(text: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(items)
        if len(table) < len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {shown(twice)} stands twice in one object")
        return table

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)


def read_file(tree: Tree, path: Path, name: str) -> Layer:
    """Read a TOML or JSON file.

    Args:
        tree: What can be set.
        path: The file.
        name: How messages call it.

    Raises:
        ConfigError: It can't be read, or is not TOML or JSON by its name.
    """
    layer = Layer()
    if path.suffix.lower() not in (".toml", ".json"):
        raise ConfigError(
            f"the settings file {name} is neither TOML nor JSON by its name",
            remedy="name it something.toml or something.json",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
        parsed = tomllib.loads(text) if path.suffix.lower() == ".toml" else _parse_json(text)
    except FileNotFoundError:
        raise ConfigError(
            f"the settings file {name} does not exist",
            remedy="create it, or name another with --origin-config or ORIGIN_VLLM_CONFIG",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the settings file {name} can't be read: {error.strerror or type(error).__name__}",
            remedy="name a readable file with --origin-config or ORIGIN_VLLM_CONFIG",
        ) from None
    except UnicodeDecodeError:
        layer.problems.append(f"{name}: not UTF-8 text")
    except RecursionError:
        layer.problems.append(f"{name}: nested too deeply")
    except ValueError as error:
        kind = path.suffix.lower()[1:].upper()
        layer.problems.append(f"{name}: not valid {kind}: {shown(str(error))}")
    else:
        if isinstance(parsed, dict):
            read_table(tree, (), parsed, name, layer)
        else:
            layer.problems.append(f"{name}: must hold a table, got {kind_of(parsed, hide=True)}")
    return layer


def _read_text(tree: Tree, setting: Setting, text: str, source: str, layer: Layer) -> None:
    """Take a value written as text: of a variable or a flag."""
    if setting.optional and is_none_word(text):
        layer.assignments.append(Assignment(setting, None, source))
    elif setting.structured:
        try:
            value = _parse_json(text)
        except (ValueError, RecursionError):
            kind = "a JSON object, or none" if setting.section else f"{setting.allowed}, as JSON"
            layer.problems.append(
                f"{source}: {setting.key} must be {kind}, got text that isn't JSON"
            )
            return
        if setting.section is None:
            _typed(setting, value, setting.key, source, layer)
        else:
            table: Any = value
            for name in reversed(setting.path):
                table = {name: table}
            read_table(tree, (), table, source, layer)
    else:
        try:
            value = setting.adapter.validate_strings(text)
        except ValidationError as error:
            layer.problems.append(f"{source}: {_wrong(setting, setting.key, text, error)}")
        else:
            layer.assignments.append(Assignment(setting, value, source))


def read_env(tree: Tree, env: Mapping[str, str]) -> Layer:
    """Read the environment: ``ORIGIN_VLLM_<SECTION>__<FIELD>``; empty variables count as unset."""
    layer = Layer()
    found: list[tuple[Setting, str]] = []
    for name, text in env.items():
        if not name.upper().startswith(ENV_PREFIX) or not text or name in OWN_VARIABLES:
            continue
        if (setting := tree.by_env.get(name)) is not None:
            found.append((setting, text))
        elif not _SERVICE_LINK.fullmatch(name):
            near = did_you_mean(name.upper(), [*tree.by_env, *OWN_VARIABLES])
            hint = f"; did you mean {near}?" if near else ""
            layer.problems.append(f"environment: {shown(name)} is not a setting{hint}")
    # From the outside in: a variable for one field is more exact than one for its section.
    for setting, text in sorted(found, key=lambda item: (len(item[0].path), item[0].key)):
        _read_text(tree, setting, text, f"environment {setting.env}", layer)
    return layer


def read_flags(tree: Tree, flags: Mapping[str, str]) -> Layer:
    """Read what `split_flags` found: dotted keys and texts."""
    layer = Layer()
    off = [key for key, text in flags.items() if is_none_word(text) or text.strip() == "null"]
    found: list[tuple[Setting, str]] = []
    for key, text in flags.items():
        setting = tree.by_key.get(key)
        if setting is None:
            near = did_you_mean(key, tree.by_key)
            hint = f"; did you mean {near}?" if near else ""
            layer.problems.append(f"flags: {shown(key)} is not a setting{hint}")
        elif not text:
            layer.problems.append(
                f"flag {setting.flag}: {setting.key} must be {setting.allowed}, got nothing"
            )
        elif (
            parent := next((name for name in off if key.startswith(name + ".")), None)
        ) is not None:
            layer.problems.append(
                f"flag {setting.flag}: contradicts {tree.by_key[parent].flag} none, "
                f"which switches all of {parent} off"
            )
        else:
            found.append((setting, text))
    for setting, text in sorted(found, key=lambda item: (len(item[0].path), item[0].key)):
        _read_text(tree, setting, text, f"flag {setting.flag}", layer)
    return layer
