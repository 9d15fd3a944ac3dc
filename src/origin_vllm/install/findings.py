"""What the doctor found, and how it is shown."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

Level = Literal["ok", "warn", "error"]

#: Exit status of the doctor and of the commands that need vLLM, when serving will not work.
WILL_NOT_SERVE = 3

_COLOURS = {"ok": "32", "warn": "33", "error": "31"}


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at.

    Attributes:
        level: ``error``: serving will not work. ``warn``: it will, less well than it could.
        name: What was looked at, one word; several findings may share it.
        message: What is so, one sentence.
        remedy: The exact command that mends it; there for every finding that is not ``ok``.
    """

    level: Level
    name: str
    message: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        if self.level != "ok" and not self.remedy:
            raise ValueError(f"finding {self.name!r} ({self.level}) needs a remedy")


def will_serve(findings: Sequence[Finding]) -> bool:
    """Whether serving will work, by these findings."""
    return all(finding.level != "error" for finding in findings)


def exit_status(findings: Sequence[Finding]) -> int:
    """0 when serving will work, else 3."""
    return 0 if will_serve(findings) else WILL_NOT_SERVE


def as_json(findings: Sequence[Finding]) -> str:
    """The findings for a program to read: ``{"serving": bool, "findings": [...]}``."""
    value = {
        "serving": will_serve(findings),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(value, indent=2, ensure_ascii=False)


def use_colour(stream: TextIO) -> bool:
    """Colour only on a terminal, never with NO_COLOR (https://no-color.org) or TERM=dumb."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def as_text(findings: Sequence[Finding], *, colour: bool = False, width: int | None = None) -> str:
    """The findings as an aligned table with the commands below what they mend.

    Args:
        findings: What to show, in this order.
        colour: Whether to colour the levels.
        width: Characters a line; None leaves lines whole (output that is not a terminal).
    """
    column = max((len(finding.name) for finding in findings), default=0)
    indent = " " * (11 + column)
    lines = []
    for finding in findings:
        level = f"{finding.level:<5}"
        if colour:
            level = f"\033[{_COLOURS[finding.level]}m{level}\033[0m"
        message = [finding.message]
        if width is not None:
            room = max(30, width - len(indent))
            message = textwrap.wrap(finding.message, room, break_on_hyphens=False) or [""]
        lines.append(f"  {level}  {finding.name:<{column}}  {message[0]}")
        lines += [f"{indent}{line}" for line in message[1:]]
        if finding.remedy:
            # Never wrapped: it is there to be copied.
            lines.append(f"{indent}-> {finding.remedy}")
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warn" for finding in findings)
    summary = "Serving will work" if not errors else "Serving will not work"
    counts = [
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in ((errors, "error"), (warnings, "warning"))
        if count
    ]
    summary += f" ({', '.join(counts)})." if counts else "."
    if colour:
        summary = f"\033[1m{summary}\033[0m"
    return "\n".join([*lines, "", summary])


def show(findings: Sequence[Finding], *, json_output: bool = False) -> int:
    """Print the findings on standard output and return the exit status."""
    stream = sys.stdout
    if json_output:
        text = as_json(findings)
    else:
        width = shutil.get_terminal_size().columns if stream.isatty() else None
        text = as_text(findings, colour=use_colour(stream), width=width)
    stream.write(text + "\n")
    stream.flush()
    return exit_status(findings)
