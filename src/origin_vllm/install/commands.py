"""The exact commands that the doctor and the installer tell people to run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from origin_vllm.install.environment import Environment

#: ``src/origin_vllm``.
PACKAGE = Path(__file__).resolve().parent.parent


def interpreter() -> str:
    """The running interpreter as one would type it: ``python`` where that is the same."""
    found = shutil.which("python")
    if found is not None and os.path.abspath(found) == os.path.abspath(sys.executable):  # noqa: PTH100
        return "python"  # compared without following links: a venv's python links to its base
    path = Path(sys.executable)
    with_cwd = Path.cwd()
    if path.is_relative_to(with_cwd):
        return shlex.quote(str(path.relative_to(with_cwd)))
    return shlex.quote(str(path))


def checkout() -> Path | None:
    """The root of the checkout this code runs from, or None where it was installed."""
    root = PACKAGE.parent.parent
    return root if (root / "pyproject.toml").is_file() and PACKAGE.parent.name == "src" else None


def pip(arguments: str) -> str:
    """A pip command for the running interpreter."""
    return f"{interpreter()} -m pip {arguments}"


def uninstall(environment: Environment, names: str) -> str:
    """A pip command that removes these; our alias first, for pip would stop at that vllm."""
    aliases = [shlex.quote(str(alias.folder)) for alias in environment.aliases()]
    first = f"rm -r {' '.join(aliases)} && " if aliases else ""
    return f"{first}{pip(f'uninstall -y {names}')}"


def setup(arguments: str) -> str:
    """A command of ours, for the running interpreter."""
    if _installed():
        return f"{interpreter()} -m origin_vllm.setup {arguments}"
    return f"{interpreter()} {shlex.quote(str(PACKAGE / 'setup.py'))} {arguments}"


def new_environment(device: str) -> str:
    """From nothing to a working environment: in a checkout by its Makefile, else by pip."""
    root = checkout()
    if root is not None:
        return f"make -C {shlex.quote(str(root))} setup DEVICE={device}"
    if device == "cuda":
        install = ".venv/bin/python -m pip install 'origin-vllm[cuda]'"
    else:
        install = (
            ".venv/bin/python -m pip install origin-vllm"
            " && .venv/bin/origin-vllm-setup --install cpu"
        )
    return f"python3 -m venv .venv && {install}"


def _installed() -> bool:
    """Whether ``-m origin_vllm.setup`` finds this package from anywhere."""
    return Environment().get("origin-vllm") is not None
