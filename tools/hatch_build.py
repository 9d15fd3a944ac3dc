"""Build hook: leaves the commit in the package (``origin_vllm/_commit.txt``) for `commit_id`."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import (  # type: ignore[import-not-found, unused-ignore]
    BuildHookInterface,
)


class CommitHook(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
    """Writes the file into wheels and source archives; the checkout itself is left alone."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each build; editable installs read ``.git`` instead."""
        if version == "editable":
            return
        package = Path(self.root) / "src" / "origin_vllm"
        spec = importlib.util.spec_from_file_location("commit_id", package / "commit_id.py")
        if spec is None or spec.loader is None:
            raise RuntimeError(f"{package / 'commit_id.py'} is missing")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if module.commit_id == "unknown" or (package / "_commit.txt").exists():
            return  # built from a source archive: the file is in the package already
        file = Path(tempfile.mkdtemp(prefix="origin-vllm-build-")) / "_commit.txt"
        file.write_text(module.commit_id + "\n")
        inside = "origin_vllm" if self.target_name == "wheel" else "src/origin_vllm"
        build_data["force_include"][str(file)] = f"{inside}/_commit.txt"
        self._made = file

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called after each build."""
        made: Path | None = getattr(self, "_made", None)
        if made is not None:
            made.unlink(missing_ok=True)
            made.parent.rmdir()
