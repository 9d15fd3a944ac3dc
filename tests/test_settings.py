"""The settings tree: its sources, their order, its mistakes, and what is derived from it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import Field, SecretStr, ValidationError, model_validator

from origin_vllm.errors import ConfigError
from origin_vllm.settings import (
    CacheConfig,
    ExtensionSettings,
    HandlerConfig,
    NLPConfig,
    OriginSettings,
    Section,
    SimilarityConfig,
    explain,
    flag_specs,
    flags_to_env,
    get_settings,
    json_schema,
    load_settings,
    reset_settings,
    resolve,
    split_flags,
    to_plain,
    to_toml,
)
from origin_vllm.settings.resolve import resolve_tree
from origin_vllm.settings.sources import OWN_VARIABLES
from origin_vllm.settings.tree import TREE, Tree

ROOT = Path(__file__).parent.parent
NO_FILE = {"ORIGIN_VLLM_CONFIG": "none"}
PLAIN = HandlerConfig(cache=None, nlp=None, similarity=None)
# Machines are slow at times, and no test is timed.
at_any_pace = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def write(folder: Path, text: str, name: str = "origin_vllm.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problem(**sources: Any) -> str:
    """The message of the error these sources end in."""
    sources.setdefault("env", NO_FILE)
    with pytest.raises(ConfigError) as caught:
        load_settings(**sources)
    assert caught.value.remedy
    assert caught.value.exit_code == 2
    return caught.value.message


def file_problem(folder: Path, text: str, name: str = "origin_vllm.toml") -> str:
    write(folder, text, name)
    return problem(cwd=folder, env={"ORIGIN_VLLM_CONFIG": name})


# -- the tree -------------------------------------------------------------------------------------


def test_every_setting_is_described_and_its_description_is_its_help() -> None:
    specs = {spec.path: spec for spec in flag_specs()}
    for setting in TREE.settings:
        assert setting.help.endswith("."), setting.key
        assert "\n" not in setting.help
        assert specs[setting.key].help == setting.help
    for path, model in TREE.sections.items():
        assert model.__doc__, path
        assert model.model_config["extra"] == "forbid", path
        assert model.model_config["frozen"], path
    for name, field in OriginSettings.model_fields.items():
        assert field.description, name


def test_names_derived_from_the_tree_are_unique_and_regular() -> None:
    count = len(TREE.settings)
    assert len(TREE.by_key) == len(TREE.by_env) == len(TREE.by_flag) == count
    setting = TREE.by_key["handler.cache.max_bytes"]
    assert setting.env == "ORIGIN_VLLM_HANDLER__CACHE__MAX_BYTES"
    assert setting.flag == "--origin-handler-cache-max-bytes"
    assert not OWN_VARIABLES & TREE.by_env.keys()
    assert "config" not in OriginSettings.model_fields  # --origin-config is the file


def test_the_defaults() -> None:
    settings = OriginSettings()
    assert settings.handler == HandlerConfig()
    assert settings.handler.cache == CacheConfig(max_bytes=256 * 2**20, ttl_s=None)
    assert settings.handler.nlp is None
    assert settings.handler.similarity is None
    assert settings.inheritance.base_vllm_path is None
    assert settings.inheritance.fallback_mode
    assert settings.extensions == ExtensionSettings(
        load=(), disabled=(), timeout_s=5, queue_size=1024, max_failures=5, cooldown_s=30
    )
    assert set(to_plain(settings.cpu).values()) == {None}
    assert settings.server.banner
    assert not settings.seam.allow_untested_vllm


def test_sections_are_built_in_python_and_are_read_only() -> None:
    assert PLAIN.cache is None
    assert HandlerConfig(nlp=NLPConfig()).nlp == NLPConfig()
    settings = OriginSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.handler.cache = None
    with pytest.raises(ValidationError, match="Extra inputs"):
        HandlerConfig(cash=None)  # type: ignore[call-arg]
    assert hash(settings) == hash(OriginSettings())


def test_importing_the_settings_imports_neither_torch_nor_vllm() -> None:
    code = (
        "import sys, origin_vllm.settings, origin_vllm.entrypoints.cli.config; "
        "sys.exit(any(name.split('.')[0] in ('vllm', 'torch') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "src")


# -- the same value from every source -------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
above_zero = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
whole = st.integers(min_value=1, max_value=2**62)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "inheritance.base_vllm_path": st.none() | st.sampled_from(["/srv/vllm", "../vllm", "a b"]),
    "inheritance.fallback_mode": st.booleans(),
    "handler.cache": st.none(),
    "handler.cache.max_bytes": whole,
    "handler.cache.ttl_s": st.none() | above_zero,
    "handler.nlp": st.none() | st.just({}),
    "handler.similarity": st.none() | st.just({}),
    "extensions.load": st.lists(
        st.sampled_from(["a:b", "pkg.mod:Obj.part", "_x.模块:y", "module"])
    ),
    "extensions.disabled": st.lists(words),
    "extensions.timeout_s": above_zero,
    "extensions.queue_size": whole,
    "extensions.max_failures": whole,
    "extensions.cooldown_s": above_zero,
    "cpu.threads": st.none() | whole,
    "cpu.kv_cache_gib": st.none() | above_zero,
    "cpu.omp_bind": st.none() | st.sampled_from(["auto", "nobind", "0", "0-3", "0,2-4|5", "0|1"]),
    "cpu.chunked_prefill": st.none() | st.booleans(),
    "server.banner": st.booleans(),
    "seam.allow_untested_vllm": st.booleans(),
}


@st.composite
def some_values(draw: st.DrawFn) -> dict[str, Any]:
    keys = draw(st.sets(st.sampled_from(sorted(VALUES)), min_size=1))
    if "handler.cache" in keys:  # off: nothing to be said about its fields
        keys -= {"handler.cache.max_bytes", "handler.cache.ttl_s"}
    return {key: draw(VALUES[key]) for key in sorted(keys)}


def nested(values: dict[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in values.items():
        *above, name = key.split(".")
        table = root
        for part in above:
            table = table.setdefault(part, {})
        table[name] = value
    return root


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)


def test_the_property_tests_know_every_setting() -> None:
    assert set(VALUES) == set(TREE.by_key)


@at_any_pace
@given(some_values())
def test_file_environment_and_flags_mean_the_same(values: dict[str, Any]) -> None:
    expected = OriginSettings.model_validate(nested(values))
    env = {TREE.by_key[key].env: as_text(value) for key, value in values.items()}
    argv = [f"{TREE.by_key[key].flag}={as_text(value)}" for key, value in values.items()]
    flags, rest = split_flags(["MODEL", *argv, "--port", "1"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, json.dumps(nested(values)), "a.json")
        write(folder, to_toml(expected), "b.toml")
        by_json = resolve({}, {"ORIGIN_VLLM_CONFIG": "a.json"}, folder)
        by_toml = resolve({"config": "b.toml"}, {}, folder)
        by_env = resolve({}, env, folder)
        by_flag = resolve(flags, {}, folder)
    assert rest == ["MODEL", "--port", "1"]
    assert by_json.settings == expected
    assert by_toml.settings == expected
    assert by_env.settings == expected
    assert by_flag.settings == expected
    assert load_settings({}, flags_to_env(flags), folder) == expected
    for key in values:
        setting = TREE.by_key[key]
        assert by_json.sources[key] == "a.json"
        assert by_env.sources[key] == f"environment {setting.env}"
        assert by_flag.sources[key] == f"flag {setting.flag}"
    untouched = {key for key in by_env.sources if key not in values}
    assert {by_env.sources[key] for key in untouched} <= {"default"}


cache_texts = st.dictionaries(
    st.sampled_from(["handler.cache", "handler.cache.max_bytes", "handler.cache.ttl_s"]),
    st.sampled_from(["none", "{}", '{"max_bytes": 7}', '{"ttl_s": 3, "max_bytes": 9}', "5", "6"]),
)


@at_any_pace
@given(cache_texts, cache_texts)
def test_a_child_process_reads_the_settings_of_its_parent(
    flags: dict[str, str], variables: dict[str, str]
) -> None:
    env = NO_FILE | {TREE.by_key[key].env: text for key, text in variables.items()}
    try:
        parent = load_settings(flags, env)
    except ConfigError:
        return
    assert load_settings({}, env | flags_to_env(flags)) == parent


@at_any_pace
@given(st.dictionaries(st.sampled_from(sorted(TREE.by_key)), words), st.booleans())
def test_whatever_is_given_ends_in_settings_or_a_config_error(
    texts: dict[str, str], by_flag: bool
) -> None:
    env = {TREE.by_key[key].env: text for key, text in texts.items()}
    try:
        load_settings(texts if by_flag else {}, NO_FILE if by_flag else env | NO_FILE)
    except ConfigError as error:
        assert len(error.message.split("\n")) <= len(texts) + 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from("ab"), inner),
)


@at_any_pace
@given(st.dictionaries(st.sampled_from([*OriginSettings.model_fields, "x"]), json_values))
def test_any_json_file_ends_in_settings_or_a_config_error(table: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), json.dumps(table), "a.json")
        try:
            load_settings({"config": "a.json"}, {}, Path(name))
        except ConfigError as error:
            assert error.message


# -- which source wins ----------------------------------------------------------------------------


def test_later_sources_win_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, "[cpu]\nthreads = 1\nkv_cache_gib = 1\nomp_bind = 'auto'\n")
    env = {"ORIGIN_VLLM_CPU__THREADS": "2", "ORIGIN_VLLM_CPU__KV_CACHE_GIB": "2.5"}
    flags = {"cpu.threads": "3"}
    settings = load_settings(flags, env, tmp_path)
    assert (settings.cpu.threads, settings.cpu.kv_cache_gib) == (3, 2.5)
    assert settings.cpu.omp_bind == "auto"
    sources = explain(flags, env, tmp_path)
    assert sources["cpu.threads"] == "flag --origin-cpu-threads"
    assert sources["cpu.kv_cache_gib"] == "environment ORIGIN_VLLM_CPU__KV_CACHE_GIB"
    assert sources["cpu.omp_bind"] == "origin_vllm.toml"
    assert sources["cpu.chunked_prefill"] == "default"


def test_the_first_file_in_the_documented_order_counts(tmp_path: Path) -> None:
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    (home / ".config/origin_vllm").mkdir(parents=True)
    (tmp_path / "xdg/origin_vllm").mkdir(parents=True)
    cwd.mkdir()
    env = {"HOME": str(home)}

    def threads(flags: dict[str, str] | None = None, **more: str) -> int | None:
        return load_settings(flags or {}, env | more, cwd).cpu.threads

    assert resolve({}, env, cwd).file is None
    path = write(home / ".config/origin_vllm", "cpu.threads = 1", "config.toml")
    assert threads() == 1
    assert resolve({}, env, cwd).file == str(path)
    write(tmp_path / "xdg/origin_vllm", "cpu.threads = 2", "config.toml")
    assert threads(XDG_CONFIG_HOME=str(tmp_path / "xdg")) == 2
    assert threads(XDG_CONFIG_HOME="relative") == 1
    assert threads(XDG_CONFIG_HOME="/" + "x" * 999) is None
    write(cwd, '{"cpu": {"threads": 3}}', "origin_vllm.json")
    assert threads() == 3
    write(cwd, "cpu.threads = 4")
    assert threads() == 4
    write(cwd, "cpu.threads = 5", "mine.toml")
    assert threads(ORIGIN_VLLM_CONFIG="mine.toml") == 5
    write(cwd, "\ufeffcpu.threads = 6", "other.TOML")
    assert threads({"config": "other.TOML"}, ORIGIN_VLLM_CONFIG="mine.toml") == 6
    assert threads({"config": "none"}, ORIGIN_VLLM_CONFIG="mine.toml") is None
    assert load_settings({}, {}, tmp_path / "nowhere") == OriginSettings()


def test_a_section_goes_off_and_on_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, '[handler]\ncache = "none"\n[handler.similarity]\n')
    off = resolve({}, {}, tmp_path)
    assert off.settings.handler == HandlerConfig(cache=None, similarity=SimilarityConfig())
    assert off.sources["handler.cache"] == "origin_vllm.toml"
    assert "handler.cache.max_bytes" not in off.sources

    on = resolve({"handler.cache.ttl_s": "9"}, {}, tmp_path)
    assert on.settings.handler.cache == CacheConfig(ttl_s=9)
    assert on.sources["handler.cache"] == "flag --origin-handler-cache-ttl-s"
    assert on.sources["handler.cache.max_bytes"] == "default"

    write(tmp_path, "[handler.cache]\nmax_bytes = 5\nttl_s = 5\n")
    replaced = resolve({"handler.cache": '{"ttl_s": 7}'}, {}, tmp_path)
    assert replaced.settings.handler.cache == CacheConfig(ttl_s=7)
    assert replaced.sources["handler.cache.max_bytes"] == "default"
    assert load_settings({"handler.cache": "none"}, {}, tmp_path).handler == PLAIN

    env = {"ORIGIN_VLLM_HANDLER__CACHE": "none", "ORIGIN_VLLM_HANDLER__CACHE__MAX_BYTES": "5"}
    inner = load_settings({}, env, tmp_path).handler.cache
    assert inner == CacheConfig(max_bytes=5), "the more exact variable wins"


def test_a_home_directory_is_put_in_for_the_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    settings = load_settings({"inheritance.base_vllm_path": "~/vllm"}, NO_FILE)
    assert settings.inheritance.base_vllm_path == Path("/home/someone/vllm")


def test_the_settings_of_the_process_are_read_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORIGIN_VLLM_CONFIG", "none")
    monkeypatch.setenv("ORIGIN_VLLM_CPU__THREADS", "3")
    reset_settings()
    try:
        assert get_settings().cpu.threads == 3
        monkeypatch.setenv("ORIGIN_VLLM_CPU__THREADS", "4")
        assert get_settings() is get_settings()
        assert get_settings().cpu.threads == 3
        reset_settings()
        assert get_settings().cpu.threads == 4
        assert explain()["cpu.threads"] == "environment ORIGIN_VLLM_CPU__THREADS"
    finally:
        reset_settings()


# -- mistakes in files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("handler.cach = 1", "handler.cach is not a setting; did you mean handler.cache?"),
        (
            "[handler.cache]\nmax-bytes = 1",
            "handler.cache.max-bytes is not a setting; did you mean handler.cache.max_bytes?",
        ),
        ("[cache]\nmax_bytes = 1", "cache is not a setting; did you mean handler.cache?"),
        ("max_bytes = 1", "max_bytes is not a setting; did you mean handler.cache.max_bytes?"),
        (
            "server.colour = 1",
            "server.colour is not a setting; allowed in server: banner",
        ),
        ("handler.nlp.x = 1", "handler.nlp.x is not a setting; handler.nlp has no settings yet"),
        (
            "zzz = 1",
            "zzz is not a setting; allowed in the top level: "
            "inheritance, handler, extensions, cpu, server, seam",
        ),
        ('"a\\nb" = 1', r"'a\nb' is not a setting; allowed in the top level: "),
        ("cpu.threads = '2'", "cpu.threads must be a whole number above 0, or none, got the "),
        ("cpu.threads = true", "cpu.threads must be a whole number above 0, or none, got the "),
        ("cpu.threads = 0", "cpu.threads must be a whole number above 0, or none, got the integer"),
        (
            "cpu.threads = 1.5",
            "cpu.threads must be a whole number above 0, or none, got the number",
        ),
        ("cpu.threads = -0xf" + "f" * 99, "not valid TOML: "),
        ("cpu.threads = 2020-01-01", "got the date 2020-01-01"),
        ("cpu.kv_cache_gib = inf", "must be a number above 0, or none, got the number inf"),
        ("cpu.omp_bind = 'all'", "must be auto, nobind or cores such as 0-3 or 0|1, or none, got"),
        ("server.banner = 'yes'", "server.banner must be true or false, got the string 'yes'"),
        ("server.banner = [1]", "server.banner must be true or false, got a list"),
        ("server.banner = {a = 1}", "server.banner must be true or false, got a table"),
        ("server.banner = 'none'", "server.banner must be true or false, got the string 'none'"),
        ("inheritance.base_vllm_path = 3", "must be a path, or none, got the integer 3"),
        (
            "extensions.load = 'a:b'",
            "must be a list of import paths such as my_package.hooks:audit",
        ),
        ("extensions.load = ['a:b', 'a b']", "; item 2 is the string 'a b'"),
        ("extensions.disabled = [1]", "must be a list of strings; item 1 is the integer 1"),
        ("server = 1", "server must be a table, got an integer"),
        ("server = 'none'", "server must be a table, got a string"),
        ("handler.cache = true", "handler.cache must be a table, or none, got a boolean"),
        ("cpu.omp_bind = '" + "x" * 99 + "'", "got the string '" + "x" * 56 + "..."),
        ("x", "not valid TOML: Expected '=' after a key"),
        ("x = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_a_mistake_in_a_toml_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    told = file_problem(tmp_path, text)
    assert told.startswith("origin_vllm.toml: ")
    assert message in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"cpu": null}', "cpu must be a table, got none"),
        ('{"server": {"banner": null}}', "server.banner must be true or false, got none"),
        ("[1]", "must hold a table, got a list"),
        ("{", "not valid JSON: Expecting property name"),
        ("", "not valid JSON: Expecting value"),
        ('{"cpu": {}, "cpu": {}}', "not valid JSON: the key cpu stands twice in one object"),
        ('{"cpu": {"threads": NaN}}', "not valid JSON: NaN is not JSON"),
        ('{"cpu": {"threads": ' + "9" * 5000 + "}}", "not valid JSON: "),
        ('{"cpu": {"threads": -' + "9" * 999 + "}}", "got an integer"),
        ('{"cpu": {"omp_bind": "\\ud800"}}', "cpu.omp_bind must be auto"),
    ],
)
def test_a_mistake_in_a_json_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    told = file_problem(tmp_path, text, "a.json")
    assert told.startswith("a.json: ")
    assert message in told
    assert "\n" not in told
    assert len(told) < 300


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    def told(name: str) -> str:
        return problem(flags={"config": name}, env={}, cwd=tmp_path)

    assert told("gone.toml") == "the settings file gone.toml does not exist"
    assert "neither TOML nor JSON by its name" in told("settings.yaml")
    (tmp_path / "folder.toml").mkdir()
    assert told("folder.toml") == "the settings file folder.toml can't be read: Is a directory"
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    assert told("latin.toml") == "latin.toml: not UTF-8 text"
    both = problem(flags={"config": "gone.toml", "cpu.threads": "x"}, env={}, cwd=tmp_path)
    assert "gone.toml does not exist" in both
    assert "cpu.threads" in both


def test_all_mistakes_are_told_at_once_a_line_each(tmp_path: Path) -> None:
    write(tmp_path, "[handler]\ncach = 1\n[server]\nbanner = 1\n[cpu]\nthreads = 0\n")
    told = problem(
        flags={"cpu.omp_bind": "all"},
        env={"ORIGIN_VLLM_SEVER__BANNER": "1", "ORIGIN_VLLM_CPU__THREADS": "2"},
        cwd=tmp_path,
    ).split("\n")
    assert told[0] == "5 settings are wrong:"
    assert [line[:25] for line in told[1:]] == [
        "  - origin_vllm.toml: han",
        "  - origin_vllm.toml: ser",
        "  - origin_vllm.toml: cpu",
        "  - environment: ORIGIN_V",
        "  - flag --origin-cpu-omp",
    ]


# -- mistakes in the environment ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "HANDLER__CASH",
            "1",
            "environment: ORIGIN_VLLM_HANDLER__CASH is not a setting; "
            "did you mean ORIGIN_VLLM_HANDLER__CACHE?",
        ),
        ("CPU_THREADS", "1", "did you mean ORIGIN_VLLM_CPU__THREADS?"),
        ("cpu__threads", "1", "did you mean ORIGIN_VLLM_CPU__THREADS?"),
        ("CONFG", "x", "did you mean ORIGIN_VLLM_CONFIG?"),
        ("QQQQQQQQQQQQQQQQQQQQQQQQQQQQ", "x", "QQQQ is not a setting"),
        (
            "CPU__THREADS",
            "two",
            "environment ORIGIN_VLLM_CPU__THREADS: cpu.threads must be a whole number above 0, "
            "or none, got the string 'two'",
        ),
        ("SERVER__BANNER", "maybe", "server.banner must be true or false, got the string 'maybe'"),
        ("SERVER__BANNER", "none", "server.banner must be true or false, got the string 'none'"),
        ("EXTENSIONS__TIMEOUT_S", "inf", "must be a number above 0, got the string 'inf'"),
        ("EXTENSIONS__LOAD", "a:b", "as JSON, got text that isn't JSON"),
        ("EXTENSIONS__LOAD", '"a:b"', "got the string 'a:b'"),
        ("HANDLER__CACHE", "off", "must be a JSON object, or none, got text that isn't JSON"),
        ("HANDLER__CACHE", "3", "handler.cache must be a table, or none, got an integer"),
        ("HANDLER__CACHE", '{"ttl": 1}', "did you mean handler.cache.ttl_s?"),
        ("HANDLER__CACHE", '{"max_bytes": "1"}', "handler.cache.max_bytes must be a whole number"),
        ("HANDLER__CACHE", "[" * 100_000, "got text that isn't JSON"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line(name: str, text: str, message: str) -> None:
    told = problem(env=NO_FILE | {f"ORIGIN_VLLM_{name}": text})
    assert message in told
    assert "\n" not in told


def test_variables_that_are_not_ours_to_judge_are_left_alone() -> None:
    env = {
        "ORIGIN_VLLM_ACTIVE": "1",
        "ORIGIN_VLLM_MODELS": "x",
        "ORIGIN_VLLM_SERVE": "y",
        "ORIGIN_VLLM_CPU__THREADS": "",
        "VLLM_LOGGING_LEVEL": "DEBUG",
        # what Kubernetes adds for Services called origin-vllm and origin-vllm-router
        "ORIGIN_VLLM_SERVICE_HOST": "10.0.0.1",
        "ORIGIN_VLLM_SERVICE_PORT": "80",
        "ORIGIN_VLLM_SERVICE_PORT_HTTP": "80",
        "ORIGIN_VLLM_PORT": "tcp://10.0.0.1:80",
        "ORIGIN_VLLM_PORT_80_TCP": "tcp://10.0.0.1:80",
        "ORIGIN_VLLM_PORT_80_TCP_PROTO": "tcp",
        "ORIGIN_VLLM_ROUTER_SERVICE_HOST": "10.0.0.1",
        "ORIGIN_VLLM_ROUTER_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings({}, NO_FILE | env) == OriginSettings()
    assert "not a setting" in problem(env=NO_FILE | {"ORIGIN_VLLM_SERVER__PORT": "80"})


# -- flags ----------------------------------------------------------------------------------------


def test_flags_are_taken_out_and_the_rest_is_untouched() -> None:
    line = (
        "--host x --origin-cpu-threads 2 MODEL --origin_cpu_omp_bind=0|1 --seed -1 "
        "--origin-cpu-threads=3 --origin-config f=g.toml --allowed-origins * "
        "-- --origin-cpu-threads 9 --"
    )
    ours, rest = split_flags(line.split())
    assert ours == {"cpu.threads": "3", "cpu.omp_bind": "0|1", "config": "f=g.toml"}
    left = "--host x MODEL --seed -1 --allowed-origins * -- --origin-cpu-threads 9 --"
    assert rest == left.split()


@at_any_pace
@given(st.lists(words.filter(lambda word: not word.startswith("--"))))
def test_a_command_line_without_our_flags_is_untouched(argv: list[str]) -> None:
    assert split_flags(argv) == ({}, argv)
    assert split_flags([*argv, "--", "--origin-x"]) == ({}, [*argv, "--", "--origin-x"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--origin-cpu-thread", "1"],
            "--origin-cpu-thread is not a flag; did you mean --origin-cp",
        ),
        (["--origin-cpu-thread=1"], "did you mean --origin-cpu-threads?"),
        (["--origin-"], "--origin- is not a flag"),
        (["--origin-qqqqqqqqqqqqqqqqqqqqqqqqqqqq"], "qqq is not a flag"),
        (
            ["--origin-cpu-threads"],
            "--origin-cpu-threads needs a value: a whole number above 0, or",
        ),
        (["--origin-cpu-threads="], "--origin-cpu-threads needs a value"),
        (
            ["--origin-server-banner", "--port", "1"],
            "--origin-server-banner needs a value: true or",
        ),
        (["--origin-config"], "--origin-config needs a value: the path of a TOML or JSON file"),
    ],
)
def test_a_wrong_flag_is_one_line(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split_flags(argv)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.remedy is not None
    assert "--help" in caught.value.remedy


def test_all_wrong_flags_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        split_flags(["--origin-a", "1", "m", "--origin-b", "2", "--origin-cpu-threads"])
    assert len(caught.value.message.split("\n")) == 4


@pytest.mark.parametrize("off", ["none", "null"])
def test_flags_that_contradict_each_other(off: str) -> None:
    told = problem(flags={"handler.cache": off, "handler.cache.ttl_s": "1"})
    assert "--origin-handler-cache-ttl-s: contradicts --origin-handler-cache none" in told


def test_flags_from_a_program_are_checked_too() -> None:
    assert "did you mean cpu.threads?" in problem(flags={"cpu.thread": "1"})
    assert "got nothing" in problem(flags={"cpu.threads": ""})


def test_flags_reach_children_as_variables() -> None:
    assert flags_to_env({"cpu.threads": "2", "config": "a.toml"}) == {
        "ORIGIN_VLLM_CPU__THREADS": "2",
        "ORIGIN_VLLM_CONFIG": "a.toml",
    }
    blanked = flags_to_env({"handler.cache": "none"})
    assert blanked["ORIGIN_VLLM_HANDLER__CACHE"] == "none"
    assert blanked["ORIGIN_VLLM_HANDLER__CACHE__MAX_BYTES"] == ""


# -- types the tree does not have yet -------------------------------------------------------------


class Inner(Section):
    """A section inside an optional one."""

    token: SecretStr | None = None
    """A secret."""

    tokens: tuple[SecretStr, ...] = ()
    """Secrets."""

    mode: Literal["fast", "safe"] = "safe"
    """A choice."""

    names: dict[str, int] = {}
    """A table."""


class Outer(Section):
    """A section that is off by default, with another in it."""

    inner: Inner = Inner()
    """The inner section."""

    low: Annotated[int, Field(ge=0)] = 0
    """A lower bound."""

    high: int = Field(default=9, gt=0, le=99)
    """An upper bound."""

    share: Annotated[float, Field(ge=0, lt=1)] | None = None
    """A part of the whole."""

    @model_validator(mode="after")
    def _ordered(self) -> Outer:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Root(Section):
    """A tree with what ours does not have."""

    outer: Outer | None = None
    """The outer section."""


OTHER = Tree(Root)


def other(env: dict[str, str], cwd: Path | None = None) -> Root:
    prefixed = {f"ORIGIN_VLLM_{name}": text for name, text in env.items()}
    return resolve_tree(OTHER, Root, {}, NO_FILE | prefixed, cwd or Path()).settings


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    settings = other({"OUTER__INNER__TOKEN": "hunter2", "OUTER__INNER__TOKENS": '["hunter2"]'})
    assert settings.outer is not None
    token = settings.outer.inner.token
    assert token is not None
    assert token.get_secret_value() == "hunter2"
    assert OTHER.by_key["outer.inner.token"].secret
    assert OTHER.by_key["outer.inner.tokens"].secret
    shown = to_toml(settings) + json.dumps(to_plain(settings)) + repr(settings)
    assert "hunter2" not in shown
    assert 'token = "***"' in shown
    assert 'tokens = ["***"]' in shown
    for text in ('["x", 777777]', '{"a": 777777}', "777777", '["777777'):
        with pytest.raises(ConfigError) as caught:
            other({"OUTER__INNER__TOKENS": text})
        assert "a list of secret strings" in str(caught.value)
        assert "777777" not in str(caught.value)
    write(tmp_path, "outer.inner.token = 777777", "a.toml")
    with pytest.raises(ConfigError) as caught:
        other({"CONFIG": "a.toml"}, tmp_path)
    assert caught.value.message == (
        "a.toml: outer.inner.token must be a secret string, or none, got an integer"
    )


def test_other_types_and_sections_inside_optional_ones() -> None:
    assert other({}) == Root()
    settings = other({"OUTER__INNER__MODE": "fast", "OUTER__INNER__NAMES": '{"a b": 1, "": 2}'})
    assert settings == Root(outer=Outer(inner=Inner(mode="fast", names={"a b": 1, "": 2})))
    assert tomllib.loads(to_toml(settings))["outer"]["inner"]["names"] == {"a b": 1, "": 2}
    with pytest.raises(ConfigError, match="must be one of fast, safe, got the string 'quick'"):
        other({"OUTER__INNER__MODE": "quick"})
    with pytest.raises(ConfigError, match="names must be a table, got a table"):
        other({"OUTER__INNER__NAMES": '{"a": "x"}'})
    allowed = {key: setting.allowed for key, setting in OTHER.by_key.items()}
    assert allowed["outer.low"] == "a whole number of at least 0"
    assert allowed["outer.high"] == "a whole number above 0 and of at most 99"
    assert allowed["outer.share"] == "a number of at least 0 and below 1, or none"
    with pytest.raises(ConfigError, match="must be a whole number above 0 and of at most 99"):
        other({"OUTER__HIGH": "100"})
    assert OTHER.by_key["outer.inner.mode"].metavar == "fast|safe"
    assert OTHER.by_key["outer.inner.token"].metavar == "SECRET|none"


def test_rules_between_fields_are_told_with_their_section() -> None:
    with pytest.raises(ConfigError) as caught:
        other({"OUTER__LOW": "10"})
    assert caught.value.message == "outer: low is above high"


# -- written out again ----------------------------------------------------------------------------


@at_any_pace
@given(words, st.lists(words))
def test_toml_strings_are_read_back_as_they_were(name: str, names: list[str]) -> None:
    settings = OriginSettings(extensions=ExtensionSettings(disabled=(name, *names)))
    assert tomllib.loads(to_toml(settings))["extensions"]["disabled"] == [name, *names]


def test_toml_says_where_each_value_comes_from(tmp_path: Path) -> None:
    resolved = resolve({"cpu.threads": "2"}, {}, tmp_path)
    text = to_toml(resolved.settings, resolved.sources)
    lines = [line.split() for line in text.splitlines()]
    assert ["threads", "=", "2", "#", "flag", "--origin-cpu-threads"] in lines
    assert ["[handler.cache]", "#", "default"] in lines
    assert tomllib.loads(text) == tomllib.loads(to_toml(resolved.settings))


def test_the_schema_allows_what_the_loader_allows() -> None:
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["additionalProperties"] is False
    cache = schema["$defs"]["CacheConfig"]["properties"]
    assert cache["max_bytes"]["exclusiveMinimum"] == 0
    assert {"const": "none"} in cache["ttl_s"]["anyOf"]
    assert cache["ttl_s"]["description"].startswith("Seconds after which")
    json.dumps(schema)


# -- the reference page ---------------------------------------------------------------------------


def test_the_reference_page_is_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location(
        "render_config_reference", ROOT / "tools/render_config_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.main(["--check"]) == 0
    target = tmp_path / "new" / "configuration.md"
    assert tool.main(["--check", "--target", str(target)]) == 1
    assert "try: python tools/render_config_reference.py" in capsys.readouterr().err
    assert tool.main(["--target", str(target)]) == 0
    assert tool.main(["--check", "--target", str(target)]) == 0
    page = target.read_text()
    for setting in TREE.settings:
        assert f"`{setting.env}`<br>`{setting.flag}`" in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(TREE.settings)
    assert all(row.count("|") == 6 for row in rows)
