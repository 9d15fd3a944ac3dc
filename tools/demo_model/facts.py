"""The facts the model learns: read from ``facts/*.toml`` and opened out into questions."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")

_NOT_A_WORD = re.compile(r"[\W_]+")
_CHINESE = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Fact:
    """One answer in one language, with the questions that lead to it.

    Attributes:
        id: Name of the fact, the same in both languages.
        language: ``en`` or ``zh``.
        questions: Paraphrases used in training, no two alike: the hand-written ones first.
        by_hand: How many of them are hand-written.
        held_out: The paraphrase that training never sees.
        answer: What the model should say.
    """

    id: str
    language: str
    questions: tuple[str, ...]
    by_hand: int
    held_out: str
    answer: str


def normal_form(text: str) -> str:
    """The letters and digits of ``text`` in lower case: two questions with one form are alike."""
    return _NOT_A_WORD.sub(" ", text.casefold()).strip()


def read_toml(name: str) -> dict[str, Any]:
    """One data file of this folder."""
    with (HERE / name).open("rb") as file:
        return tomllib.load(file)


def load_facts(limit: int | None = None) -> list[Fact]:
    """Every fact in every language, in a fixed order.

    Args:
        limit: Keep only the first so many (fact, language) pairs; for quick builds in tests.

    Raises:
        ValueError: A fact lacks a part, or two facts claim one question.
    """
    patterns = read_toml("patterns.toml")
    facts: list[Fact] = []
    for path in sorted((HERE / "facts").glob("*.toml")):
        for raw in read_toml(f"facts/{path.name}")["fact"]:
            facts += [_open_out(raw, language, patterns[language]) for language in LANGUAGES]
    _refuse_clashes(facts)
    return facts if limit is None else facts[:limit]


def _open_out(raw: dict[str, Any], language: str, patterns: dict[str, list[str]]) -> Fact:
    part = raw[language]
    name = f"fact {raw['id']!r} ({language})"
    missing = {"held", "say"} - part.keys()
    if missing or not part.keys() & {"ask", "what", "how"}:
        raise ValueError(f"{name} lacks {sorted(missing) or 'questions'}")
    patterned = [
        pattern.replace("{x}", phrase)
        for kind in ("what", "how")
        for phrase in _as_list(part.get(kind, []))
        for pattern in patterns[kind]
    ]
    asked = part.get("ask", [])
    held = normal_form(part["held"])
    kept: dict[str, str] = {}
    by_hand = 0
    for place, question in enumerate([*asked, *patterned]):
        form = normal_form(question)
        # "TTFT?" alone is English: it can't lead to two answers.
        speaks = language == "en" or _CHINESE.search(question)
        if form != held and speaks and form not in kept:
            kept[form] = _upper_first(question) if language == "en" else question
            by_hand += place < len(asked)
    return Fact(raw["id"], language, tuple(kept.values()), by_hand, part["held"], part["say"])


def _upper_first(text: str) -> str:
    # "how" becomes "How"; names such as vLLM and top_p stay as they are.
    return text[0].upper() + text[1:] if re.match(r"[a-z]+[ ,]", text) else text


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _refuse_clashes(facts: list[Fact]) -> None:
    owner: dict[str, Fact] = {}
    for fact in facts:
        for question in (*fact.questions, fact.held_out):
            other = owner.setdefault(normal_form(question), fact)
            if other.answer != fact.answer:
                raise ValueError(f"{question!r} belongs to both {other.id!r} and {fact.id!r}")
