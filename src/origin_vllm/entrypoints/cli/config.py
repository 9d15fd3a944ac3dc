"""``origin-vllm config``: look at the settings, check a file, print the schema.

Exit statuses: 0 all well, 2 bad settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from origin_vllm.errors import ConfigError
from origin_vllm.settings import json_schema, resolve, split_flags, to_plain, to_toml

app = typer.Typer(
    name="config",
    help="Look at the settings: where each comes from, what there is, whether a file is right.",
    no_args_is_help=True,
)


class Format(StrEnum):
    """How settings are printed."""

    toml = "toml"
    json = "json"


@contextmanager
def _told() -> Iterator[None]:
    """End the command with a settings error's message instead of a traceback."""
    try:
        yield
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def show(
    context: typer.Context,
    origin_config: Annotated[
        str | None,
        typer.Option(metavar="FILE|none", help="Settings file to read; none: read no file."),
    ] = None,
    format: Annotated[
        Format, typer.Option(help="How to print; TOML can be used as a settings file again.")
    ] = Format.toml,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also say where each value comes from.")
    ] = False,
) -> None:
    """Print the settings in effect: defaults, file, environment and the flags given here.

    Takes the --origin-... flags of `origin-vllm serve` too, to see what they would do.
    """
    with _told():
        flags, rest = split_flags(context.args)
        if rest:
            raise ConfigError(
                f"config show does not take {rest[0]}", remedy="origin-vllm config show --help"
            )
        if origin_config is not None:
            flags["config"] = origin_config
        resolved = resolve(flags)
    if format is Format.toml:
        if sources:
            typer.echo(f"# settings file: {resolved.file or 'none'}")
        typer.echo(to_toml(resolved.settings, resolved.sources if sources else None), nl=False)
        return
    plain = to_plain(resolved.settings)
    if sources:
        plain = {"file": resolved.file, "settings": plain, "sources": resolved.sources}
    typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))


@app.command()
def schema() -> None:
    """Print the JSON schema of a settings file, for editors and checks."""
    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A settings file, TOML or JSON.")],
) -> None:
    """Check a settings file on its own, without the environment."""
    with _told():
        # "./": a file that happens to be called "none" is still a file.
        resolved = resolve({"config": str(file) if file.is_absolute() else f"./{file}"}, env={})
    count = sum(source != "default" for source in resolved.sources.values())
    typer.echo(f"{file}: right, {count} settings in it")
