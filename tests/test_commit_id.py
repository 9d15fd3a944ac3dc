from __future__ import annotations

from pathlib import Path

import pytest

import origin_vllm.commit_id as commit_id
from origin_vllm.commit_id import read_commit, read_git

ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / "src" / "origin_vllm").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return tmp_path


def test_a_branch(checkout: Path) -> None:
    (checkout / ".git" / "refs" / "heads" / "main").write_text(f"{ONE}\n")
    assert read_commit(checkout / "src" / "origin_vllm") == ONE


def test_a_packed_branch(checkout: Path) -> None:
    (checkout / ".git" / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{TWO} refs/heads/other\n{ONE} refs/heads/main\n^{TWO}\n"
    )
    assert read_git(checkout) == ONE


def test_a_detached_head_and_sha_256(checkout: Path) -> None:
    (checkout / ".git" / "HEAD").write_text(f"{TWO}\n")
    assert read_git(checkout) == TWO
    (checkout / ".git" / "HEAD").write_text("a" * 64)
    assert read_git(checkout) == "a" * 64


def test_a_worktree_shares_its_branches(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".git" / "refs" / "heads" / "topic").write_text(ONE)
    inside = checkout / ".git" / "worktrees" / "topic"
    inside.mkdir(parents=True)
    (inside / "HEAD").write_text("ref: refs/heads/topic\n")
    (inside / "commondir").write_text("../..\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {inside}\n")
    assert read_git(tree) == ONE


def test_a_repository_without_a_commit(checkout: Path) -> None:
    assert read_git(checkout) is None
    assert read_commit(checkout / "src" / "origin_vllm") == "unknown"


def test_an_installed_copy_reads_what_the_build_left(checkout: Path) -> None:
    (checkout / ".git" / "refs" / "heads" / "main").write_text(ONE)
    site = checkout / ".venv" / "lib" / "python3.11" / "site-packages" / "origin_vllm"
    site.mkdir(parents=True)
    assert read_commit(site) == "unknown"  # the repository around it is not its own
    (site / "_commit.txt").write_text(f"{TWO}\n")
    assert read_commit(site) == TWO
    (site / "_commit.txt").write_text("something else\n")
    assert read_commit(site) == "unknown"


def test_the_name_the_document_gives() -> None:
    assert commit_id.commit_id == "unknown" or len(commit_id.commit_id) in (40, 64)
