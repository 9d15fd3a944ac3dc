"""Conversations in which a tool is called, built from the closed sets of ``tools.toml``."""

from __future__ import annotations

import json
import random
from typing import Any

Tool = dict[str, Any]
Message = dict[str, Any]

KINDS = ("weather", "calculator", "search")


class ToolTalk:
    """Makes tool lists and conversations; the content of ``tools.toml`` goes in."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def __call__(self, rng: random.Random) -> tuple[str, list[Tool], list[Message]]:
        """Language, tools at hand and the turns: question, call, result and answer."""
        kind = rng.choices(KINDS, (5, 3, 2))[0]
        language = rng.choices(("en", "zh"), (3, 2))[0]
        tool, parameter = self._tool(kind, rng)
        value, result, answer = getattr(self, f"_{kind}")(language, rng)
        question = rng.choice(self._data[kind][f"ask_{language}"]).replace("{x}", value)
        call = {"name": tool["function"]["name"], "arguments": {parameter: value}}
        turns: list[Message] = [
            {"role": "user", "content": question},
            {"role": "assistant", "tool_calls": [{"type": "function", "function": call}]},
        ]
        if rng.random() < 0.6:
            turns += [
                {"role": "tool", "content": result},
                {"role": "assistant", "content": answer},
            ]
        return language, self._among_others(tool, kind, rng), turns

    def words(self, language: str) -> list[str]:
        """The closed sets of words that go into arguments."""
        cities = self._data["weather"][f"cities_{language}"]
        return [*cities, *self._data["search"][f"topics_{language}"]]

    def some_tools(self, rng: random.Random) -> list[Tool]:
        """Tools to have at hand when none is needed."""
        kind = rng.choice(KINDS)
        return self._among_others(self._tool(kind, rng)[0], kind, rng)

    def bystanders(self, rng: random.Random) -> list[Tool]:
        """One or two tools that are never called."""
        chosen = rng.sample(self._data["bystander"], rng.choice((1, 2)))
        return [
            _declare(
                b["name"], b["description"], {k: {"type": v} for k, v in b["parameters"].items()}
            )
            for b in chosen
        ]

    def _among_others(self, tool: Tool, kind: str, rng: random.Random) -> list[Tool]:
        tools = [tool]
        if rng.random() < 0.35:
            other = rng.choice([k for k in KINDS if k != kind])
            tools.append(self._tool(other, rng)[0])
        if rng.random() < 0.2:
            tools.append(self.bystanders(rng)[0])
        rng.shuffle(tools)
        return tools

    def _tool(self, kind: str, rng: random.Random) -> tuple[Tool, str]:
        part = self._data[kind]
        # The first of each list comes most often: it is what the documentation uses.
        name, parameter = _mostly_first(part["names"], rng), _mostly_first(part["parameters"], rng)
        properties: dict[str, Any] = {parameter: {"type": "string"}}
        described = rng.choice(part["parameter_descriptions"])
        if described:
            properties[parameter]["description"] = described
        extra = rng.choice(part["extras"])
        if extra and rng.random() < 0.3:
            properties[extra] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
        required = [parameter] if rng.random() < 0.75 else None
        description = rng.choice(part["descriptions"])
        return _declare(name, description, properties, required), parameter

    def _weather(self, language: str, rng: random.Random) -> tuple[str, str, str]:
        part = self._data["weather"]
        city = rng.choice(part[f"cities_{language}"])
        at = rng.randrange(len(part["skies_en"]))
        degrees = rng.randint(-9, 39)
        told = part[f"skies_{language}"][at]
        result = rng.choice(
            (
                json.dumps({"temperature": degrees, "sky": told}, ensure_ascii=False),
                json.dumps({"city": city, "temperature": degrees, "sky": told}, ensure_ascii=False),
                f"{degrees}, {told}",
            )
        )
        answer = self._data[f"answers_{language}"].format(c=degrees, sky=told, city=city)
        return city, result, answer

    def _calculator(self, language: str, rng: random.Random) -> tuple[str, str, str]:
        a, b = rng.randint(1, 99), rng.randint(1, 99)
        sign = rng.choice("+-*")
        value = {"+": a + b, "-": a - b, "*": a * b}[sign]
        expression = f"{a} {sign} {b}"
        result = rng.choice((str(value), str(value), json.dumps({"result": value})))
        end = "." if language == "en" else "。"
        return expression, result, f"{expression} = {value}{end}"

    def _search(self, language: str, rng: random.Random) -> tuple[str, str, str]:
        part = self._data["search"]
        topic, found = rng.choice(part[f"topics_{language}"]), rng.choice(part[f"found_{language}"])
        return topic, found, part[f"say_{language}"].format(x=topic, found=found)


def _declare(
    name: str, description: str, properties: dict[str, Any], required: list[str] | None = None
) -> Tool:
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def _mostly_first(words: list[str], rng: random.Random) -> str:
    return words[0] if rng.random() < 0.6 else rng.choice(words)
