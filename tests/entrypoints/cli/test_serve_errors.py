"""``origin-vllm`` when something is wrong: one sentence, what mends it, the right status.

And its help. Every test runs the real command; those that can fail before vLLM is imported run
against a stand-in that tells whether it was.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import origin_vllm
from tests.support.ports import free_port

COMMAND = [str(Path(sys.executable).with_name("origin-vllm"))]


def environment(home: Path) -> dict[str, str]:
    """An environment with a home of its own and nobody's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ORIGIN_VLLM_", "VLLM_", "XDG_", "PYTHONPATH"))
    }
    return {
        **kept,
        "HOME": str(home),
        "ORIGIN_VLLM_CONFIG": "none",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "COLUMNS": "100",
    }


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path / "home")


def run(
    *argv: str, env: dict[str, str], command: Sequence[str] = COMMAND, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *argv],
        env=env,
        cwd=Path(env["HOME"]).parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_refused(
    done: subprocess.CompletedProcess[str], status: int, *parts: str, remedy: str
) -> None:
    """One sentence with these parts, then what to try; no traceback, nothing after them."""
    told = done.stderr + done.stdout
    assert done.returncode == status, told
    assert "Traceback" not in told
    lines = done.stderr.splitlines()
    errors = [place for place, line in enumerate(lines) if line.startswith("error: ")]
    assert errors == [len(lines) - 2], done.stderr
    for part in parts:
        assert part in lines[-2]
    assert lines[-1].startswith("  try: ")
    assert remedy in lines[-1]
    assert "\033" not in done.stderr


def stand_in(folder: Path, version: str, code: str) -> dict[str, str]:
    """Put a package ``vllm`` first on the path; ``code`` runs when it is imported."""
    package = folder / "stand_in" / "vllm"
    package.mkdir(parents=True)
    (package / "_version.py").write_text(f"__version__ = version = {version!r}\n")
    (package / "__init__.py").write_text(code)
    return {"PYTHONPATH": str(package.parent)}


@pytest.fixture
def untouched(tmp_path: Path, env: dict[str, str]) -> Path:
    """A file that exists once ``vllm`` was imported; its import does nothing else."""
    marker = tmp_path / "vllm-was-imported"
    env |= stand_in(tmp_path, "0.32.0", f"open({str(marker)!r}, 'w')\n")
    return marker


# What can be said before vLLM is imported


@pytest.mark.parametrize(
    ("flags", "status", "parts", "remedy"),
    [
        (["--origin-server-baner", "no"], 2, ["--origin-server-banner"], "--help"),
        (["--origin-cpu-threads", "many"], 2, ["cpu.threads", "many"], "origin-vllm config"),
        (["--origin-cpu-threads"], 2, ["--origin-cpu-threads needs a value"], "--help"),
        (["--origin-config", "gone.toml"], 2, ["gone.toml does not exist"], "--origin-config"),
        (["--origin-config", "bad.toml"], 2, ["bad.toml"], ""),
        (["--origin-config", "wrong.toml"], 2, ["did you mean cpu.threads"], "origin-vllm config"),
    ],
)
def test_bad_settings(
    tmp_path: Path, env: dict[str, str], untouched: Path,
    flags: list[str], status: int, parts: list[str], remedy: str,
) -> None:  # fmt: skip
    (tmp_path / "bad.toml").write_text("cpu = [")
    (tmp_path / "wrong.toml").write_text("[cpu]\nthread = 1\n")
    assert_refused(run("serve", *flags, env=env), status, *parts, remedy=remedy)
    assert not untouched.exists()


def test_bad_variable(env: dict[str, str], untouched: Path) -> None:
    env["ORIGIN_VLLM_CPU__THREADS"] = "-1"
    done = run("serve", env=env)
    assert_refused(done, 2, "ORIGIN_VLLM_CPU__THREADS", remedy="origin-vllm config")
    assert not untouched.exists()


def test_rust_frontend(env: dict[str, str], untouched: Path) -> None:
    env["VLLM_USE_RUST_FRONTEND"] = "1"
    done = run("serve", env=env)
    assert_refused(done, 2, "VLLM_USE_RUST_FRONTEND", remedy="env -u VLLM_USE_RUST_FRONTEND")
    assert not untouched.exists()


@pytest.mark.parametrize("version", ["0.5.4", "9.9.0"])
def test_unsupported_vllm(tmp_path: Path, env: dict[str, str], version: str) -> None:
    marker = tmp_path / "imported"
    env |= stand_in(tmp_path, version, f"open({str(marker)!r}, 'w')\n")
    assert_refused(run("serve", env=env), 3, version, "0.24", remedy="pip install 'vllm>=0.24")
    assert not marker.exists()


def test_vllm_that_does_not_import(tmp_path: Path, env: dict[str, str]) -> None:
    reason = "operator torchvision::nms does not exist"
    env |= stand_in(tmp_path, "0.32.0", f"raise RuntimeError({reason!r})\n")
    assert_refused(run("serve", env=env), 3, "0.32.0", reason, remedy="origin-vllm doctor")


@pytest.fixture
def without_vllm(tmp_path: Path, env: dict[str, str]) -> list[str]:
    """The command in an environment that has all but vLLM."""
    here = tmp_path / "packages"
    here.mkdir()
    for folder in sys.path:
        if Path(folder).name == "site-packages":
            for entry in Path(folder).iterdir():
                if not entry.name.startswith(("vllm", "__")) and not (here / entry.name).exists():
                    (here / entry.name).symlink_to(entry)
    ours = str(Path(origin_vllm.__file__).parents[1])
    env["PYTHONPATH"] = os.pathsep.join([ours, str(here)])
    call = "from origin_vllm.entrypoints.cli import main; main()"
    return [sys.executable, "-S", "-c", call]  # -S: no site-packages but ours


def test_missing_vllm(env: dict[str, str], without_vllm: list[str]) -> None:
    done = run("serve", env=env, command=without_vllm)
    assert_refused(done, 3, "vLLM is not installed", remedy="origin-vllm-setup --install cpu")


def test_the_rest_works_without_vllm(env: dict[str, str], without_vllm: list[str]) -> None:
    done = run("--version", env=env, command=without_vllm)
    assert done.returncode == 0
    assert "not installed" in done.stdout
    assert run("config", "show", env=env, command=without_vllm).returncode == 0
    assert run("--help", env=env, command=without_vllm).returncode == 0


# What only vLLM knows

VLLM_CASES = {
    "model path": ["serve", "./no-such-model"],
    "model name": ["serve", "nobody/no-such-model"],
    "no model inside": ["serve", "./empty"],
    "unknown flag": ["serve", "--enforce-eagr"],
    "not a number": ["serve", "--port", "eighty"],
    "flags that need another": ["serve", "--enable-log-outputs"],
    "not JSON": ["serve", "--compilation-config", "{"],
    "no such file": ["serve", "--config", "gone.yaml"],
    "help": ["serve", "--help"],
    "help of ours": ["serve", "--help=Origin"],
    "all help": ["serve", "--help=all"],
}
#: Those that come far enough to listen.
NEED_A_PORT = ("model name", "no model inside")
# Importing vLLM takes seconds: once, then a fork of that process for each case.
_FORKS = """
import json, os, sys, traceback
import vllm.entrypoints.cli.serve
from origin_vllm.entrypoints.cli import main

told = {}
for name, argv in json.loads(sys.argv[1]).items():
    pid = os.fork()
    if pid == 0:
        for number, file in ((1, "out"), (2, "err")):
            os.dup2(os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
        sys.argv = ["origin-vllm", *argv]
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
            status = 1
        else:
            status = 0
        sys.stdout.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    told[name] = [status, open("out").read(), open("err").read()]
json.dump(told, open("told.json", "w"))
"""


@pytest.fixture(scope="module")
def of_vllm(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, subprocess.CompletedProcess[str]]:
    """What each of ``VLLM_CASES`` led to."""
    home = tmp_path_factory.mktemp("of_vllm") / "home"
    (home.parent / "empty").mkdir()
    port = str(free_port())
    cases = {
        name: [*argv, "--port", port] if name in NEED_A_PORT else argv
        for name, argv in VLLM_CASES.items()
    }
    command = [sys.executable, "-c", _FORKS, json.dumps(cases)]
    done = run(env=environment(home), command=command, timeout=240)
    assert done.returncode == 0, done.stderr
    told = json.loads((home.parent / "told.json").read_text())
    return {
        name: subprocess.CompletedProcess(VLLM_CASES[name], *result)
        for name, result in told.items()
    }


@pytest.mark.engine
@pytest.mark.parametrize(
    ("case", "parts", "remedy"),
    [
        ("model path", ["model: ", "'./no-such-model'"], "the demo model"),
        ("model name", ["model: ", "'nobody/no-such-model'"], "HF_HUB_OFFLINE"),
        ("no model inside", ["model: ", "'./empty'"], "config.json"),
        ("unknown flag", ["--enforce-eagr; did you mean --enforce-eager?"], "--help=all"),
        ("not a number", ["--port", "'eighty'"], "--help=all"),
        ("flags that need another", ["--enable-log-requests"], "--help=all"),
        ("not JSON", ["--compilation-config", "Invalid JSON"], "--help=all"),
        ("no such file", ["gone.yaml"], "--help=all"),
    ],
)
def test_bad_arguments(
    of_vllm: dict[str, subprocess.CompletedProcess[str]], case: str, parts: list[str], remedy: str
) -> None:
    assert_refused(of_vllm[case], 2, *parts, remedy=remedy)


@pytest.mark.engine
def test_serve_help(of_vllm: dict[str, subprocess.CompletedProcess[str]]) -> None:
    brief, ours, everything = (of_vllm[case] for case in ("help", "help of ours", "all help"))
    for told in (brief, ours, everything):
        assert told.returncode == 0
        assert "Traceback" not in told.stderr
    assert "usage: origin-vllm serve [model_tag] [options]" in brief.stdout
    assert "Origin" in brief.stdout
    assert "--origin-server-banner" in ours.stdout
    assert "--tensor-parallel-size" not in ours.stdout
    for flag in (
        "--origin-config", "--host", "--api-server-count", "--data-parallel-size",
        "--tensor-parallel-size", "--headless", "--max-model-len", "--api-key",
    ):  # fmt: skip
        assert flag in everything.stdout


@pytest.mark.engine
def test_port_in_use(env: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), env=env)
    assert_refused(done, 2, f"port {port}", "in use", remedy=f"--port {port + 1}")
    assert "Origin vLLM serves" not in done.stderr


# Help and completions


def test_help_and_version(env: dict[str, str], untouched: Path) -> None:
    told = run("--help", env=env)
    assert told.returncode == 0
    for command in ("serve", "doctor", "config", "version"):
        assert command in told.stdout
    for argv in (["--version"], ["version"]):
        told = run(*argv, env=env)
        assert told.returncode == 0
        assert f"origin-vllm {origin_vllm.version.__version__}" in told.stdout
        assert "0.32.0" in told.stdout
    assert run("serv", env=env).returncode == 2
    assert not untouched.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(env: dict[str, str], untouched: Path, shell: str) -> None:
    told = run("--show-completion", shell, env=env)
    assert told.returncode == 0
    assert "origin-vllm" in told.stdout
    # What the shell calls when Tab is pressed.
    asked = run(
        env=env | {
            "_ORIGIN_VLLM_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "origin-vllm s",
            "COMP_CWORD": "1",
            "_TYPER_COMPLETE_ARGS": "origin-vllm s",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    )  # fmt: skip
    assert "serve" in asked.stdout
    assert "doctor" not in asked.stdout
    assert not untouched.exists()
