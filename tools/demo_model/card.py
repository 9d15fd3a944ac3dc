"""The model card: what the model is, what it can't do, how it was made and measured."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from string import Template

from demo_model.evaluation import Report
from demo_model.facts import HERE
from demo_model.training import Recipe


def write_card(folder: Path, report: Report, recipe: Recipe) -> None:
    """Write ``README.md`` into the model folder, with the numbers just measured."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    size = sum(file.stat().st_size for file in folder.iterdir() if file.name != "README.md")
    values = {
        "facts": report.facts,
        "parameters": f"{_parameters(folder) / 1e6:.1f}",
        "megabytes": f"{size / 1e6:.1f}",
        "layers": config["num_hidden_layers"],
        "hidden": config["hidden_size"],
        "heads": config["num_attention_heads"],
        "head_dim": config["head_dim"],
        "vocabulary": config["vocab_size"],
        "context": config["max_position_embeddings"],
        "steps": recipe.steps,
        "batch_tokens": recipe.batch_tokens,
        "questions": report.questions,
        "tool_talks": report.tool_talks,
        "trained": _percent(report.trained),
        "varied": _percent(report.varied),
        "with_system": _percent(report.with_system),
        "held_out_en": _percent(report.held_out_en),
        "held_out_zh": _percent(report.held_out_zh),
        "unknown": _percent(report.unknown_held_out),
        "tool_calls": _percent(report.tool_calls),
        "tool_answers": _percent(report.tool_answers),
        "ends": _percent(report.ends),
    }
    template = Template((HERE / "card.md").read_text(encoding="utf-8"))
    text = template.substitute({name: str(value) for name, value in values.items()})
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


def _parameters(folder: Path) -> int:
    """Numbers in the weight file, read from its header."""
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _percent(share: float) -> str:
    # Rounded down: 99.96 is not "100".
    return f"{int(share * 1000) / 10:g} %"
