"""From examples to a model folder in Hugging Face format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from demo_model.examples import Examples
from demo_model.tokenizer import BEGIN, END, STOP, save_tokenizer, train_tokenizer, write_json
from demo_model.training import Recipe, Size, new_model, train


def build(
    folder: Path, examples: Examples, size: Size, recipe: Recipe, say: Callable[[str], None]
) -> None:
    """Train everything and write it into ``folder`` (made if missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(train_tokenizer(examples.vocabulary(), size.vocabulary), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(recipe.seed)
    model = new_model(size, tokenizer)
    say(
        f"{len(examples.facts)} facts (both languages), {len(tokenizer)} tokens,"
        f" {model.num_parameters():,} parameters, {recipe.steps} steps"
    )
    train(model, tokenizer, examples, recipe, say)
    model = model.to(torch.bfloat16)
    config = model.config.to_diff_dict()
    # Not ours to say, and different on every machine.
    for name in ("transformers_version", "_name_or_path", "torch_dtype"):
        config.pop(name, None)
    config |= {"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16"}
    write_json(folder / "config.json", dict(sorted(config.items())))
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (BEGIN, END, STOP)}
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": ids[BEGIN],
            "eos_token_id": [ids[END], ids[STOP]],
            "pad_token_id": ids[STOP],
            # vLLM takes its default sampling parameters from here: greedy unless asked otherwise.
            "do_sample": False,
            "temperature": 0.0,
        },
    )
    weights = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    path = folder / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # it comes out private
