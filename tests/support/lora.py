"""A LoRA adapter made on the spot, in PEFT's format."""

from __future__ import annotations

import json
from pathlib import Path


def make_adapter(folder: Path, model: str, *, rank: int = 8, seed: int = 0) -> Path:
    """Write a random adapter for a Llama in ``model`` that clearly changes its answers."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((Path(model) / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim") or hidden // heads
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, outputs in (
            ("q_proj", heads * head_dim),
            ("v_proj", config["num_key_value_heads"] * head_dim),
        ):
            base = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{base}.lora_A.weight"] = torch.randn(rank, hidden, generator=generator)
            tensors[f"{base}.lora_B.weight"] = torch.randn(outputs, rank, generator=generator)
    folder.mkdir(parents=True)
    save_file(tensors, str(folder / "adapter_model.safetensors"))
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "r": rank,
                "lora_alpha": rank,
                "target_modules": ["q_proj", "v_proj"],
                "bias": "none",
                "task_type": "CAUSAL_LM",
            }
        )
    )
    return folder
