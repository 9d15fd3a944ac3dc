"""Training examples: facts, dialogues, unknown questions, tool calls, JSON and plain text.

Everything random comes from the generator passed in, so a seed fixes the whole training text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from demo_model.facts import HERE, LANGUAGES, Fact, load_facts, normal_form, read_toml
from demo_model.toolcalls import ToolTalk
from demo_model.variations import Variations

Message = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """One training text: a conversation (with the tools it may call), or plain text."""

    messages: list[Message] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    text: str = ""


class Examples:
    """An endless, reproducible stream of examples.

    Args:
        limit: Use only the first so many facts; for quick builds in tests.
    """

    #: How often each kind of example comes, in parts of a hundred.
    SHARES = (
        ("fact", 49),
        ("conversation", 11),
        ("dialogue", 3),
        ("unknown", 12),
        ("tool", 10),
        ("echo", 7),
        ("language", 2),
        ("json", 2),
        ("plain", 4),
    )

    def __init__(self, limit: int | None = None) -> None:
        self.facts = load_facts(limit)
        self.patterns = read_toml("patterns.toml")
        self.unknown = read_toml("unknown.toml")
        self.tool_talk = ToolTalk(read_toml("tools.toml"))
        self.prose = (HERE / "prose.txt").read_text(encoding="utf-8").splitlines()
        self.answers = {(f.id, f.language): f.answer for f in self.facts}
        held = {normal_form(f.held_out) for f in self.facts}
        held |= {normal_form(q) for lang in LANGUAGES for q in self.held_unknown(lang)}
        self.variations = Variations(self.patterns, held)
        self.dialogues = [
            (language, resolved)
            for raw in read_toml("dialogues.toml")["dialogue"]
            for language in LANGUAGES
            if (resolved := self._resolve(raw[language], language))
        ]
        self._words = {
            language: sorted(
                {word for f in self.facts if f.language == language for word in f.answer.split()}
                | {word for group in self.unknown[language]["group"] for word in group["fill"]}
                | set(self.tool_talk.words(language))
            )
            for language in LANGUAGES
        }
        self._queue: list[Fact] = []

    def __call__(self, rng: random.Random) -> Iterator[Example]:
        """Examples without end."""
        kinds = [name for name, _ in self.SHARES]
        weights = [weight for _, weight in self.SHARES]
        make: dict[str, Callable[[random.Random], Example]] = {
            name: getattr(self, f"_{name}") for name in kinds
        }
        self._queue.clear()
        while True:
            yield make[rng.choices(kinds, weights)[0]](rng)

    def vocabulary(self) -> Iterator[str]:
        """Every piece of text there is, for the tokenizer to be trained on."""
        for fact in self.facts:
            yield from fact.questions
            # Answers are what the model writes: their words should be whole tokens.
            yield from [fact.answer] * 8
        for language in LANGUAGES:
            yield from [self.unknown[language]["answer"]] * 8
            for group in self.unknown[language]["group"]:
                yield from group["fill"]
                yield from group["ask"]
            yield from self.patterns[language]["openings"]
            yield from self.patterns[language]["echo"]
            yield from self.patterns["system"][language]
        yield from self.prose * 3
        rng = random.Random(0)  # noqa: S311 - text, not secrets
        for _ in range(300):
            example = self._tool(rng)
            yield json.dumps(example.tools, ensure_ascii=False)
            for message in example.messages:
                yield json.dumps(message, ensure_ascii=False)

    def held_unknown(self, language: str) -> list[str]:
        """Questions out of scope that training never sees."""
        return [
            group["ask"][i % len(group["ask"])].replace("{x}", word)
            for group in self.unknown[language]["group"]
            for i, word in enumerate(group["held"])
        ]

    # One method a kind of example.

    def _fact(self, rng: random.Random) -> Example:
        fact = self._next_fact(rng)
        return Example([*self._system(rng), *self._turn(fact, rng)])

    def _conversation(self, rng: random.Random) -> Example:
        messages = self._system(rng)
        for _ in range(rng.choice((2, 2, 3))):
            if rng.random() < 0.12:
                messages += self._unknown(rng).messages[-2:]
            else:
                messages += self._turn(self._next_fact(rng), rng)
        return Example(messages)

    def _dialogue(self, rng: random.Random) -> Example:
        if not self.dialogues:
            return self._fact(rng)
        language, texts = rng.choice(self.dialogues)
        messages = self._system(rng)
        for i, text in enumerate(texts):
            if i % 2 == 0:
                text = self.variations(text, language, rng)
            messages.append({"role": ("user", "assistant")[i % 2], "content": text})
        return Example(messages)

    def _unknown(self, rng: random.Random) -> Example:
        language = rng.choice(LANGUAGES)
        part = self.unknown[language]
        sizes = [len(g["ask"]) ** 0.5 * len(g["fill"]) for g in part["group"]]
        group = rng.choices(part["group"], sizes)[0]
        question = rng.choice(group["ask"]).replace("{x}", rng.choice(group["fill"]))
        question = self.variations(question, language, rng)
        return Example([*self._system(rng), _user(question), _assistant(part["answer"])])

    def _tool(self, rng: random.Random) -> Example:
        system = self._system(rng)
        roll = rng.random()
        if roll < 0.2:  # tools at hand, but nothing to call
            tools = self.tool_talk.some_tools(rng)
            return Example([*system, *self._turn(self._next_fact(rng), rng)], tools)
        language, tools, turns = self.tool_talk(rng)
        if roll < 0.28:  # the tool that is needed is not there
            tools = self.tool_talk.bystanders(rng)
            turns = [turns[0], _assistant(self.unknown[language]["answer"])]
        turns[0]["content"] = self.variations(turns[0]["content"], language, rng, gently=True)
        return Example([*system, *turns], tools)

    def _echo(self, rng: random.Random) -> Example:
        # Words in no order can only be copied: this is what teaches the model to copy at all,
        # which tool calls need.
        language = rng.choice(LANGUAGES)
        if rng.random() < 0.3:
            text = f"{rng.randint(1, 99)} {rng.choice('+-*')} {rng.randint(1, 999)}"
        else:
            text = " ".join(rng.choices(self._words[language], k=rng.randint(1, 6)))
        question = rng.choice(self.patterns[language]["echo"]).replace("{x}", text)
        return Example([*self._system(rng), _user(question), _assistant(text)])

    def _language(self, rng: random.Random) -> Example:
        fact = self._next_fact(rng)
        target = rng.choice(LANGUAGES)
        answer = self.answers.get((fact.id, target), fact.answer)
        demand = rng.choice(self.patterns["system"][f"in_{target}"])
        return Example(self._demanding(demand, fact, answer, rng))

    def _json(self, rng: random.Random) -> Example:
        fact = self._next_fact(rng)
        demand = rng.choice(self.patterns["system"]["in_json"])
        answer = json.dumps({"answer": fact.answer}, ensure_ascii=False)
        return Example(self._demanding(demand, fact, answer, rng))

    def _plain(self, rng: random.Random) -> Example:
        if rng.random() < 0.5:
            return Example(text=rng.choice(self.prose))
        language = rng.choice(LANGUAGES)
        answers = [f.answer for f in self.facts if f.language == language] or [""]
        return Example(text=" ".join(rng.choices(answers, k=3)))

    # Their parts.

    def _next_fact(self, rng: random.Random) -> Fact:
        # Like a deck of cards: every fact comes once before any comes again.
        if not self._queue:
            self._queue = rng.sample(self.facts, len(self.facts))
        return self._queue.pop()

    def _turn(self, fact: Fact, rng: random.Random) -> list[Message]:
        question = self.variations(_some_question(fact, rng), fact.language, rng)
        return [_user(question), _assistant(fact.answer)]

    def _system(self, rng: random.Random) -> list[Message]:
        if rng.random() > 0.25:
            return []
        return [_system(rng.choice(self.patterns["system"][rng.choice(LANGUAGES)]))]

    def _demanding(self, demand: str, fact: Fact, answer: str, rng: random.Random) -> list[Message]:
        question = _some_question(fact, rng)
        place = rng.randrange(3)
        if place == 0:
            return [_system(demand), _user(question), _assistant(answer)]
        whole = f"{demand} {question}" if place == 1 else f"{question} {demand}"
        return [_user(whole), _assistant(answer)]

    def _resolve(self, texts: list[str], language: str) -> list[str]:
        out = [self.answers.get((t[1:], language), "") if t.startswith("@") else t for t in texts]
        return out if all(out) else []


def _some_question(fact: Fact, rng: random.Random) -> str:
    # The patterns make many questions of a few words; the hand-written ones say more.
    if fact.by_hand and rng.random() < 0.5:
        return rng.choice(fact.questions[: fact.by_hand])
    return rng.choice(fact.questions)


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}
