"""``origin-vllm doctor``: what is here, will it serve, and the command that mends it."""

from __future__ import annotations

from typing import Annotated

import typer

from origin_vllm.install.doctor import DEEP_TIMEOUT, diagnose
from origin_vllm.install.findings import show


def doctor_command(
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the findings for a program to read.")
    ] = False,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Also import vLLM in a subprocess and show its device."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds the import may take with --deep.")
    ] = DEEP_TIMEOUT,
) -> None:
    """Look over this environment: what is here, will it serve, what mends it.

    Exit status: 0 when serving will work, 3 when it will not.
    """
    raise typer.Exit(show(diagnose(deep=deep, timeout=timeout), json_output=json_output))
