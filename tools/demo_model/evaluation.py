"""Measuring a finished model folder: greedy answers, compared word for word."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from demo_model.examples import Examples
from demo_model.facts import LANGUAGES
from demo_model.tokenizer import END

Chat = list[dict[str, Any]]
MOST_TOKENS = 128
MOST_QUESTIONS = 8


@dataclass(frozen=True)
class Report:
    """Shares from 0 to 1 of greedy answers that are exactly right."""

    facts: int
    questions: int
    tool_talks: int
    trained: float
    held_out_en: float
    held_out_zh: float
    varied: float
    with_system: float
    unknown_held_out: float
    tool_calls: float
    tool_answers: float
    ends: float


class Answerer:
    """The model in ``folder``, as shipped, in plain transformers."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.padding_side = "left"
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
        self.ended = self.asked = 0

    def __call__(
        self, chats: Sequence[Chat], tools: Sequence[Any] | None = None, batch: int = 96
    ) -> list[str]:
        """Greedy answers to ``chats``; without the end-of-turn token, with tool-call marks."""
        texts = [
            self.tokenizer.apply_chat_template(
                chat,
                tools=tools[i] if tools else None,
                tokenize=False,
                add_generation_prompt=True,
            )
            for i, chat in enumerate(chats)
        ]
        # Alike lengths together: less padding, and the order is restored at the end.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        answers = [""] * len(texts)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            replies = self._generate([texts[i] for i in chosen])
            for i, reply in zip(chosen, replies, strict=True):
                answers[i] = reply
        return answers

    def _generate(self, texts: list[str]) -> list[str]:
        inputs = self.tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        with torch.inference_mode():
            out = self.model.generate(
                **inputs, max_new_tokens=MOST_TOKENS, do_sample=False, temperature=None
            )
        end = self.tokenizer.convert_tokens_to_ids(END)
        replies = []
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            self.asked += 1
            self.ended += end in row
            row = row[: row.index(end)] if end in row else row
            replies.append(self.tokenizer.decode(row, skip_special_tokens=False))
        return replies


def evaluate(folder: Path, examples: Examples, say: Callable[[str], None]) -> Report:
    """Ask everything once and count."""
    ask = Answerer(folder)
    rng = random.Random(7)  # noqa: S311 - text, not secrets

    def share(pairs: list[tuple[str, str]], what: str, opening: Chat | None = None) -> float:
        replies = ask([[*(opening or []), {"role": "user", "content": q}] for q, _ in pairs])
        wrong = [(q, r) for (q, a), r in zip(pairs, replies, strict=True) if a != r]
        for question, reply in wrong:
            say(f"  {what}: {question!r} -> {reply!r}")
        return 1 - len(wrong) / max(1, len(pairs))

    trained = [
        (q, f.answer)
        for f in examples.facts
        # All of them (several thousand more) would take as long as a third of the training.
        for q in rng.sample(f.questions, min(MOST_QUESTIONS, len(f.questions)))
    ]
    varied = [
        (examples.variations(q, f.language, rng), f.answer)
        for f in examples.facts
        for q in rng.sample(f.questions, 2)
    ]
    system = [{"role": "system", "content": "You are a helpful assistant."}]
    prompted = [(rng.choice(f.questions), f.answer) for f in examples.facts]
    held = {
        language: [(f.held_out, f.answer) for f in examples.facts if f.language == language]
        for language in LANGUAGES
    }
    unknown = [
        (q, examples.unknown[language]["answer"])
        for language in LANGUAGES
        for q in examples.held_unknown(language)
    ]
    talks = [talk for talk in (examples.tool_talk(rng) for _ in range(400)) if len(talk[2]) == 4]
    calls, answers = _tool_shares(ask, talks, say)
    return Report(
        facts=len({f.id for f in examples.facts}),
        questions=len(trained),
        tool_talks=len(talks),
        trained=share(trained, "trained"),
        held_out_en=share(held["en"], "held out"),
        held_out_zh=share(held["zh"], "held out"),
        varied=share(varied, "varied"),
        with_system=share(prompted, "with a system prompt", system),
        unknown_held_out=share(unknown, "unknown"),
        tool_calls=calls,
        tool_answers=answers,
        ends=ask.ended / max(1, ask.asked),
    )


def _tool_shares(
    ask: Answerer,
    talks: list[tuple[str, list[Any], Chat]],
    say: Callable[[str], None],
) -> tuple[float, float]:
    """Shares of right calls, and of right answers after the tool's result."""
    tools = [talk[1] for talk in talks]
    calls = ask([talk[2][:1] for talk in talks], tools)
    answers = ask([talk[2][:3] for talk in talks], tools)
    good_calls = good_answers = 0
    for (_, _, turns), call, answer in zip(talks, calls, answers, strict=True):
        wanted = json.dumps(turns[1]["tool_calls"][0]["function"], ensure_ascii=False)
        right = call == f"<tool_call>\n{wanted}\n</tool_call>"
        good_calls += right
        good_answers += answer == turns[3]["content"]
        if not right:
            say(f"  tool call: {turns[0]['content']!r} -> {call!r}")
        if answer != turns[3]["content"]:
            say(f"  tool answer: {turns[2]['content']!r} -> {answer!r}")
    return good_calls / len(talks), good_answers / len(talks)


def as_text(report: Report) -> str:
    """One line a number."""
    lines = [
        f"{name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in asdict(report).items()
    ]
    return "\n".join(lines)
