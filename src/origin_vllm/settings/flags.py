"""The flags of ``origin-vllm serve``: one for each setting, under one prefix.

They are told apart from vLLM's own flags here and handed on as environment variables, so that
engine and worker processes read the same settings as the process that parsed them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from origin_vllm.errors import ConfigError
from origin_vllm.settings.resolve import CONFIG_KEY, CONFIG_VARIABLE
from origin_vllm.settings.sources import did_you_mean, shown
from origin_vllm.settings.tree import FLAG_PREFIX, TREE

CONFIG_FLAG = FLAG_PREFIX + CONFIG_KEY


@dataclass(frozen=True)
class FlagSpec:
    """One flag, with all that a help page needs.

    Args:
        flag: ``--origin-handler-cache-max-bytes``.
        path: The dotted key it sets; ``config`` for the settings file itself.
        type: What may be given, in words.
        help: What it does, on one line.
        metavar: The value's place in the help.
        env: The variable that does the same.
    """

    flag: str
    path: str
    type: str
    help: str
    metavar: str
    env: str


def flag_specs() -> list[FlagSpec]:
    """Every flag we add to ``vllm serve``'s, in the order of the tree."""
    config = FlagSpec(
        CONFIG_FLAG,
        CONFIG_KEY,
        "the path of a TOML or JSON file, or none",
        "Settings file to read; none: read no file, not even from the usual places.",
        "FILE|none",
        CONFIG_VARIABLE,
    )
    return [
        config,
        *(FlagSpec(s.flag, s.key, s.allowed, s.help, s.metavar, s.env) for s in TREE.settings),
    ]


def split_flags(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Take our flags out of a command line.

    ``--flag value`` and ``--flag=value`` are the same, as are ``-`` and ``_`` inside a flag (vLLM
    does that too); a repeated flag counts as last given; nothing after ``--`` is looked at.

    Returns:
        Our flags as dotted key to text, and everything else, untouched and in order.

    Raises:
        ConfigError: A flag under our prefix that does not exist or has no value.
    """
    specs = {spec.flag: spec for spec in flag_specs()}
    ours: dict[str, str] = {}
    rest: list[str] = []
    problems: list[str] = []
    words = iter(enumerate(argv))
    for place, word in words:
        if word == "--":
            rest += argv[place:]
            break
        name, equals, value = word.partition("=")
        flag = name.replace("_", "-")
        if not flag.startswith(FLAG_PREFIX):
            rest.append(word)
            continue
        spec = specs.get(flag)
        if not equals and place + 1 < len(argv) and not argv[place + 1].startswith("--"):
            value = next(words)[1]
        if spec is None:
            near = did_you_mean(flag, specs)
            problems.append(
                f"{shown(name)} is not a flag" + (f"; did you mean {near}?" if near else "")
            )
        elif not value:
            problems.append(f"{flag} needs a value: {spec.type}")
        else:
            ours[spec.path] = value
    if problems:
        message = problems[0] if len(problems) == 1 else "\n  - ".join(["wrong flags:", *problems])
        raise ConfigError(message, remedy="origin-vllm serve --help   (lists every flag)")
    return ours, rest


def flags_to_env(ours: Mapping[str, str]) -> dict[str, str]:
    """The variables that give a child process the settings these flags give this one.

    To be laid over the environment. A flag for a whole section also blanks the variables of the
    section's fields (an empty variable counts as unset): in the environment the field's variable
    would win over the section's.

    Args:
        ours: As from `split_flags`.
    """
    env: dict[str, str] = {}
    for key, text in ours.items():
        if key == CONFIG_KEY:
            env[CONFIG_VARIABLE] = text
            continue
        setting = TREE.by_key[key]
        env[setting.env] = text
        if setting.section is not None:
            env |= {inner.env: "" for inner in TREE.below(setting.path) if inner.key not in ours}
    return env
