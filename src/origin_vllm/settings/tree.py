"""The settings tree read as a list: one `Setting` for each thing a user can set.

Everything that must stay in step with the tree (flags, environment variables, error texts, the
reference page) is derived from this list, so a new field in ``model.py`` needs no other change.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from origin_vllm.settings.model import Allowed, OriginSettings

ENV_PREFIX = "ORIGIN_VLLM_"
FLAG_PREFIX = "--origin-"

_NAMES = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    SecretStr: ("a secret string", "secret strings"),
}
_METAVARS = {bool: "true|false", int: "INT", float: "FLOAT", str: "TEXT", SecretStr: "SECRET"}


def is_none_word(value: object) -> bool:
    """Whether a value from outside stands for None (TOML, variables and flags have no null)."""
    return isinstance(value, str) and value.strip().lower() == "none"


def _strip(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any], bool]:
    """Take ``Annotated`` and ``| None`` off: bare type, its metadata, whether None is allowed."""
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata = [*more, *metadata]
        elif get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(
            annotation
        ):
            rest = [arg for arg in get_args(annotation) if arg is not type(None)]
            annotation, optional = Union[tuple(rest)], True  # noqa: UP007
        else:
            return annotation, metadata, optional


def _mentions(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_mentions(arg, kind) for arg in get_args(annotation))


def _bounds(metadata: list[Any]) -> str:
    words = []
    for item in metadata:
        for part in item.metadata if isinstance(item, FieldInfo) else [item]:
            match part:
                case annotated_types.Gt(gt):
                    words.append(f"above {gt}")
                case annotated_types.Ge(ge):
                    words.append(f"of at least {ge}")
                case annotated_types.Lt(lt):
                    words.append(f"below {lt}")
                case annotated_types.Le(le):
                    words.append(f"of at most {le}")
                case _:
                    pass
    return " " + " and ".join(words) if words else ""


def _describe(annotation: Any, metadata: list[Any], *, many: bool = False) -> str:
    kind, metadata, optional = _strip(annotation, metadata)
    tail = ", or none" if optional else ""
    for item in metadata:
        if isinstance(item, Allowed):
            return (item.many if many else item.one) + tail
    origin = get_origin(kind)
    if origin is Literal:
        words = "one of " + ", ".join(str(choice) for choice in get_args(kind))
    elif origin in (list, tuple, set, frozenset):
        inner = _describe(get_args(kind)[0], [], many=True)
        words = f"lists of {inner}" if many else f"a list of {inner}"
    elif kind in _NAMES:
        words = _NAMES[kind][many] + _bounds(metadata)
    elif isinstance(kind, type) and hasattr(kind, "__fspath__"):
        words = "paths" if many else "a path"
    else:
        words = "tables" if many else "a table"
    return words + tail


@dataclass(frozen=True)
class Setting:
    """One thing that can be set: a leaf, or a section that can be switched off as a whole.

    Args:
        path: The names from the root: ``("handler", "cache", "max_bytes")``.
        field: Its field in the model.
        section: The model, if this is a section that may be None; None for a leaf.
    """

    path: tuple[str, ...]
    field: FieldInfo
    section: type[BaseModel] | None = None

    @property
    def key(self) -> str:
        """The dotted path, as in messages and in TOML."""
        return ".".join(self.path)

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return ENV_PREFIX + "__".join(self.path).upper()

    @property
    def flag(self) -> str:
        """The flag of ``origin-vllm serve`` that sets it."""
        return FLAG_PREFIX + "-".join(self.path).replace("_", "-")

    @property
    def help(self) -> str:
        """What it does, on one line."""
        return " ".join((self.field.description or "").split())

    @cached_property
    def allowed(self) -> str:
        """What may be set, in words that follow "must be"."""
        return _describe(self.field.annotation, list(self.field.metadata))

    @cached_property
    def _bare(self) -> tuple[Any, bool]:
        kind, _, optional = _strip(self.field.annotation, list(self.field.metadata))
        return kind, optional

    @property
    def optional(self) -> bool:
        """Whether None (written ``none``) is allowed."""
        return self._bare[1]

    @property
    def structured(self) -> bool:
        """Whether variables and flags hold JSON: lists and tables."""
        kind = self._bare[0]
        scalar = kind in _NAMES or get_origin(kind) is Literal or hasattr(kind, "__fspath__")
        return not scalar

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return _mentions(self.field.annotation, SecretStr)

    @property
    def metavar(self) -> str:
        """The value's place in ``--help``."""
        kind = self._bare[0]
        if get_origin(kind) is Literal:
            word = "|".join(str(choice) for choice in get_args(kind))
        elif self.structured:
            word = "JSON"
        else:
            word = _METAVARS.get(kind, "PATH")
        return f"{word}|none" if self.optional else word

    @property
    def default(self) -> Any:
        """The value where no source sets one."""
        return self.field.get_default(call_default_factory=True)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """The validator of one value of a leaf."""
        return TypeAdapter(self.field.rebuild_annotation(), config=ConfigDict(allow_inf_nan=False))


class Tree:
    """Everything that can be set under a root model, in the order of the model's fields.

    Args:
        root: The root model; ours is `OriginSettings`.
    """

    def __init__(self, root: type[BaseModel]) -> None:
        self.root = root
        #: The tables, by path; the root is ``()``.
        self.sections: dict[tuple[str, ...], type[BaseModel]] = {(): root}
        self.settings: tuple[Setting, ...] = tuple(self._walk(root, ()))
        self.by_path = {setting.path: setting for setting in self.settings}
        self.by_key = {setting.key: setting for setting in self.settings}
        self.by_env = {setting.env: setting for setting in self.settings}
        self.by_flag = {setting.flag: setting for setting in self.settings}

    def _walk(self, model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Setting]:
        for name, field in model.model_fields.items():
            here = (*path, name)
            kind, _, optional = _strip(field.annotation, list(field.metadata))
            if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
                yield Setting(here, field)
                continue
            self.sections[here] = kind
            if optional:
                yield Setting(here, field, section=kind)
            yield from self._walk(kind, here)

    def below(self, path: tuple[str, ...]) -> list[Setting]:
        """The settings inside a section, at any depth."""
        size = len(path)
        return [s for s in self.settings if len(s.path) > size and s.path[:size] == path]


TREE = Tree(OriginSettings)
