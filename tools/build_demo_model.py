"""Build the demo model that ships with Origin vLLM: text, tokenizer, training, check, card.

    python tools/build_demo_model.py

It needs torch, transformers, tokenizers and safetensors, no GPU and no network. The same options
give the same bytes on the same kind of machine with the same versions of those libraries.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_OUT = ROOT / "src" / "origin_vllm" / "demo_model"


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status says whether the model meets the limits."""
    options = _options(argv)
    _prepare_process(options.threads)
    # Only now: the libraries read the settings above when they are first imported.
    from demo_model.card import write_card
    from demo_model.evaluation import as_text, evaluate
    from demo_model.examples import Examples
    from demo_model.packaging import build
    from demo_model.training import TINY, Recipe, Size

    limit = 12 if options.tiny else None
    examples = Examples(limit)
    if not options.check:
        recipe = Recipe(steps=options.steps or Recipe.steps)
        if options.tiny:
            recipe = Recipe(steps=options.steps or 2, batch_tokens=512)
        build(options.out, examples, TINY if options.tiny else Size(), recipe, print)
    if options.tiny:
        return 0
    report = evaluate(options.out, examples, print if options.verbose else lambda _: None)
    print(as_text(report))
    if not options.check:
        write_card(options.out, report, Recipe(steps=options.steps or Recipe.steps))
    good = report.trained >= 0.98 and min(report.held_out_en, report.held_out_zh) >= 0.6
    return 0 if good else 1


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the demo model of Origin vLLM.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder to write")
    parser.add_argument("--steps", type=int, help="training steps (default: the shipped recipe)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--check", action="store_true", help="only measure the model in --out")
    parser.add_argument("--tiny", action="store_true", help="a toy of the toy, for quick tests")
    parser.add_argument("--verbose", action="store_true", help="print every wrong answer")
    return parser.parse_args(argv)


def _prepare_process(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    # Threads that spin while they wait are slow on a machine that has other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    random.seed(0)


if __name__ == "__main__":
    sys.exit(main())
