from __future__ import annotations

import importlib.util
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from origin_vllm.seam import require_vllm, vllm_version
from origin_vllm.seam.source import SourceTree


@pytest.fixture(scope="session")
def vllm() -> ModuleType:
    """The installed vLLM, imported as the package would."""
    if vllm_version() is None:
        pytest.skip("vLLM is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's own, and its libraries'
        require_vllm()
        import vllm
        import vllm.v1.engine.async_llm
    return vllm


@pytest.fixture(scope="session")
def installed() -> SourceTree:
    """The installed vLLM's source."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        pytest.skip("vLLM is not installed")
    return SourceTree(Path(spec.origin).parent.parent)


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[dict[str, str]], SourceTree]:
    """Write a package ``vllm`` from file names and texts, and look at it."""

    def write(files: dict[str, str]) -> SourceTree:
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / "vllm" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in path.relative_to(tmp_path).parents:
                marker = tmp_path / folder / "__init__.py"
                if folder.parts and not marker.exists():
                    marker.write_text("")
            path.write_text(textwrap.dedent(text))
        return SourceTree(tmp_path)

    return write
