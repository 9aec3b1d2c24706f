"""Embedding APIs, against a real HTTP server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hyperalign.backends.models.encoders import HostedEncoder, encoder, open_encoder
from hyperalign.budget import Budget
from hyperalign.errors import (
    BudgetExceededError,
    ContextLengthError,
    HyperalignError,
    MissingKeyError,
    ModelOutputError,
    ModelServerError,
    UnknownModelError,
)
from tests.fixtures.scripted_server import (
    ScriptedServer,
    Step,
    embeddings,
    empty_choices,
    error,
    rate_limited,
    raw,
    reply,
    serving,
)

SMALL = "openai/text-embedding-3-small"


def embed(text: str) -> list[float]:
    return [float(len(text)), float(text.count("a")), 0.5]


@pytest.fixture
def server(scripted_server: ScriptedServer) -> ScriptedServer:
    scripted_server.default = embeddings(embed)
    return scripted_server


def opened(server: ScriptedServer, name: str = SMALL, *, budget: Budget | None = None) -> HostedEncoder:
    return HostedEncoder(name, api_base=server.base, api_key="k", budget=budget)


def test_one_call_for_many_texts_in_their_order(server: ScriptedServer) -> None:
    budget = Budget()
    texts = [f"{'a' * number} text" for number in range(200)]
    found = opened(server, budget=budget).encode([("Question?", text) for text in [*texts, texts[3]]])
    assert found.dtype == np.float32
    assert found.tolist() == [embed(text) for text in [*texts, texts[3]]]
    (request,) = server.requests
    assert request.path == "/v1/embeddings"
    assert request.headers["authorization"] == "Bearer k"
    # Each text once, and without its prompt.
    assert request.body["input"] == texts
    spent = budget.spent
    assert (spent.calls, spent.tokens_in, spent.unpriced) == (1, 1400, 0)
    assert spent.usd == pytest.approx(1400 * 0.02e-6)


def test_a_provider_gets_no_more_texts_than_it_takes(server: ScriptedServer) -> None:
    opened(server).encode([("", str(number)) for number in range(2049)])
    assert [len(request.body["input"]) for request in server.requests] == [2048, 1]
    server.requests.clear()
    opened(server).encode([("", f"{number} " + "a" * 16_000) for number in range(40)])
    assert [len(request.body["input"]) for request in server.requests] == [37, 3]


def test_the_parts_of_a_long_text_are_averaged(server: ScriptedServer) -> None:
    text = "a" * 16_382 + "b" * 16_382
    assert opened(server).encode([("", text)]).tolist() == [[16_382.0, 8_191.0, 0.5]]
    assert server.requests[0].body["input"] == ["a" * 16_382, "b" * 16_382]


def test_empty_texts_are_zero(server: ScriptedServer) -> None:
    assert opened(server).encode([("p", ""), ("p", "abc"), ("p", " \n")]).tolist() == [[0] * 3, embed("abc"), [0] * 3]
    assert server.requests[0].body["input"] == ["abc"]
    assert opened(server).encode([("p", "")]).tolist() == [[0] * 3]
    assert opened(server).encode([]).shape == (0, 0)


def test_a_lone_surrogate_is_sent_as_a_question_mark(server: ScriptedServer) -> None:
    opened(server).encode([("", "\ud800 é")])
    assert server.requests[0].body["input"] == ["? é"]


def test_another_provider(server: ScriptedServer) -> None:
    server.default = raw(
        lambda request: {
            "model": "nomic-embed-text",
            "embeddings": [embed(text) for text in request.body["input"]],
            "prompt_eval_count": 5,
        }
    )
    budget = Budget()
    ollama = HostedEncoder("ollama/nomic-embed-text", api_base=server.url, budget=budget)
    assert ollama.encode([("p", "abc"), ("p", "d")]).tolist() == [embed("abc"), embed("d")]
    assert server.requests[0].path == "/api/embed"
    assert (budget.spent.calls, budget.spent.unpriced) == (1, 1)


def test_passing_faults_are_tried_again(server: ScriptedServer) -> None:
    server.script(rate_limited(0.05), error(500), rate_limited(0.05))
    budget = Budget()
    assert opened(server, budget=budget).encode([("", "abc")]).tolist() == [embed("abc")]
    assert (len(server.requests), budget.spent.calls) == (4, 1)


@pytest.mark.parametrize(
    ("step", "kind", "says"),
    [
        (error(401, "Bad key."), MissingKeyError, "refused the API key"),
        (error(404, "No such model."), UnknownModelError, "not a model"),
        (raw("<html>not found</html>", status=404), ModelServerError, "/v1/embeddings"),
        (error(400, "This model's maximum context length is 8192 tokens."), ContextLengthError, "does not fit"),
        (raw("<html>Welcome</html>"), ModelOutputError, "one embedding for each"),
        (empty_choices(), ModelOutputError, "one embedding for each"),
        (reply("ok"), ModelOutputError, "one embedding for each"),
        (embeddings(lambda text: []), ModelOutputError, "one embedding for each"),
        (embeddings(lambda text: [float("nan")]), ModelOutputError, "one embedding for each"),
        (embeddings(lambda text: [0.0] * len(text)), ModelOutputError, "one embedding for each"),
    ],
)
def test_errors(server: ScriptedServer, step: Step, kind: type[HyperalignError], says: str) -> None:
    server.script(step)
    with pytest.raises(kind, match=says) as caught:
        opened(server).encode([("", "abc"), ("", "de")])
    assert caught.value.remedy
    assert len(server.requests) == 1


def test_a_server_that_is_not_there() -> None:
    nowhere = HostedEncoder("ollama/nomic-embed-text", api_base="http://127.0.0.1:9")
    nowhere._target.patience = 0
    with pytest.raises(ModelServerError, match="could not be reached"):
        nowhere.encode([("", "abc")])


def test_keys_and_caps(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
        HostedEncoder(SMALL).encode([("", "abc")])
    with pytest.raises(BudgetExceededError):
        opened(server, budget=Budget(max_calls=0)).encode([("", "abc")])
    assert not server.requests


def test_it_is_opened_by_name_and_remembered(server: ScriptedServer, isolated_folders: Path) -> None:
    for _ in range(2):
        with open_encoder(SMALL, api_base=server.base, api_key="k") as opened:
            assert opened.name == SMALL
            assert opened.encode([("Why?", "abc")]).tolist() == [embed("abc")]
    assert len(server.requests) == 1
    assert (isolated_folders / "cache" / "embeddings.sqlite").exists()
    for name in ("vllm:http://127.0.0.1:8000", "adapter:mira"):
        with pytest.raises(UnknownModelError, match="no embeddings"):
            encoder(name)


def test_two_servers_with_one_name_share_no_embedding(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as other:
        other.default = embeddings(lambda text: [-number for number in embed(text)])
        for base, sign in ((server.base, 1), (other.base, -1), (f"{server.base}/", 1)):
            with open_encoder(SMALL, api_base=base, api_key="k") as opened:
                assert opened.name == SMALL
                assert opened.encode([("", "abc")]).tolist() == [[sign * number for number in embed("abc")]]
        assert (len(server.requests), len(other.requests)) == (1, 1)
        monkeypatch.setenv("OPENAI_BASE_URL", other.base)
        assert HostedEncoder(SMALL, api_key="k").cache_name == opened_cache_name(other)
        assert "127.0.0.1" not in opened_cache_name(other)
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert HostedEncoder(SMALL, api_key="k").cache_name == SMALL


def opened_cache_name(server: ScriptedServer) -> str:
    return opened(server).cache_name
