"""``origin-vllm config``: what it prints, and how it ends."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from origin_vllm.entrypoints.cli.config import app
from origin_vllm.settings import OriginSettings, json_schema, to_plain


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and an environment without settings of anybody's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "ORIGIN_VLLM_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def run(*argv: str) -> Result:
    return CliRunner().invoke(app, argv)


def assert_bad_settings(result: Result, *parts: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[-1].startswith("  try: ")
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_show_prints_the_settings_as_a_settings_file() -> None:
    result = run("show")
    assert result.exit_code == 0
    Path("again.toml").write_text(result.stdout)
    again = run("show", "--origin-config", "again.toml", "--format", "json")
    assert json.loads(again.stdout) == to_plain(OriginSettings())


def test_show_takes_the_file_the_environment_and_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.toml").write_text("cpu.threads = 1\ncpu.kv_cache_gib = 1\n")
    monkeypatch.setenv("ORIGIN_VLLM_CPU__KV_CACHE_GIB", "2")
    result = run(
        "show", "--origin-config", "a.toml", "--origin-handler-cache", "none",
        "--origin-server-banner=false", "--format", "json", "--sources",
    )  # fmt: skip
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["file"] == "a.toml"
    assert told["settings"]["cpu"]["threads"] == 1
    assert told["settings"]["cpu"]["kv_cache_gib"] == 2
    assert told["settings"]["handler"]["cache"] is None
    assert told["sources"]["cpu.threads"] == "a.toml"
    assert told["sources"]["cpu.kv_cache_gib"] == "environment ORIGIN_VLLM_CPU__KV_CACHE_GIB"
    assert told["sources"]["server.banner"] == "flag --origin-server-banner"


def test_show_sources_in_toml() -> None:
    Path("origin_vllm.toml").write_text("[handler.cache]\n")
    result = run("show", "--sources")
    assert result.stdout.startswith("# settings file: origin_vllm.toml\n")
    assert "[handler.cache]  # origin_vllm.toml\n" in result.stdout
    assert tomllib.loads(result.stdout)["server"]["banner"] is True
    Path("origin_vllm.toml").unlink()
    assert run("show", "--sources").stdout.startswith("# settings file: none\n")


def test_show_ends_with_2_on_bad_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_bad_settings(run("show", "--origin-config", "gone.toml"), "gone.toml does not exist")
    assert_bad_settings(
        run("show", "--origin-cpu-thread", "1"), "did you mean --origin-cpu-threads"
    )
    assert_bad_settings(run("show", "--origin-cpu-threads", "x"), "cpu.threads must be")
    assert_bad_settings(run("show", "--port", "1"), "config show does not take --port")
    monkeypatch.setenv("ORIGIN_VLLM_SERVER__BANER", "1")
    monkeypatch.setenv("ORIGIN_VLLM_CPU__THREADS", "0")
    assert_bad_settings(run("show"), "2 settings are wrong", "ORIGIN_VLLM_SERVER__BANNER?")


def test_schema_prints_json() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


def test_validate_looks_at_the_file_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORIGIN_VLLM_CPU__THREADS", "bad")
    path = Path("a.json")
    path.write_text('{"cpu": {"threads": 2, "omp_bind": "none"}}')
    result = run("validate", "a.json")
    assert (result.exit_code, result.stdout) == (0, "a.json: right, 2 settings in it\n")
    assert run("validate", str(path.absolute())).exit_code == 0
    path.write_text('{"cpu": {"thread": 2, "omp_bind": "x"}}')
    assert_bad_settings(run("validate", "a.json"), "did you mean cpu.threads?", "cpu.omp_bind must")
    assert_bad_settings(run("validate", "none"), "neither TOML nor JSON")
    assert_bad_settings(run("validate", "gone.toml"), "gone.toml does not exist")


def test_help_names_the_commands() -> None:
    told = run("--help").stdout
    for name in ("show", "schema", "validate"):
        assert name in told
