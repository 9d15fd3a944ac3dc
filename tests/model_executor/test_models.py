"""``ModelRegistry``: one table with vLLM's, also in the engine's own processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

CUSTOM = """
from vllm.model_executor.models.llama import LlamaForCausalLM

class ElsewhereLlama(LlamaForCausalLM):
    pass
"""

# A script as a user writes it: one class in a module, one in the script itself.
SCRIPT = """
import gc, sys
from vllm.model_executor.models.llama import LlamaForCausalLM
from origin_vllm import LLM, ModelRegistry, SamplingParams

class MainLlama(LlamaForCausalLM):
    pass

if __name__ == "__main__":
    ModelRegistry.register_model("ElsewhereLlama", "custom_module:ElsewhereLlama")
    ModelRegistry.register_model("MainLlama", MainLlama)
    for model in sys.argv[1:]:
        llm = LLM(model=model, enforce_eager=True, max_model_len=256,
                  kv_cache_memory_bytes=32 << 20)
        (output,) = llm.generate(["Hello"], SamplingParams(max_tokens=3, temperature=0),
                                 use_tqdm=False)
        print("generated", len(output.outputs[0].token_ids))
        del llm
        gc.collect()
"""


def test_one_table() -> None:
    import vllm

    import origin_vllm
    from origin_vllm.seam.models import _ModelRegistry

    ours, theirs = origin_vllm.ModelRegistry, vllm.ModelRegistry
    assert isinstance(ours, _ModelRegistry)
    assert ours.models is theirs.models
    ours.register_model("OursFirst", "some.module:Class")
    theirs.register_model("TheirsFirst", "some.module:Class")
    try:
        assert "OursFirst" in theirs.get_supported_archs()
        assert "TheirsFirst" in ours.get_supported_archs()
    finally:
        del ours.models["OursFirst"], theirs.models["TheirsFirst"]


def test_a_class_no_other_process_can_import_is_refused() -> None:
    import origin_vllm
    from origin_vllm.errors import ConfigError

    class Local:
        pass

    with pytest.raises(ConfigError, match=r"Local can't be imported by the engine's processes"):
        origin_vllm.ModelRegistry.register_model("Local", Local)
    with pytest.raises(TypeError):
        origin_vllm.ModelRegistry.register_model("Number", 7)


def test_registrations_reach_engine_processes(model: str, tmp_path: Path) -> None:
    models = []
    for architecture in ("ElsewhereLlama", "MainLlama"):
        folder = tmp_path / architecture
        shutil.copytree(model, folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [architecture]}))
        models.append(str(folder))
    (tmp_path / "custom_module.py").write_text(CUSTOM)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", *models],
        cwd=tmp_path,
        # vLLM inspects a class given by its path in a process of its own, as with plain vLLM.
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("generated 3") == 2
