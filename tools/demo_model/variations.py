"""Small changes to a question that leave its meaning alone."""

from __future__ import annotations

import random
import re
from typing import Any

from demo_model.facts import normal_form

_CJK = "\u4e00-\u9fff"
_CJK_THEN_LATIN = re.compile(rf"(?<=[{_CJK}]) (?=[A-Za-z0-9-])|(?<=[A-Za-z0-9]) (?=[{_CJK}])")
_END = "?.!。？！"


class Variations:
    """Varies case, punctuation, spacing, politeness, filler words and common synonyms.

    Args:
        patterns: The content of ``patterns.toml``.
        forbidden: Normal forms that must never come out (the held-out questions).
    """

    def __init__(self, patterns: dict[str, Any], forbidden: set[str]) -> None:
        self._patterns = patterns
        self._forbidden = forbidden

    def __call__(
        self, question: str, language: str, rng: random.Random, *, gently: bool = False
    ) -> str:
        """A variation of ``question``, often itself; ``gently`` keeps every word as it is."""
        varied = question
        parts = self._patterns[language]
        if not gently:
            if rng.random() < 0.35:
                varied = self._swap(varied, parts["same"], rng)
            if rng.random() < 0.12:
                varied = self._drop(varied, language, rng)
            if rng.random() < 0.10:
                varied = rng.choice(parts["openings"]) + _lower_first(varied)
            if rng.random() < 0.06:
                varied = varied.rstrip(_END) + rng.choice(parts["closings"])
            if language == "en" and rng.random() < 0.05:
                varied = _typo(varied, rng)
        varied = _surface(varied, language, rng)
        return question if normal_form(varied) in self._forbidden else varied

    @staticmethod
    def _swap(text: str, groups: list[list[str]], rng: random.Random) -> str:
        hits = [(g, w) for g in groups for w in g if w.casefold() in text.casefold()]
        if not hits:
            return text
        group, word = rng.choice(hits)
        at = text.casefold().find(word.casefold())
        other = rng.choice(group)
        if at > 0:
            # Inside a word ("use" in "because") nothing is swapped.
            around = text[at - 1] + text[at + len(word) : at + len(word) + 1]
            if word.isascii() and any(c.isalnum() or c in "_-" for c in around):
                return text
            other = _lower_first(other) if word[0].isascii() else other
        return text[:at] + other + text[at + len(word) :]

    def _drop(self, text: str, language: str, rng: random.Random) -> str:
        word = rng.choice(self._patterns[language]["dropped"])
        if language == "zh":
            return text.replace(word, "", 1) or text
        return re.sub(rf"\b{word}\b ?", "", text, count=1) or text


def _surface(text: str, language: str, rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.25:
        text = text.rstrip(_END) or text
    elif roll < 0.30:
        text = text.rstrip(_END) + rng.choice(("?", "??", "!", ".", "？", "。", "...", " ?"))
    if rng.random() < 0.25:
        text = text.lower()
    elif rng.random() < 0.05:
        text = text.upper()
    if language == "zh":
        if rng.random() < 0.35:
            text = _CJK_THEN_LATIN.sub("", text)
        if rng.random() < 0.15:
            text = text.replace("？", "?").replace("，", ",").replace("。", ".")
    if rng.random() < 0.04:
        text = rng.choice((" {}", "{} ", "{}\n")).format(text)
    return text


def _lower_first(text: str) -> str:
    # "vLLM" and "LLM" keep their letters, "What" becomes "what".
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _typo(text: str, rng: random.Random) -> str:
    if len(text) < 8:
        return text
    at = rng.randrange(3, len(text) - 3)
    if not text[at : at + 2].isalpha():
        return text
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
