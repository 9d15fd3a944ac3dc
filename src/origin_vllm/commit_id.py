"""The commit this code was built from.

In a checkout it is read from ``.git`` (without git), in an installed package from the file that
the build left (``tools/hatch_build.py``); where neither is, it is ``unknown``.
"""

from __future__ import annotations

import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1 or SHA-256


def read_commit(package: Path = _PACKAGE) -> str:
    """The commit of the package in this folder: 40 (or 64) hex digits, or ``unknown``."""
    # Only the checkout this file belongs to: an installed copy may lie inside another repository.
    root = package.parent.parent
    if package.parent.name == "src" and (root / "pyproject.toml").is_file():
        found = read_git(root)
        if found is not None:
            return found
    return _commit_in(package / "_commit.txt") or "unknown"


def read_git(root: Path) -> str | None:
    """The commit that HEAD of the checkout at ``root`` stands for, or None."""
    folder = root / ".git"
    if folder.is_file():  # a worktree or a submodule: the file names the folder
        target = _text(folder).removeprefix("gitdir:").strip()
        folder = root / target
    head = _text(folder / "HEAD").strip()
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else None
    ref = head.removeprefix("ref:").strip()
    # A worktree keeps its HEAD to itself and shares the branches.
    common = folder / (_text(folder / "commondir").strip() or ".")
    for place in (folder, common):
        found = _commit_in(place / ref)
        if found is not None:
            return found
    for line in _text(common / "packed-refs").splitlines():
        commit, _, name = line.partition(" ")
        if name == ref and _COMMIT.fullmatch(commit):
            return commit
    return None


def _commit_in(path: Path) -> str | None:
    text = _text(path).strip()
    return text if _COMMIT.fullmatch(text) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


#: The commit, or ``unknown``.
commit_id: str = read_commit()
