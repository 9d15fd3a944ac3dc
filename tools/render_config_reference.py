"""Write docs/configuration.md from the settings tree.

Usage: python tools/render_config_reference.py [--check]

``--check`` writes nothing and ends with status 1 when the file is not what it would write.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from origin_vllm.settings import flag_specs, to_plain
from origin_vllm.settings.tree import TREE, Setting

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "configuration.md"

INTRODUCTION = """\
# Configuration

<!-- Written by tools/render_config_reference.py from the settings tree: edit that, not this. -->

Origin vLLM has one tree of settings. vLLM's own settings are not in it: they stay flags of
`origin-vllm serve` and arguments of the engine classes, as in vLLM.

## Where settings come from

Later ones win, setting by setting:

1. the **defaults** below;
2. one **file**, TOML or JSON: the first of `--origin-config FILE`, the variable
   `ORIGIN_VLLM_CONFIG`, `./origin_vllm.toml`, `./origin_vllm.json`,
   `~/.config/origin_vllm/config.toml` (or under `XDG_CONFIG_HOME`); the word `none` for the first
   two means that no file is read;
3. **environment variables**, `ORIGIN_VLLM_<SECTION>__<FIELD>` with two underscores between levels;
   an empty variable counts as not set;
4. **flags** of `origin-vllm serve`, `--origin-<section>-<field>`. They are handed to the engine's
   processes as the environment variables of the same settings.

The same setting, four times:

```toml title="origin_vllm.toml"
[handler.cache]
max_bytes = 1073741824
```

```json title="origin_vllm.json"
{"handler": {"cache": {"max_bytes": 1073741824}}}
```

```console
$ export ORIGIN_VLLM_HANDLER__CACHE__MAX_BYTES=1073741824
$ origin-vllm serve --origin-handler-cache-max-bytes 1073741824
```

In Python, an engine takes its part of the tree as an object:
`EnhancedAsyncLLM(model=..., handler_config=HandlerConfig(cache=CacheConfig(max_bytes=2**30)))`.

## How values are written

- Where *none* is allowed, write `null` in JSON and the word `none` (`"none"` in TOML) elsewhere.
- Flags always take a value: `--origin-server-banner false`.
- Lists are JSON in variables and flags: `--origin-extensions-load '["my_package.hooks:audit"]'`.
- Numbers and true or false in a file are not quoted: `"5"` is a string there.
- A section that can be *none* is switched off as a whole (`--origin-handler-cache none`) and on by
  setting one of its fields, by its table in a file, or by a JSON object (`'{}'` for its defaults),
  which also replaces what a lower source said about its fields.

## Mistakes

Whatever is not known is an error: a key, a variable that starts with `ORIGIN_VLLM_`, a flag that
starts with `--origin-`. All mistakes are told at once, a line each, with the file or variable, the
key, what was found and what is allowed; commands end with status 2. Values of secrets are never
shown. Four variables under our prefix are not settings: `ORIGIN_VLLM_CONFIG` (above), and
`ORIGIN_VLLM_ACTIVE`, `ORIGIN_VLLM_MODELS`, `ORIGIN_VLLM_SERVE`, which our processes set for each
other. The variables that Kubernetes adds for a Service called `origin-vllm` are left alone.

```console
$ origin-vllm config show --sources      # the settings in effect, and where each comes from
$ origin-vllm config validate FILE       # is this file right?
$ origin-vllm config schema              # JSON schema of a file, for editors
```

`config show` takes the flags of `origin-vllm serve` too, and its TOML is a settings file again.

## Every setting
"""


def _cell(text: str) -> str:
    """Text fit for a table cell: a bar would end it, in code too."""
    text = re.sub(r"`([^`]*\|[^`]*)`", r"<code>\1</code>", text)
    return text.replace("|", "&#124;")


def _default(setting: Setting) -> str:
    value = to_plain(setting.default)
    if setting.section is not None:
        return "on" if value is not None else "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        return f"{value} ({value // 2**20} MiB)"
    return str(value)


def _row(setting: Setting) -> str:
    cells = [
        f"`{setting.path[-1]}`",
        _cell(setting.allowed),
        _cell(_default(setting)),
        f"`{setting.env}`<br>`{setting.flag}`",
        _cell(setting.help),
    ]
    return f"| {' | '.join(cells)} |"


def render() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for path, model in TREE.sections.items():
        if not path:
            continue
        lines += [f"### `[{'.'.join(path)}]`", "", (model.__doc__ or "").split("\n\n")[0], ""]
        rows = [_row(s) for s in TREE.settings if s.path[:-1] == path]
        if rows:
            lines += ["| setting | type | default | variable, flag | what it does |"]
            lines += ["|---|---|---|---|---|", *rows, ""]
    config = flag_specs()[0]
    lines += [f"Besides these, `{config.flag}` (`{config.env}`) names the file: {config.help}"]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Write the page, or check it. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/configuration.md from the settings.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when it differs")
    parser.add_argument(
        "--target", type=Path, default=TARGET, help="the file (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    target: Path = args.target
    page = render()
    if args.check:
        if target.is_file() and target.read_text(encoding="utf-8") == page:
            return 0
        print(f"error: {target.name} differs from the settings tree", file=sys.stderr)
        print("  try: python tools/render_config_reference.py", file=sys.stderr)
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
