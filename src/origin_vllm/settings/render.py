"""Settings written out again, as plain data and as TOML; secrets become ``***``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from origin_vllm.settings.model import OriginSettings

MASK = "***"


def to_plain(value: Any) -> Any:
    """Settings (or any value in them) as JSON types; a secret is ``***``."""
    if isinstance(value, BaseModel):
        return {name: to_plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if isinstance(value, SecretStr):
        return MASK
    return str(value) if isinstance(value, Path) else value


def _toml_value(value: Any) -> str:
    if value is None:
        return '"none"'  # TOML has no null; the loader takes the word
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_toml_value(name)} = {_toml_value(item)}" for name, item in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    # A TOML basic string is a JSON string, but for one character that TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_table(section: BaseModel, path: str, sources: Mapping[str, str], width: int) -> list[str]:
    lines: list[str] = []
    inner: list[str] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        key = f"{path}.{name}" if path else name
        if isinstance(value, BaseModel):
            note = f"  # {sources[key]}" if key in sources else ""
            inner += ["", f"[{key}]{note}", *_toml_table(value, key, sources, width)]
        else:
            line = f"{name} = {_toml_value(to_plain(value))}"
            lines.append(f"{line:<{width}}  # {sources[key]}" if key in sources else line)
    return lines + inner


def to_toml(settings: BaseModel, sources: Mapping[str, str] | None = None) -> str:
    """Settings as a TOML file that the loader reads back to the same settings (but for secrets).

    Args:
        settings: The settings, or a section of them.
        sources: Where each comes from, by dotted key (`Resolved.sources`): a comment on each line.
    """
    lines = _toml_table(settings, "", sources or {}, width=40 if sources else 0)
    return "\n".join(lines).strip() + "\n"


class _FileSchema(GenerateJsonSchema):
    """What a settings file may hold; the loader takes "none" for null, as TOML has no null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        plain = super().nullable_schema(schema)
        if "anyOf" in plain:
            plain["anyOf"].append({"const": "none"})
        return plain


def json_schema() -> dict[str, Any]:
    """The JSON schema of a settings file, for editors and checks."""
    schema = OriginSettings.model_json_schema(schema_generator=_FileSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}
