"""Answers in every shape that servers have: each is read, asked for once more, or an error of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.lm import LM, stream
from hyperalign.backends.models.replies import ThoughtFilter, read_reply
from hyperalign.budget import Budget
from hyperalign.errors import ModelOutputError, ModelServerError
from hyperalign.profile import Profile
from hyperalign.programs.generate import Generate
from hyperalign.scores import Message
from tests.fixtures.scripted_server import Recorded, ScriptedServer, Step, error, raw, reply

HI: list[Message] = [{"role": "user", "content": "Hi"}]
LETTER = {"temperature": 0.0, "max_tokens": 16, "logprobs": True, "top_logprobs": 5}


def body(message: Any, finish: str | None = "stop", **choice: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choices = [{"index": 0, "message": message, "finish_reason": finish, **choice}]
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}


def said(content: Any, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    return body({"role": "assistant", "content": content, **more}, finish)


def lm_at(server: ScriptedServer, **settings: Any) -> LM:
    return connect("openai/any", api_base=server.base, api_key="k", timeout=5.0, **settings)


CALL = {"id": "1", "type": "function", "function": {"name": "answer", "arguments": '{"letter": "A"}'}}
OBJECT_CALL = {**CALL, "function": {"name": "answer", "arguments": {"letter": "A"}}}
READ = {
    "parts": (said([{"type": "text", "text": "A"}, {"type": "text", "text": ", surely"}]), "A, surely"),
    "parts with thoughts": (said([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A"}]), "A"),
    "parts that are strings": (said(["A"]), "A"),
    "a number": (said(5), "5"),
    "an object": (said({"letter": "A"}), '{"letter": "A"}'),
    "thoughts in tags": (said("<think>\nB? No.\n</think>\n\nA"), "A"),
    "thoughts that only end": (said("B? No.\n</think>\n\nA"), "A"),
    "thoughts apart": (said("A", reasoning_content="B? No."), "A"),
    "thoughts under another name": (said("A", reasoning="B? No."), "A"),
    "channels": (said("<|channel|>analysis<|message|>B?<|end|><|channel|>final<|message|>A"), "A"),
    "the end of a turn": (said("A</s>"), "A"),
    "a tool's call": (said(None, "tool_calls", tool_calls=[CALL]), '{"letter": "A"}'),
    "a tool's call with an object": (said(None, "tool_calls", tool_calls=[OBJECT_CALL]), '{"letter": "A"}'),
    "a function's call": (said(None, "function_call", function_call=CALL["function"]), '{"letter": "A"}'),
    "no usage": ({**said("A"), "usage": None}, "A"),
    "half of a usage": ({**said("A"), "usage": {"prompt_tokens": 3}}, "A"),
    "no end": (said("A", None), "A"),
    "an odd end": (said("A", "eos_token"), "A"),
    "no role": (body({"content": "A"}), "A"),
    "an older form": ({"id": "x", "choices": [{"index": 0, "text": "A", "finish_reason": "stop"}]}, "A"),
    "half of a letter": (said("A \ud83d"), "A \ufffd"),
}


def text_of(answer: Any) -> str:
    return str(answer[0]["text"] if isinstance(answer[0], dict) else answer[0])


@pytest.mark.parametrize("shape", READ)
def test_odd_shapes_are_read(scripted_server: ScriptedServer, shape: str) -> None:
    given, text = READ[shape]
    scripted_server.default = raw(given)
    budget = Budget()
    lm = lm_at(scripted_server, budget=budget)
    assert text_of(lm(messages=HI)) == text
    assert text_of(asyncio.run(lm.acall(messages=HI))) == text
    assert budget.spent.calls == len(scripted_server.requests) == 2, "asked once each"
    assert budget.spent.usd == 0.0
    assert budget.spent.unpriced == 2


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_a_server_that_the_environment_names_may_be_odd_too(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, scripted_server.base)
    scripted_server.default = raw(READ["parts"][0])
    assert text_of(connect("openai/any", api_key="k")(messages=HI)) == "A, surely"


TOP = [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2.3}]
SHAPES: dict[str, Any] = {
    "as chat has it": {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": TOP}]},
    "as completions had it": {"tokens": ["A"], "token_logprobs": [-0.1], "top_logprobs": [{"A": -0.1, "B": -2.3}]},
    "a mapping of alternatives": {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": {"A": -0.1, "B": -2.3}}]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_log_probabilities_in_every_shape(scripted_server: ScriptedServer, shape: str) -> None:
    scripted_server.default = raw(body({"role": "assistant", "content": "A"}, logprobs=SHAPES[shape]))
    (answer,) = lm_at(scripted_server)(messages=HI, **LETTER)
    (token,) = answer["logprobs"]["content"]
    assert [(each["token"], each["logprob"]) for each in token["top_logprobs"]] == [("A", -0.1), ("B", -2.3)]


@pytest.mark.parametrize(
    "odd", [None, [], {"content": None}, {"content": [{"token": "A", "logprob": None}]}, "none", {"x": 1}]
)
def test_log_probabilities_that_are_none(scripted_server: ScriptedServer, odd: Any) -> None:
    scripted_server.default = raw(body({"role": "assistant", "content": "A"}, logprobs=odd))
    answer = lm_at(scripted_server)(messages=HI, **LETTER)
    assert text_of(answer) == "A"
    assert not isinstance(answer[0], dict) or not answer[0]["logprobs"]["content"]


def test_log_probabilities_of_thoughts_are_not_those_of_the_answer() -> None:
    tokens = ["<think>", "B", "?", "</think>", "\n", "A"]
    given = {"content": [{"token": token, "logprob": -0.5} for token in tokens]}
    reply_read = read_reply(body({"role": "assistant", "content": "".join(tokens)}, logprobs=given))
    assert [token["token"] for token in reply_read["choices"][0]["logprobs"]["content"]] == ["A"]
    # Where thoughts come apart, servers may still give their tokens' log-probabilities.
    apart = read_reply(body({"role": "assistant", "content": "A", "reasoning_content": "B?"}, logprobs=given))
    assert [token["token"] for token in apart["choices"][0]["logprobs"]["content"]] == ["A"]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (said(None), "answered with nothing"),
        (said(""), "answered with nothing"),
        ({"id": "x", "choices": []}, "answered with nothing"),
        ({"id": "x", "choices": None}, "answered with nothing"),
        (said(None, refusal="I would rather not."), "I would rather not"),
        (said(None, "content_filter"), "content_filter"),
    ],
)
def test_what_says_nothing_is_asked_for_once_more(scripted_server: ScriptedServer, odd: Any, message: str) -> None:
    scripted_server.default = raw(odd)
    budget = Budget()
    with pytest.raises(ModelOutputError, match=message):
        lm_at(scripted_server, budget=budget)(messages=HI)
    asked = 1 if "content_filter" in message else 2
    assert budget.spent.calls == len(scripted_server.requests) == asked
    scripted_server.script(raw(odd), "fine")
    if asked == 2:
        assert lm_at(scripted_server)(messages=HI) == ["fine"]


def thinking(tokens: int, answer: str = "A") -> Step:
    """A model that thinks for so many tokens before it answers, in a field of its own."""

    def action(handler: Any, request: Recorded) -> None:
        limit = request.body.get("max_tokens") or request.body.get("max_completion_tokens") or 1_000_000
        cut = limit <= tokens
        given = said("" if cut else answer, "length" if cut else "stop", reasoning_content="hm " * min(limit, 50))
        raw(given).action(handler, request)

    return Step("thinking", action)


@pytest.mark.parametrize("tokens", [3_000, 20_000])
def test_a_model_that_thinks_first_gets_more_room_and_keeps_it(scripted_server: ScriptedServer, tokens: int) -> None:
    scripted_server.default = thinking(tokens)
    lm = lm_at(scripted_server)
    assert text_of(lm(messages=HI, **LETTER)) == "A"
    first = len(scripted_server.requests)
    assert first == (2 if tokens < 8_000 else 3)
    assert text_of(lm("Again", **LETTER)) == "A"
    assert len(scripted_server.requests) == first + 1


def test_a_model_that_thinks_in_its_text_gets_more_room(scripted_server: ScriptedServer) -> None:
    scripted_server.script(raw(said("<think>Let me see whether", "length")), "<think>Yes.</think>A")
    assert text_of(lm_at(scripted_server)(messages=HI, **LETTER)) == "A"


def test_one_that_never_ends_to_think_is_an_error(scripted_server: ScriptedServer) -> None:
    scripted_server.default = thinking(10**7)
    with pytest.raises(ModelOutputError, match="before it answered"):
        lm_at(scripted_server)(messages=HI, **LETTER)
    assert len(scripted_server.requests) == 3


def test_json_that_is_cut_is_asked_for_with_more_room_once(scripted_server: ScriptedServer) -> None:
    scripted_server.script(reply('{"quote": "and then we', finish_reason="length"), '{"quote": "and then we went"}')
    lm = lm_at(scripted_server)
    json_mode = {"response_format": {"type": "json_object"}}
    assert text_of(lm(messages=HI, max_tokens=20, **json_mode)) == '{"quote": "and then we went"}'
    assert scripted_server.requests[1].body["max_tokens"] > scripted_server.requests[0].body["max_tokens"]
    scripted_server.script(*[reply('{"quote": "and on and', finish_reason="length")] * 2)
    with pytest.raises(ModelOutputError, match="did not come to the end"):
        lm("On", max_tokens=20, **json_mode)
    lm("Letter", **LETTER)
    assert scripted_server.requests[-1].body["max_tokens"] == 16, "it does not think: nothing was learned"


def test_prose_that_stops_at_its_length_is_an_answer(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply("And then we", finish_reason="length")
    assert lm_at(scripted_server)(messages=HI, max_tokens=4) == ["And then we"]
    assert len(scripted_server.requests) == 1


def test_an_error_with_status_200_is_an_error(scripted_server: ScriptedServer) -> None:
    scripted_server.default = raw({"error": {"message": "Overloaded, sorry.", "code": 503}})
    with pytest.raises(ModelServerError, match="Overloaded, sorry"):
        lm_at(scripted_server, num_retries=0)(messages=HI)


def test_a_text_that_a_provider_refuses_is_no_answer(scripted_server: ScriptedServer) -> None:
    scripted_server.default = error(400, "Rejected by our content management policy.", code="content_policy_violation")
    with pytest.raises(ModelOutputError, match="refused to answer"):
        lm_at(scripted_server)(messages=HI, **LETTER)
    assert len(scripted_server.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        "To end the block write </think> and go on.\nThen test it.",
        "The sale: <s>old price</s>",
        "<thinking>caps</thinking> is a tag I like.",
        "<thought>A poem of mine.</thought>",
        "Dear Ann, </s> is how it ends, I think.",
    ],
)
def test_texts_that_tell_of_tags_are_left_alone(text: str) -> None:
    assert read_reply(said(text)).text == text


def test_a_streamed_program_shows_no_thoughts(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply("<think>secret thoughts</think>\n\nDear Ann, do come.")
    lm = lm_at(scripted_server)
    assert "".join(stream(lm, HI)) == "Dear Ann, do come."

    async def streamed() -> tuple[str, str]:
        import dspy

        with dspy.context(lm=lm):
            program = dspy.streamify(Generate("none"))
            chunks = [chunk async for chunk in program(prompt="Hi", profile=Profile(user="ada"))]
        return str(chunks[:-1]), str(chunks[-1].answer)

    shown, answer = asyncio.run(streamed())
    assert answer == "Dear Ann, do come."
    assert "secret" not in shown


def test_a_stream_cut_while_it_thinks_is_asked_for_with_more_room(scripted_server: ScriptedServer) -> None:
    scripted_server.script(reply("<think>Hm", finish_reason="length"))
    scripted_server.default = reply("<think>Hm.</think>Dear Ann")
    budget = Budget()
    assert "".join(stream(lm_at(scripted_server, budget=budget), HI, max_tokens=20)) == "Dear Ann"
    assert budget.spent.calls == len(scripted_server.requests) == 2


def test_a_reader_who_leaves_at_the_end_has_paid_once(scripted_server: ScriptedServer) -> None:
    lm = lm_at(scripted_server, budget=(budget := Budget()))
    from hyperalign.programs.dspy_internals import request_from_openai_chat

    events = lm._own_engine.stream(request_from_openai_chat({"model": lm.model, "messages": HI}))
    for event in events:
        if event.type == "end":
            break
    events.close()
    assert budget.spent.calls == len(scripted_server.requests) == 1


def test_a_cancelled_call_is_booked(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply("A", delay=1.0)
    lm = lm_at(scripted_server, budget=(budget := Budget()))

    async def cancelled() -> None:
        task = asyncio.ensure_future(lm.acall("Hi"))
        while not scripted_server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert (budget.spent.calls, budget.spent.unpriced) == (1, 1)


def test_event_loops_leave_nothing_open(scripted_server: ScriptedServer) -> None:
    lm = lm_at(scripted_server)
    asyncio.run(lm.acall("Hi"))
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    for number in range(12):
        asyncio.run(lm.acall(f"{number}"))
    assert len(lm.target.clients._by_loop) <= 2
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 6


@pytest.mark.parametrize("variable", ["NO_PROXY", "HTTPS_PROXY"])
def test_a_proxy_for_something_else_changes_nothing(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://proxy.example:3128" if variable == "HTTPS_PROXY" else "example.com")
    scripted_server.default = raw(READ["parts"][0])
    assert text_of(lm_at(scripted_server)(messages=HI)) == "A, surely"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["<th", "ink>No", ".</thi", "nk>\n\n", "Dear", " Tom"], "Dear Tom"),
        (["<b>Dear", "</b>"], "<b>Dear</b>"),
        (["Dear", " Tom, <think>"], "Dear Tom, <think>"),
        (["\n", "<think>", "never"], ""),
        (["<"], "<"),
    ],
)
def test_thoughts_are_not_streamed(pieces: list[str], shown: str) -> None:
    thoughts = ThoughtFilter()
    assert "".join([*(thoughts.feed(piece) for piece in pieces), thoughts.flush()]) == shown


def test_a_stream_of_thoughts_alone_is_asked_for_whole(scripted_server: ScriptedServer) -> None:
    scripted_server.script("<think>Hm", "Dear Tom")
    assert "".join(stream(lm_at(scripted_server), HI)) == "Dear Tom"
