from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import origin_vllm.setup as setup
from origin_vllm.errors import OriginError
from origin_vllm.install.findings import Finding
from origin_vllm.install.installer import Installer

SCRIPT = Path(setup.__file__)


def test_the_doctor_is_what_it_does_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}

    def diagnose(**options: object) -> list[Finding]:
        asked.update(options)
        return [Finding("error", "vllm", "missing", "install it")]

    monkeypatch.setattr(setup, "diagnose", diagnose)
    assert setup.main([]) == 3
    assert "-> install it" in capsys.readouterr().out
    assert setup.main(["--json", "--deep", "--timeout", "5"]) == 3
    assert asked == {"deep": True, "timeout": 5.0}
    assert json.loads(capsys.readouterr().out)["serving"] is False


def test_installing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[object] = []
    monkeypatch.setattr(Installer, "install", lambda self, device: done.append(device))
    monkeypatch.setattr(Installer, "install_lock", lambda self, lock: done.append(lock))
    assert setup.main(["--install", "cpu", "--lock", str(tmp_path), "--dry-run"]) == 0
    assert done == ["cpu", tmp_path]


def test_an_error_is_one_sentence_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(self: Installer, device: str) -> None:
        raise OriginError("It can't be.", remedy="do this")

    monkeypatch.setattr(Installer, "install", install)
    assert setup.main(["--install", "cpu"]) == 1
    assert capsys.readouterr().err == "origin-vllm-setup: It can't be.\n  try: do this\n"


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def install(self: Installer, device: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Installer, "install", install)
    assert setup.main(["--install", "cpu"]) == 130
    assert "run it again" in capsys.readouterr().err


def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        setup.main(["--install", "tpu"])
    assert caught.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["in its folder", "from elsewhere", "as a module"])
def test_it_runs_with_a_bare_python(where: str, tmp_path: Path) -> None:
    """As the source document calls it: ``cd origin_vllm && python setup.py``."""
    arguments = {
        "in its folder": ["setup.py"],
        "from elsewhere": [str(SCRIPT)],
        "as a module": ["-m", "origin_vllm.setup"],
    }[where]
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    env["PYTHONPATH"] = str(SCRIPT.parent.parent) if where == "as a module" else ""
    done = subprocess.run(
        # -S: no site-packages, so nothing but the standard library
        [sys.executable, "-S", *arguments, "--json"],
        cwd=SCRIPT.parent if where == "in its folder" else tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    value = json.loads(done.stdout)
    assert done.returncode == 3
    assert [f["message"] for f in value["findings"] if f["name"] == "vllm"] == [
        "vLLM is not installed in this environment"
    ]
