"""What the machine and the interpreter are: read from files, nothing is started or imported."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

GIB = 1024**3
#: Oldest glibc for which every locked package has a wheel.
GLIBC_MIN = (2, 31)
#: Machines vLLM has wheels for.
MACHINES = ("x86_64", "aarch64")
PYTHON_MIN = (3, 11)
PYTHON_MAX_EXCLUSIVE = (3, 14)


@dataclass(frozen=True)
class Machine:
    """The facts the doctor and the installer decide by. Make one with `Machine.here`.

    Attributes:
        python: Version of the interpreter.
        executable: Path of the interpreter.
        isolated: Whether it belongs to a virtual environment (or a conda one).
        site: The folder packages are installed into.
        system: As ``platform.system()``.
        machine: As ``platform.machine()``.
        glibc: Version of the C library, None where it is another one.
        nvidia: How an NVIDIA GPU was noticed, None if not.
        cpu_flags: What ``/proc/cpuinfo`` lists.
        memory: Bytes this process may use (machine or cgroup), 0 if unknown.
        memory_free: Bytes free of these, 0 if unknown.
        shm: Bytes free in ``/dev/shm``, None if there is none.
        disk: Bytes free where packages are installed, None if unknown.
    """

    python: tuple[int, int, int]
    executable: str
    isolated: bool
    site: Path
    system: str = "Linux"
    machine: str = "x86_64"
    glibc: tuple[int, ...] | None = (2, 36)
    nvidia: str | None = None
    cpu_flags: frozenset[str] = field(default_factory=frozenset)
    memory: int = 0
    memory_free: int = 0
    shm: int | None = None
    disk: int | None = None

    @classmethod
    def here(cls) -> Machine:
        """This machine and the running interpreter."""
        site = Path(sysconfig.get_path("purelib"))
        memory, memory_free = memory_sizes()
        return cls(
            python=sys.version_info[:3],
            executable=sys.executable,
            isolated=in_environment(),
            site=site,
            system=platform.system(),
            machine=platform.machine(),
            glibc=_glibc(),
            nvidia=find_nvidia(),
            cpu_flags=_cpu_flags(),
            memory=memory,
            memory_free=memory_free,
            shm=free_space(Path("/dev/shm")),  # noqa: S108 - asked for its size only
            disk=free_space(site),
        )


def in_environment() -> bool:
    """Whether this interpreter belongs to a virtual environment, or to a conda environment."""
    if sys.prefix != sys.base_prefix:
        return True
    return (Path(sys.prefix) / "conda-meta").is_dir()


def find_nvidia(root: Path = Path("/")) -> str | None:
    """How an NVIDIA GPU shows itself on this machine, or None.

    The driver's own files come first: ``nvidia-smi`` alone may be left from an image made for
    GPU machines, so it counts only with a device node beside it.
    """
    gpus = root / "proc/driver/nvidia/gpus"
    try:
        count = sum(1 for _ in gpus.iterdir())
    except OSError:
        count = 0
    if count:
        return f"{count} NVIDIA GPU{'s' if count > 1 else ''}"
    if any((root / "dev" / f"nvidia{index}").exists() for index in range(16)):
        return "NVIDIA GPU (/dev/nvidia*)"
    if (root / "etc/nv_tegra_release").exists():
        return "NVIDIA Jetson"
    if (root / "dev/dxg").exists() and (root / "usr/lib/wsl/lib/libcuda.so.1").exists():
        return "NVIDIA GPU (WSL)"
    return None


def memory_sizes(root: Path = Path("/")) -> tuple[int, int]:
    """Bytes of memory this process may use, and bytes free of these; 0 where unknown.

    A container's limit (cgroup 2 or 1) counts where it is below the machine's memory.
    """
    values = {}
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdigit():
            values[name] = int(number[0]) * 1024
    total, free = values.get("MemTotal", 0), values.get("MemAvailable", 0)
    for limit_file, used_file in (
        ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
        (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        limit, used = _read(root / limit_file).strip(), _read(root / used_file).strip()
        if limit.isdigit() and 0 < int(limit) < total:
            total = int(limit)
            if used.isdigit():
                free = min(free, max(0, total - int(used)))
            break
    return total, free


def free_space(folder: Path) -> int | None:
    """Bytes free on the disk that ``folder`` is on or would be made on, None if unknown."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def _glibc() -> tuple[int, ...] | None:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""  # "glibc 2.36"
    except (AttributeError, OSError, ValueError):
        return None
    name, _, version = text.partition(" ")
    parts = version.split(".")
    if name != "glibc" or not all(part.isdigit() for part in parts):
        return None
    return tuple(int(part) for part in parts)


def _cpu_flags() -> frozenset[str]:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86 and Arm
            return frozenset(value.split())
    return frozenset()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
