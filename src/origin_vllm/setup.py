"""Look over this environment, or install vLLM into it.

::

    python -m origin_vllm.setup                  # what is here, will it serve, what mends it
    python -m origin_vllm.setup --deep           # also import vLLM and show its device
    python -m origin_vllm.setup --install cpu    # the pinned CPU environment
    python -m origin_vllm.setup --install cuda   # vLLM's CUDA build

also as ``origin-vllm-setup``, as ``origin-vllm doctor``, and as ``python setup.py`` in this folder.
Exit status: 0 when serving will work (or the installation succeeded), 2 for a wrong command line,
3 when serving will not work.
"""

from __future__ import annotations

import sys

if not __package__ and __name__ == "__main__":
    # Run as a file: this folder is on the path, where its modules would pass for others' (config,
    # settings ...), and the package's parent is not.
    import os.path as _path

    _here = _path.dirname(_path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [entry for entry in sys.path if _path.abspath(entry or ".") != _here]  # noqa: PTH100
    sys.path.insert(0, _path.dirname(_here))  # noqa: PTH120

if sys.version_info < (3, 11):  # noqa: UP036 - as a file, any Python may be asked to run this
    sys.exit("Origin vLLM needs Python 3.11, 3.12 or 3.13; this is " + sys.version.split()[0])

import argparse
from collections.abc import Sequence
from pathlib import Path

from origin_vllm.errors import OriginError
from origin_vllm.install.doctor import DEEP_TIMEOUT, diagnose
from origin_vllm.install.findings import Finding, exit_status, show
from origin_vllm.install.installer import Installer

__all__ = ["Finding", "diagnose", "exit_status", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: Without the program's name; ``sys.argv`` by default.
    """
    args = _parser().parse_args(arguments)
    try:
        if args.install or args.lock:
            installer = Installer(
                dry_run=args.dry_run,
                upgrade=args.upgrade,
                system=args.system,
                verbose=args.verbose,
            )
            if args.install:
                installer.install(args.install)
            if args.lock:
                installer.install_lock(args.lock)
            return 0
        return show(diagnose(deep=args.deep, timeout=args.timeout), json_output=args.json)
    except OriginError as error:
        sys.stderr.write(f"origin-vllm-setup: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("origin-vllm-setup: interrupted; run it again to go on\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="origin-vllm-setup",
        description="Look over this environment, or install vLLM into it.",
    )
    parser.add_argument(
        "--install",
        choices=("auto", "cpu", "cuda"),
        help="install vLLM for this device (auto: cuda beside an NVIDIA GPU, else cpu)",
    )
    parser.add_argument(
        "--lock", type=Path, metavar="FILE", help="install the pins of this file as well"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show the commands")
    parser.add_argument(
        "--upgrade", action="store_true", help="replace a vLLM of another version too"
    )
    parser.add_argument(
        "--system", action="store_true", help="allow an interpreter outside a virtual environment"
    )
    parser.add_argument("--verbose", action="store_true", help="show all of pip's output")
    parser.add_argument("--deep", action="store_true", help="also import vLLM, in a subprocess")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEEP_TIMEOUT,
        metavar="SECONDS",
        help="how long that may take (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="the findings for a program to read")
    return parser


if __name__ == "__main__":
    sys.exit(main())
