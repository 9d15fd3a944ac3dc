"""The one settings tree of Origin vLLM.

Sources, later ones win: defaults, a settings file (TOML or JSON), environment variables
(``ORIGIN_VLLM_<SECTION>__<FIELD>``), flags (``--origin-<section>-<field>``). Anything that is not
known anywhere is an error. ``model.py`` holds the tree, ``docs/configuration.md`` the reference.

Importing this package imports neither torch nor vLLM.
"""

from origin_vllm.settings.flags import FlagSpec, flag_specs, flags_to_env, split_flags
from origin_vllm.settings.model import (
    CacheConfig,
    CPUSettings,
    ExtensionSettings,
    HandlerConfig,
    InheritanceSettings,
    NLPConfig,
    OriginSettings,
    SeamSettings,
    Section,
    ServerSettings,
    SimilarityConfig,
)
from origin_vllm.settings.render import json_schema, to_plain, to_toml
from origin_vllm.settings.resolve import (
    Resolved,
    explain,
    get_settings,
    load_settings,
    reset_settings,
    resolve,
)

__all__ = [
    "CPUSettings",
    "CacheConfig",
    "ExtensionSettings",
    "FlagSpec",
    "HandlerConfig",
    "InheritanceSettings",
    "NLPConfig",
    "OriginSettings",
    "Resolved",
    "SeamSettings",
    "Section",
    "ServerSettings",
    "SimilarityConfig",
    "explain",
    "flag_specs",
    "flags_to_env",
    "get_settings",
    "json_schema",
    "load_settings",
    "reset_settings",
    "resolve",
    "split_flags",
    "to_plain",
    "to_toml",
]
