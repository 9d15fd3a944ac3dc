"""The command line: ``origin-vllm``. One file a command; nothing heavy until a command needs it.

Exit statuses: 0 done (or a server stopped by a signal it handled), 1 an unexpected error, 2 a wrong
argument or setting, 3 vLLM is missing or unusable, 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import typer

from origin_vllm.entrypoints.cli import config, doctor, serve, version
from origin_vllm.errors import OriginError

app = typer.Typer(
    name="origin-vllm",
    help="Origin vLLM, the extension layer for vLLM: all of it, unforked, by inheritance.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve", context_settings=serve.CONTEXT_SETTINGS)(serve.serve_command)
app.command("doctor")(doctor.doctor_command)
app.command("version")(version.version_command)
app.add_typer(config.app, name="config")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: bool = typer.Option(
        False, "--version", "-v", help="Show the versions and exit.", is_eager=True
    ),
) -> None:
    if show_version:
        version.version_command()
        raise typer.Exit


def main() -> None:
    """Run the command line; errors of ours become one sentence and an exit status."""
    try:
        app()
    except OriginError as error:
        _print_error(error)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        # The reader of our output left (`origin-vllm config show | head`); nothing to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _print_error(error: OriginError) -> None:
    red, plain = ("\033[31m", "\033[0m") if _coloured() else ("", "")
    sys.stderr.write(f"{red}error:{plain} {error.message}\n")
    if error.remedy:
        sys.stderr.write(f"  try: {error.remedy}\n")


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")
