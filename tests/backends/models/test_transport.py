"""Providers that do not speak OpenAI's chat interface: Anthropic's messages, and OpenAI's own Responses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hyperalign.backends.models import target
from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.errors import MissingExtraError
from tests.fixtures.scripted_server import Recorded, ScriptedServer, raw

LETTER = {"temperature": 0.0, "max_tokens": 16, "logprobs": True, "top_logprobs": 5}
SCHEMA = {
    "type": "object",
    "properties": {"quote": {"type": "string"}},
    "required": ["quote"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}


def anthropic(request: Recorded) -> dict[str, Any]:
    """An answer as Anthropic's interface has it, with a thought before it."""
    content: list[dict[str, Any]] = [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]
    if "output_format" in request.body or "tools" in request.body:
        content.append({"type": "text", "text": json.dumps({"quote": "how kind"})})
    else:
        content.append({"type": "text", "text": "A"})
    usage = {"input_tokens": 1_000_000, "output_tokens": 5}
    head = {"id": "m", "type": "message", "role": "assistant", "model": request.body["model"]}
    return {**head, "content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}


def responses(request: Recorded) -> dict[str, Any]:
    """An answer as OpenAI's Responses interface has it."""
    text = {"type": "output_text", "text": "A", "annotations": []}
    said = {"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [text]}
    head = {"id": "r", "object": "response", "created_at": 0, "status": "completed", "model": request.body["model"]}
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    return {**head, "output": [{"type": "reasoning", "id": "t", "summary": []}, said], "usage": usage}


def text_of(answer: Any) -> str:
    return str(answer[0]["text"] if isinstance(answer[0], dict) else answer[0])


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-opus-5", "claude-haiku-5-5"])
def test_anthropics_models_answer(scripted_server: ScriptedServer, model: str) -> None:
    scripted_server.default = raw(anthropic)
    budget = Budget()
    lm = connect(f"anthropic/{model}", api_base=scripted_server.url, api_key="k", budget=budget)
    assert text_of(lm("Which, A or B?", **LETTER)) == "A"
    assert json.loads(text_of(lm("Quote it.", max_tokens=400, response_format=FORMAT))) == {"quote": "how kind"}
    first = scripted_server.requests[0]
    assert first.path == "/v1/messages"
    assert not {"temperature", "seed", "logprobs", "thinking"} & set(first.body)
    assert first.body["max_tokens"] > 3_000, "room to think"
    assert budget.spent.usd > 0.05
    assert budget.spent.unpriced == 0


def test_an_effort_turns_on_what_anthropic_calls_thinking(scripted_server: ScriptedServer) -> None:
    scripted_server.default = raw(anthropic)
    lm = connect("anthropic/claude-opus-5", api_base=scripted_server.url, api_key="k", reasoning_effort="low")
    lm("Which, A or B?", **LETTER)
    assert scripted_server.requests[0].body["output_config"] == {"effort": "low"}


def test_models_of_the_responses_interface_answer(scripted_server: ScriptedServer) -> None:
    pytest.importorskip("mcp", reason="LiteLLM's way to the Responses interface needs mcp (the extra 'responses')")
    scripted_server.default = raw(responses)
    budget = Budget()
    lm = connect("openai/gpt-5-codex", api_base=scripted_server.base, api_key="k", budget=budget)
    assert text_of(lm("Which, A or B?", **LETTER)) == "A"
    assert scripted_server.requests[0].path == "/v1/responses"
    assert budget.spent.tokens == 12


def test_without_the_extra_it_is_said_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gpt-5-codex.*'responses' extra"):
        connect("openai/gpt-5-codex", api_key="k")("Hi")


def test_what_is_the_same_for_all_prompts_about_a_person_is_marked_for_caching(scripted_server: ScriptedServer) -> None:
    scripted_server.default = raw(anthropic)
    lm = connect("anthropic/claude-sonnet-5-5", api_base=scripted_server.url, api_key="k")
    letter = "No, thank you; I am kept at home. " * 200
    shown = [{"role": "user", "content": "Refuse."}, {"role": "assistant", "content": letter}]
    lm(messages=[{"role": "system", "content": "Write as Ada."}, *shown, {"role": "user", "content": "Go"}])
    lm(messages=[{"role": "user", "content": letter}])
    told, bare = (request.body for request in scripted_server.requests)
    assert "cache_control" in json.dumps(told["messages"][-2])
    assert json.dumps(told).count("cache_control") == 1
    assert "cache_control" not in json.dumps(bare), "another prompt has nothing of it"
