"""``origin-vllm serve``."""

from __future__ import annotations

import typer

#: Every flag is vLLM's or a setting; typer must not touch them, ``--help`` included.
CONTEXT_SETTINGS = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}


def serve_command(context: typer.Context) -> None:
    """Serve a model over HTTP: every endpoint and flag of `vllm serve`.

    `origin-vllm serve [MODEL] [flags]`. Without MODEL, the demo model that ships with the package,
    on 127.0.0.1:8000. `--help` lists the groups of flags, `--help=all` everything, `--help=Origin`
    ours.
    """
    from origin_vllm.serving.app import serve

    serve(context.args)
