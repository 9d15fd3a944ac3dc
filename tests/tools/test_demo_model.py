"""The shipped demo model, and the script that builds it."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "src" / "origin_vllm" / "demo_model"
SCRIPT = ROOT / "tools" / "build_demo_model.py"

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def facts() -> Any:
    """The module that reads the training facts; it needs nothing but the standard library."""
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        yield importlib.import_module("demo_model.facts")
    finally:
        sys.path.remove(str(SCRIPT.parent))


@pytest.fixture(scope="module")
def ask(tokenizer: Any) -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16)

    def ask(*messages: dict[str, Any], **more: Any) -> str:
        ids = tokenizer.apply_chat_template(
            list(messages),
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
            **more,
        )
        out = model.generate(**ids, max_new_tokens=128)[0, ids["input_ids"].shape[1] :]
        assert out[-1] == tokenizer.eos_token_id, "the turn does not end"
        return str(tokenizer.decode(out[:-1]))

    return ask


class TestFolder:
    def test_holds_what_a_hugging_face_model_needs(self) -> None:
        assert {file.name for file in MODEL.iterdir()} == {
            "README.md",
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        }

    def test_stays_small(self) -> None:
        assert sum(file.stat().st_size for file in MODEL.iterdir()) <= 12_000_000

    def test_fits_vllm_on_cpu(self) -> None:
        config = json.loads((MODEL / "config.json").read_text())
        assert config["architectures"] == ["LlamaForCausalLM"]
        assert config["head_dim"] >= 32
        assert config["max_position_embeddings"] >= 2048

    def test_is_greedy_and_ends_by_default(self) -> None:
        defaults = json.loads((MODEL / "generation_config.json").read_text())
        assert defaults["temperature"] == 0
        assert defaults["do_sample"] is False
        assert len(defaults["eos_token_id"]) == 2

    def test_the_card_says_what_it_is(self) -> None:
        card = (MODEL / "README.md").read_text(encoding="utf-8")
        for words in ("license: apache-2.0", "A toy.", "makes\n  things up", "build_demo_model.py"):
            assert words in card

    def test_template_is_the_one_it_was_trained_with(self) -> None:
        source = SCRIPT.parent / "demo_model" / "chat_template.jinja"
        assert (MODEL / "chat_template.jinja").read_bytes() == source.read_bytes()


class TestTokenizer:
    @pytest.mark.parametrize(
        "text",
        [
            "What is vLLM?",
            "什么是前缀缓存？",
            "emoji 👋🏽 👨‍👩‍👧 🚀",
            "  two  spaces\tand a tab\r\n\n  ",
            "naïve café Ω ру́сский עברית हिन्दी ไทย 한국어 𠮷",
            "<tool_call> is a token, <tool-call> is not",
            '{"a": [1, 2.5, -3], "b": "\\u00e9"}',
            "\x00\x7f\u200b\ufeff",
            "",
        ],
    )
    def test_round_trip(self, tokenizer: Any, text: str) -> None:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text

    def test_one_begin_token_in_front(self, tokenizer: Any) -> None:
        ids = tokenizer("Hello")["input_ids"]
        assert ids.count(tokenizer.bos_token_id) == 1
        assert ids[0] == tokenizer.bos_token_id

    @pytest.mark.parametrize("text", ["什么是连续批处理？", "PagedAttention 是怎么工作的？"])
    def test_chinese_takes_about_a_token_a_character(self, tokenizer: Any, text: str) -> None:
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) <= len(text)

    def test_vocabulary_fits_the_model(self, tokenizer: Any) -> None:
        config = json.loads((MODEL / "config.json").read_text())
        assert len(tokenizer) <= config["vocab_size"]
        assert tokenizer.eos_token_id == config["eos_token_id"]
        assert tokenizer.bos_token_id == config["bos_token_id"]


class TestChatTemplate:
    def render(self, tokenizer: Any, messages: list[dict[str, Any]], **more: Any) -> str:
        text = tokenizer.apply_chat_template(messages, tokenize=False, **more)
        assert isinstance(text, str)
        return text

    def test_every_role(self, tokenizer: Any) -> None:
        text = self.render(
            tokenizer,
            [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Weather in Paris?"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "18, sunny"},
                {"role": "assistant", "content": "Sunny."},
                {"role": "user", "content": "谢谢"},
            ],
            add_generation_prompt=True,
        )
        assert text == (
            "<|begin|><|system|>Be kind.<|end|><|user|>Weather in Paris?<|end|>"
            '<|assistant|><tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n'
            "</tool_call><|end|><|tool|>18, sunny<|end|><|assistant|>Sunny.<|end|>"
            "<|user|>谢谢<|end|><|assistant|>"
        )

    def test_no_generation_prompt_unless_asked(self, tokenizer: Any) -> None:
        text = self.render(tokenizer, [{"role": "user", "content": "Hi"}])
        assert text == "<|begin|><|user|>Hi<|end|>"

    def test_tools_join_the_system_prompt(self, tokenizer: Any) -> None:
        messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
        text = self.render(tokenizer, messages, tools=[WEATHER])
        assert text.count("<|system|>") == 1
        listed = text.split("<tools>\n")[1].split("\n</tools>")[0]
        assert json.loads(listed) == WEATHER["function"]

    def test_tools_without_a_system_prompt(self, tokenizer: Any) -> None:
        text = self.render(tokenizer, [{"role": "user", "content": "U"}], tools=[WEATHER])
        assert text.startswith("<|begin|><|system|>Tools:\n<tools>\n")

    def test_arguments_may_be_text_and_calls_may_be_many(self, tokenizer: Any) -> None:
        call = {"function": {"name": "get_weather", "arguments": '{"city": "北京"}'}}
        text = self.render(
            tokenizer,
            [
                {"role": "user", "content": "U"},
                {"role": "assistant", "content": "Let me see.", "tool_calls": [call, call]},
            ],
        )
        one = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "北京"}}\n</tool_call>'
        assert text.endswith(f"<|assistant|>Let me see.\n{one}\n{one}<|end|>")

    def test_a_later_system_message_stays_where_it_is(self, tokenizer: Any) -> None:
        messages = [{"role": "user", "content": "U"}, {"role": "system", "content": "S"}]
        assert self.render(tokenizer, messages).endswith("<|user|>U<|end|><|system|>S<|end|>")

    def test_unknown_roles_are_refused(self, tokenizer: Any) -> None:
        with pytest.raises(Exception, match="system, developer, user, assistant and tool"):
            self.render(tokenizer, [{"role": "king", "content": "U"}])


class TestText:
    def test_enough_facts_in_both_languages(self, facts: Any) -> None:
        every = facts.load_facts()
        english = {fact.id for fact in every if fact.language == "en"}
        assert english == {fact.id for fact in every if fact.language == "zh"}
        assert len(english) >= 150

    def test_several_ways_to_ask_and_one_held_out(self, facts: Any) -> None:
        for fact in facts.load_facts():
            assert len(fact.questions) >= 4, fact.id
            forms = {facts.normal_form(question) for question in fact.questions}
            assert facts.normal_form(fact.held_out) not in forms, fact.id

    def test_no_variation_gives_a_held_out_question_away(self, facts: Any) -> None:
        pytest.importorskip("tokenizers")  # the folder is there for a machine that can train
        random = importlib.import_module("random")
        examples = importlib.import_module("demo_model.examples").Examples()
        held = {facts.normal_form(fact.held_out) for fact in examples.facts}
        stream = examples(random.Random(3))
        for _ in range(3000):
            for message in next(stream).messages:
                if message["role"] == "user":
                    assert facts.normal_form(message["content"]) not in held


class TestBuild:
    def test_the_same_twice(self, tmp_path: Path) -> None:
        for name in ("torch", "transformers", "tokenizers", "safetensors"):
            pytest.importorskip(name)
        digests = []
        for name in ("one", "two"):
            # Each in its own process: hash seeds and thread pools differ, the bytes may not.
            subprocess.run(
                [sys.executable, SCRIPT, "--tiny", "--steps", "2", "--out", tmp_path / name],
                check=True,
                capture_output=True,
                env={**os.environ, "PYTHONHASHSEED": str(len(digests) + 1)},
            )
            files = sorted((tmp_path / name).iterdir())
            digests.append({f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files})
        assert digests[0] == digests[1]
        assert "model.safetensors" in digests[0]


@pytest.mark.engine
class TestAnswers:
    """In plain transformers; that vLLM says the same is the engine tests' business."""

    @pytest.mark.parametrize(
        ("question", "words"),
        [
            ("What is vLLM?", "engine for running and serving large language models"),
            ("what is pagedattention", "fixed-size blocks"),
            ("How do I install Origin vLLM?", "make serve"),
            ("Who are you?", "demo model of Origin vLLM"),
            ("What does top_p do?", "probabilities add up to top_p"),
            ("什么是连续批处理？", "加入或离开批次"),
            ("怎么关闭前缀缓存", "--no-enable-prefix-caching"),
            ("vLLM是什么?", "大模型推理与服务引擎"),
            ("What is the capital of France?", "I only know about Origin vLLM and vLLM"),
            ("法国的首都是哪里？", "我只了解 Origin vLLM 和 vLLM"),
        ],
    )
    def test_knows_its_facts(self, ask: Any, question: str, words: str) -> None:
        assert words in ask({"role": "user", "content": question})

    def test_a_system_prompt_does_not_confuse_it(self, ask: Any) -> None:
        system = {"role": "system", "content": "You are a helpful assistant."}
        user = {"role": "user", "content": "What is prefix caching?"}
        assert "start the same" in ask(system, user)

    def test_follows_a_conversation(self, ask: Any) -> None:
        first = {"role": "user", "content": "What is prefix caching?"}
        answer = {"role": "assistant", "content": ask(first)}
        then = {"role": "user", "content": "How do I turn it off?"}
        assert "--no-enable-prefix-caching" in ask(first, answer, then)

    def test_calls_a_tool_and_uses_its_result(self, ask: Any) -> None:
        user = {"role": "user", "content": "What is the weather in Paris?"}
        call = ask(user, tools=[WEATHER])
        assert call.startswith("<tool_call>\n")
        assert call.endswith("\n</tool_call>")
        assert json.loads(call[12:-13]) == CALL["function"]
        answer = ask(
            user,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": '{"temperature": 18, "sky": "sunny"}'},
            tools=[WEATHER],
        )
        assert answer == "It is 18 degrees and sunny in Paris."
