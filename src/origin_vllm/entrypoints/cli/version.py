"""``origin-vllm version``."""

from __future__ import annotations

import platform

import typer


def version_command() -> None:
    """Show the versions of Origin vLLM, vLLM and Python; imports no vLLM."""
    from origin_vllm.commit_id import commit_id
    from origin_vllm.seam import vllm_version
    from origin_vllm.version import __version__

    typer.echo(f"origin-vllm {__version__} (commit {commit_id})")
    typer.echo(f"vllm        {vllm_version() or 'not installed'}")
    typer.echo(f"python      {platform.python_version()}")
