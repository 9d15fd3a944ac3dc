"""A server with an embedding model, asked with the openai client."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import openai
import pytest

from tests.support.server import Server

pytestmark = [
    pytest.mark.engine,
    pytest.mark.serve,
    pytest.mark.usefixtures("no_other_server"),
]


def test_embeddings_and_sigint_when_idle(tiny_model: str, tmp_path: Path) -> None:
    flags = ("--runner", "pooling", "--convert", "embed", "--enforce-eager")
    with (
        Server(tiny_model, *flags, "--served-model-name", "tiny", folder=tmp_path) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        texts = ["one", "two", "one"]
        told = client.embeddings.create(model="tiny", input=texts)
        vectors = [item.embedding for item in told.data]
        assert [len(vector) for vector in vectors] == [64, 64, 64]
        assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-3) for vector in vectors)
        assert vectors[0] == pytest.approx(vectors[2], abs=1e-3)
        assert vectors[0] != pytest.approx(vectors[1], abs=1e-2)
        assert told.usage.prompt_tokens > 0
        alone = client.embeddings.create(model="tiny", input="two", encoding_format="float")
        assert alone.data[0].embedding == pytest.approx(vectors[1], abs=1e-2)
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="tiny", prompt="a")
        assert "EnhancedAsyncLLM of Origin vLLM" in server.out()
        assert server.stop(signal.SIGINT) == 0, server.logs()
        server.assert_gone()
