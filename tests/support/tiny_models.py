"""Random models small enough to build in a test, in Hugging Face format.

They are written with numpy and tokenizers alone: building one imports neither torch nor
transformers, so the test process stays light while a server of its own loads them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

_SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_llama(folder: Path, *, seed: int = 0, layers: int = 1, max_len: int = 2048) -> Path:
    """Write a random byte-level Llama (hidden size 64, heads of 32: vLLM's least on a CPU).

    Every byte is a token, so token counts are easy to know. The same seed gives the same files.

    Returns:
        ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        chat_template=_CHAT_TEMPLATE,
    )
    heads, head_dim, inner = 2, 32, 128
    hidden = heads * head_dim
    _write_json(
        folder / "config.json",
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        torch_dtype="float32",
        vocab_size=len(words),
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head_dim,
        max_position_embeddings=max_len,
        rms_norm_eps=1e-6,
        hidden_act="silu",
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
    )
    shapes = {
        "model.embed_tokens.weight": (len(words), hidden),
        "lm_head.weight": (len(words), hidden),
    }
    for layer in range(layers):
        for name, shape in {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (hidden, hidden),
            "self_attn.v_proj": (hidden, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = [
        f"model.layers.{layer}.{name}"
        for layer in range(layers)
        for name in ("input_layernorm.weight", "post_attention_layernorm.weight")
    ]
    weights |= {name: np.ones(hidden, np.float32) for name in [*norms, "model.norm.weight"]}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _write_json(path: Path, **content: object) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
