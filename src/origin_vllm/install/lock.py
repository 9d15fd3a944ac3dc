"""Reading a lock file: one ``name==version`` a line, with at most a machine as its condition."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from origin_vllm.errors import ConfigError

#: The CPU environment, shipped with the package.
CPU_LOCK = Path(__file__).with_name("cpu.lock")

_LINE = re.compile(
    r"""(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)
        (?:\s*;\s*platform_machine\s*==\s*"(?P<machine>[^"]+)")?""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Pin:
    """One locked package: its name as written and canonical, and the exact version."""

    name: str
    version: str

    @property
    def key(self) -> str:
        """The name as packaging compares it (PEP 503)."""
        return canonical(self.name)

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def canonical(name: str) -> str:
    """A distribution's name as packaging compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path = CPU_LOCK, machine: str | None = None) -> list[Pin]:
    """The pins of a lock file that apply to ``machine`` (default: this one).

    Raises:
        ConfigError: the file is missing or a line is not of the form above.
    """
    machine = machine or platform.machine()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The lock file {path} can't be read ({error.strerror}).",
            remedy="name an existing file of name==version lines",
        ) from error
    pins = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(
                f"Line {number} of {path} is not a pin: {line!r}.",
                remedy='write name==version, if need be with ; platform_machine == "x86_64"',
            )
        if match["machine"] in (None, machine):
            pins.append(Pin(match["name"], match["version"]))
    return pins
