"""Training: batches of examples in, weights out."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo_model.examples import Example, Examples
from demo_model.tokenizer import BEGIN, CONTEXT, END, STOP

IGNORED = -100


@dataclass(frozen=True)
class Size:
    """The shape of the model. vLLM's CPU attention wants heads of at least 32."""

    vocabulary: int = 4096
    hidden: int = 256
    feed_forward: int = 704
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4


TINY = Size(vocabulary=512, hidden=64, feed_forward=128, layers=1, heads=2, kv_heads=2)


@dataclass(frozen=True)
class Recipe:
    """How it is trained.

    Attributes:
        steps: Optimizer steps.
        batch_tokens: Tokens in a step, padding included.
        matrix_rate: Peak learning rate of the matrices inside the layers (Muon).
        other_rate: Peak learning rate of embeddings and norms (AdamW).
        decay: Weight decay of both.
        warmup: Steps until the rates are at their peak; from there they fall to zero in a line.
    """

    steps: int = 1200
    batch_tokens: int = 5120
    matrix_rate: float = 4e-3
    other_rate: float = 4e-3
    decay: float = 0.05
    warmup: int = 40
    seed: int = 20


def new_model(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama of that size, in float32."""
    # A multiple of 64 keeps the output matrix friendly to every kernel.
    vocabulary = -(-len(tokenizer) // 64) * 64
    config = LlamaConfig(
        # On a CPU the fused attention's backward pass takes as long as all the rest together.
        attn_implementation="eager",
        vocab_size=vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.hidden // size.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.convert_tokens_to_ids(BEGIN),
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(STOP),
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: Examples,
    recipe: Recipe,
    say: Callable[[str], None],
) -> float:
    """Train ``model`` in place and return the mean loss of the last steps."""
    inside: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (inside if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(
            inside,
            lr=recipe.matrix_rate,
            weight_decay=recipe.decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            others, lr=recipe.other_rate, betas=(0.9, 0.98), weight_decay=recipe.decay
        ),
    ]
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    batches = _batches(tokenizer, examples, recipe)
    model.train()
    started, recent = time.monotonic(), 0.0
    for step, (tokens, targets) in enumerate(itertools.islice(batches, recipe.steps)):
        ahead = min((step + 1) / recipe.warmup, (recipe.steps - step) / recipe.steps)
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * ahead
        loss = _loss(model, tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recent = loss.item() if step == 0 else 0.95 * recent + 0.05 * loss.item()
        if step % 25 == 0 or step == recipe.steps - 1:
            say(f"step {step:5d}  loss {recent:.4f}  {time.monotonic() - started:6.0f} s")
    model.eval()
    return recent


def _loss(model: LlamaForCausalLM, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
        # The output matrix is a third of the work: only where there is something to learn.
        wanted = targets != IGNORED
        scores = model.lm_head(hidden[wanted])
    return torch.nn.functional.cross_entropy(scores.float(), targets[wanted])


def _batches(
    tokenizer: PreTrainedTokenizerFast, examples: Examples, recipe: Recipe
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rng = random.Random(recipe.seed)  # noqa: S311 - text, not secrets
    stream = examples(rng)
    pool_size = max(64, recipe.batch_tokens // 3)
    while True:
        pool = [encode(tokenizer, example) for example in itertools.islice(stream, pool_size)]
        # Texts of like length share a batch, so little of it is padding.
        pool.sort(key=lambda pair: len(pair[0]))
        batches: list[list[tuple[list[int], list[int]]]] = [[]]
        for pair in pool:
            if (len(batches[-1]) + 1) * len(pair[0]) > recipe.batch_tokens:
                batches.append([])
            batches[-1].append(pair)
        rng.shuffle(batches)
        pad = tokenizer.pad_token_id
        yield from (_tensors(batch, pad) for batch in batches if batch)


def _tensors(
    batch: list[tuple[list[int], list[int]]], pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(ids) for ids, _ in batch)
    # Padding is on the right: causal attention never looks at it, so no mask is needed.
    tokens = torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in batch])
    targets = torch.tensor([want + [IGNORED] * (width - len(want)) for _, want in batch])
    return tokens, targets


def encode(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[list[int], list[int]]:
    """Token ids and, at each place, the token to be predicted there (or ``IGNORED``).

    In a conversation only what the assistant says is learned, in plain text everything is.
    """
    if example.text:
        ids = [*tokenizer(example.text)["input_ids"], tokenizer.pad_token_id]
        return ids[:-1], ids[1:]
    rendered: Any = tokenizer.apply_chat_template(
        example.messages, tools=example.tools, tokenize=False
    )
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assistant = tokenizer.convert_tokens_to_ids("<|assistant|>")
    end = tokenizer.convert_tokens_to_ids(END)
    speaking, targets = False, []
    for here, following in itertools.pairwise(ids):
        speaking = (speaking and here != end) or here == assistant
        targets.append(following if speaking else IGNORED)
    return ids[:-1], targets
