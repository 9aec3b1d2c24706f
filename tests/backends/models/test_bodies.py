"""Bodies of answers in unexpected forms are read over a real wire; what is no answer is an error that says so."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.lm import LM, stream
from hyperalign.backends.models.replies import ThoughtFilter, read_reply
from hyperalign.budget import Budget
from hyperalign.errors import ModelOutputError, ModelServerError
from hyperalign.scores import Message
from tests.fixtures.scripted_server import ScriptedServer, Step, raw, reply

HI: list[Message] = [{"role": "user", "content": "Hi"}]


def said(content: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **more}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}


def lm_at(server: ScriptedServer, **settings: Any) -> LM:
    return connect("openai/any", api_base=server.base, api_key="k", timeout=5.0, **settings)


def text_of(answer: Any) -> str:
    return str(answer[0]["text"] if isinstance(answer[0], dict) else answer[0])


def heard(server: ScriptedServer, step: Step) -> set[str]:
    """What is understood of an answer, in calls of both kinds, each made once."""
    server.default = step
    lm = lm_at(server)
    texts = {text_of(lm(messages=HI)), text_of(asyncio.run(lm.acall(messages=HI)))}
    assert len(server.requests) == 2, "asked once each"
    return texts


def chosen(*contents: Any) -> dict[str, Any]:
    choices = [{"index": at, "message": {"role": "assistant", "content": each}} for at, each in enumerate(contents)]
    return {**said(""), "choices": choices}


def counted(**usage: Any) -> dict[str, Any]:
    return {**said("A"), "usage": usage}


ODD_FIELDS = {"annotations": "x", "audio": "x", "images": "x", "thinking_blocks": "x", "tool_calls": {}}
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "two choices": (chosen("A", "B"), "A"),
    "two choices, one of them empty": (chosen("", "A"), "A"),
    "a choice without a list": ({**said("A"), "choices": said("A")["choices"][0]}, "A"),
    "another role": (said("A", role="model"), "A"),
    "odd fields": (said("A", function_call="x", refusal=7, **ODD_FIELDS), "A"),
    "an odd head": ({**said("A"), "id": 5, "created": "today", "system_fingerprint": 7, "service_tier": "odd"}, "A"),
    "an empty error": ({**said("A"), "error": {"message": "", "code": None}}, "A"),
    "why it ended as an object": (said("A", {"type": "stop"}), "A"),
    "why it ended as a list": (said("A", ["stop"]), "A"),
    "thoughts as a list": (said("A", reasoning_content=["hm", {"text": "B?"}]), "A"),
    "thoughts as an object": (said("A", reasoning={"a": 1}), "A"),
    "endless usage": (counted(prompt_tokens=float("inf"), completion_tokens=5), "A"),
    "usage with a price as text": (counted(prompt_tokens=1, completion_tokens=5, cost="0.1"), "A"),
    "usage with odd details": (counted(prompt_tokens=1, prompt_tokens_details={"cached_tokens": [3]}), "A"),
    "invisible ends": (said("\ufeff\n\u200bA\u200d"), "A"),
    "Ollama's form": ({"model": "m", "message": {"role": "assistant", "content": "A"}, "done": True}, "A"),
    "Anthropic's form": (
        {"type": "message", "content": [{"type": "text", "text": "A"}], "stop_reason": "end_turn"},
        "A",
    ),
    "a tag told of": (said("<thinking>caps</thinking> is a tag I like."), "<thinking>caps</thinking> is a tag I like."),
}


@pytest.mark.parametrize("shape", ODD)
def test_odd_bodies_are_read(scripted_server: ScriptedServer, shape: str) -> None:
    given, text = ODD[shape]
    assert heard(scripted_server, raw(given)) == {text}


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "1000", "completion_tokens": "5", "prompt_tokens_details": {"cached_tokens": "3"}},
        {"input_tokens": 1000, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 3}},
        {"prompt_tokens": 1000.0, "completion_tokens": 5.0, "prompt_cache_hit_tokens": 3, "total_tokens": "many"},
    ],
)
def test_usage_is_read_as_text_and_under_other_names(scripted_server: ScriptedServer, usage: dict[str, Any]) -> None:
    scripted_server.default = raw(counted(**usage))
    lm_at(scripted_server, budget=(budget := Budget()))(messages=HI)
    assert (budget.spent.tokens_in, budget.spent.tokens_out, budget.spent.tokens_cached) == (1000, 5, 3)


def delta(finish: str | None = None, **given: Any) -> dict[str, Any]:
    return {"id": "x", "model": "m", "choices": [{"index": 0, "delta": given, "finish_reason": finish}]}


def events(*chunks: dict[str, Any], between: str = "\n\n") -> str:
    return between.join(["data: " + json.dumps(chunk) for chunk in chunks] + ["data: [DONE]", ""])


END = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
WORDS = [delta(reasoning_content="B? "), delta(content="Dear "), delta(content="Ann"), delta("stop"), END]


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
@pytest.mark.parametrize("between", ["\n\n", "\r\n\r\n", "\n"])
def test_a_stream_that_nobody_asked_for_is_read(scripted_server: ScriptedServer, kind: str, between: str) -> None:
    step = raw(": ping\n\n" + events(*WORDS, between=between), headers={"Content-Type": kind})
    assert heard(scripted_server, step) == {"Dear Ann"}
    lm_at(scripted_server, budget=(budget := Budget()))(messages=HI)
    assert (budget.spent.tokens_in, budget.spent.tokens_out) == (10, 5)


def test_calls_in_a_stream_that_nobody_asked_for(scripted_server: ScriptedServer) -> None:
    def part(arguments: str, **more: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": 0, **more, "function": {"name": "f", "arguments": arguments}}])

    step = raw(events(part('{"letter"', id="1"), part(': "A"}'), delta("tool_calls")))
    assert heard(scripted_server, step) == {'{"letter": "A"}'}


def test_a_whole_answer_that_calls_itself_a_stream(scripted_server: ScriptedServer) -> None:
    assert heard(scripted_server, raw(said("A"), headers={"Content-Type": "text/event-stream"})) == {"A"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"error": "model overloaded"}, r"failed \(status 500\): model overloaded\."),
        ({"error": {"message": "Sorry.", "code": "503"}, "choices": []}, r"failed \(status 503\): Sorry\."),
        ({"detail": "Not found"}, r"does not speak OpenAI's chat interface \(it says 'Not found'\)\."),
        ({"status": "ok"}, r"does not speak OpenAI's chat interface\."),
        (events(delta(content="A"), {"error": {"message": "Out of memory."}}), r"\(status 500\): Out of memory\."),
    ],
)
def test_what_is_no_answer_says_so(scripted_server: ScriptedServer, given: Any, message: str) -> None:
    scripted_server.default = raw(given)
    lm = lm_at(scripted_server, num_retries=0)
    for ask in (lambda: lm(messages=HI), lambda: asyncio.run(lm.acall(messages=HI))):
        with pytest.raises(ModelServerError, match=message):
            ask()


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff\n", "\u200c \u200d", "<think>B?</think>\u200b"])
def test_what_nobody_sees_is_no_answer(scripted_server: ScriptedServer, blank: str) -> None:
    scripted_server.default = raw(said(blank))
    with pytest.raises(ModelOutputError, match="answered with nothing"):
        lm_at(scripted_server)(messages=HI)


THOUGHTS = {
    "[THINK]B? No.[/THINK]A": "A",
    "◁think▷B? No.◁/think▷\n\nA": "A",
    "<seed:think>B? No.</seed:think>A": "A",
    "<|channel>thought\nB? No.<channel|>A": "A",
    "<|channel|>analysis<|message|>B?<|end|><|channel|>final<|message|>A": "A",
    "<|channel|>final<|message|>A": "A",
    "<think>B?</think><think>C?</think>\nA": "A",
    "\ufeff<THINK>B?</THINK>A": "A",
    "[think]ing aloud[/think] A": "[think]ing aloud[/think] A",
    "A [THINK]B[/THINK] tag": "A [THINK]B[/THINK] tag",
    "<|channels|> and <channel|>": "<|channels|> and <channel|>",
    "<seed> and <thinker>": "<seed> and <thinker>",
    "[": "[",
}


@pytest.mark.parametrize("text", THOUGHTS)
def test_thoughts_between_other_marks(scripted_server: ScriptedServer, text: str) -> None:
    assert heard(scripted_server, raw(said(text))) == {THOUGHTS[text]}
    scripted_server.default = reply(text)
    assert "".join(stream(lm_at(scripted_server), HI)) == THOUGHTS[text]
    for size in (1, 2, 5):
        thoughts = ThoughtFilter()
        pieces = [thoughts.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert "".join([*pieces, thoughts.flush()]) == THOUGHTS[text]


def test_thoughts_that_only_end_in_another_mark() -> None:
    assert read_reply(said("B? No.\n[/THINK]\nA")).text == "A"
    told = "To end it write [/THINK] and go on.\nThen test it."
    assert read_reply(said(told)).text == told


@pytest.mark.parametrize(
    "text",
    [
        "<think></think>" * 20_000,
        "<think>" * 40_000,
        "a</think>\n" * 30_000,
        "<thinking>a</thinking>\n" * 10_000,
        "a" + "\n" * 200_000 + "b",
        "A" + "</s> " * 40_000,
        "\u200b " * 100_000,
    ],
    ids=range(7),
)
def test_long_texts_are_read_in_no_time(text: str) -> None:
    began = time.perf_counter()
    read_reply(said(text))
    assert time.perf_counter() - began < 2.0
