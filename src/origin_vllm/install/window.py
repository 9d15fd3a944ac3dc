"""The vLLM releases this version of Origin vLLM is tested with."""

from __future__ import annotations

import re
from typing import Literal

#: Oldest release tested, included.
TESTED_MIN = "0.24.0"
#: First release not tested.
TESTED_MAX_EXCLUSIVE = "0.34"
#: The same as a pip requirement.
REQUIREMENT = "vllm>=0.24,<0.34"

Verdict = Literal["tested", "older", "newer", "unknown"]


def release(version: str) -> tuple[int, ...] | None:
    """The release numbers of a PEP 440 version (``0.32.0+cpu`` gives ``(0, 32, 0)``), or None."""
    match = re.match(r"v?(?:\d+!)?(\d+(?:\.\d+)*)", version)
    if match is None:
        return None
    numbers = [int(part) for part in match[1].split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def judge(version: str) -> Verdict:
    """Where a vLLM version lies; builds from source without a tag are ``unknown``.

    A development or release-candidate build counts as the release it leads to: the insides it has
    are nearer to that than to the one before.
    """
    numbers = release(version)
    low, high = release(TESTED_MIN), release(TESTED_MAX_EXCLUSIVE)
    assert low is not None and high is not None  # noqa: S101 - both are constants above
    if numbers is None or numbers == (0, 0, 0) or version.startswith("0.1.dev"):
        return "unknown"
    if numbers < low:
        return "older"
    return "newer" if numbers >= high else "tested"
