"""``ModelRegistry``: vLLM's registry, and what is registered here reaches every engine process.

vLLM's engine runs in processes of its own that know nothing of a registration made in the script,
unless a plugin repeats it. Ours does (see ``origin_vllm/plugin.py``): registrations travel in an
environment variable, as ``module:class``, never as pickled code.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from origin_vllm.errors import ConfigError
from origin_vllm.seam.models import ModelRegistry as _vllm_registry
from origin_vllm.seam.models import _ModelRegistry

ENVIRONMENT_VARIABLE = "ORIGIN_VLLM_MODELS"


class OriginModelRegistry(_ModelRegistry):
    """A registry that shares its table with vLLM's own, in both directions."""

    def register_model(self, model_arch: str, model_cls: Any) -> None:
        """Register a model class under an architecture name.

        Args:
            model_arch: The name in the ``architectures`` of a model's ``config.json``.
            model_cls: ``"module:Class"``, or the class itself if other processes can import it by
                its module and name.

        Raises:
            ConfigError: ``model_cls`` is a class that other processes can't import (made inside a
                function, say): an engine process would not find it.
            TypeError, ValueError: As vLLM's.
        """
        path = model_cls if isinstance(model_cls, str) else _import_path(model_arch, model_cls)
        super().register_model(model_arch, model_cls)
        if path is not None:
            registered = json.loads(os.environ.get(ENVIRONMENT_VARIABLE, "{}"))
            registered[model_arch] = path
            os.environ[ENVIRONMENT_VARIABLE] = json.dumps(registered)


def register_from_environment() -> None:
    """Repeat, in an engine process, what the process that started it had registered."""
    for model_arch, path in json.loads(os.environ.get(ENVIRONMENT_VARIABLE, "{}")).items():
        module, _, name = path.partition(":")
        if module != "__main__":
            _vllm_registry.register_model(model_arch, path)
            continue
        # vLLM inspects a class given as a path in yet another process, where the script that
        # started us is not __main__. In an engine process it is, so the class itself can be given;
        # in the inspecting one it isn't there, nor needed.
        model = getattr(sys.modules["__main__"], name, None)
        if model is not None:
            _vllm_registry.register_model(model_arch, model)


def _import_path(model_arch: str, model_cls: Any) -> str | None:
    if not isinstance(model_cls, type):
        return None  # vLLM's own check says what is wrong
    if "<locals>" in model_cls.__qualname__ or "." in model_cls.__qualname__:
        raise ConfigError(
            f"model_cls for {model_arch!r}: class {model_cls.__qualname__} can't be imported by "
            "the engine's processes; define it at the top level of a module."
        )
    return f"{model_cls.__module__}:{model_cls.__qualname__}"


#: Shares its table with ``vllm.ModelRegistry``: what one knows, the other knows.
ModelRegistry = OriginModelRegistry(_vllm_registry.models)
