"""What is sent: LiteLLM's own check refuses nothing of it, and what a server refuses is left out from then on."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.parameters import Parameters
from hyperalign.concurrency import run_concurrently
from hyperalign.errors import ContextLengthError, ModelError
from hyperalign.scores import Message
from tests.fixtures.scripted_server import Recorded, ScriptedServer, error, raw, reply

HI: list[Message] = [{"role": "user", "content": "Hi"}]
SCHEMA = {
    "type": "object",
    "properties": {"quote": {"type": "string", "pattern": "^[a-z]+$"}},
    "required": ["quote"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
LETTER = {"temperature": 0.0, "max_tokens": 16, "logprobs": True, "top_logprobs": 5}
KINDS: dict[str, dict[str, Any]] = {
    "a letter": LETTER,
    "a proposal": {"temperature": 0.0, "max_tokens": 400, "response_format": FORMAT},
    "a proposal without a schema": {"temperature": 0.0, "max_tokens": 400, "response_format": {"type": "json_object"}},
    "an answer": {"temperature": 0.0, "max_tokens": 400, "frequency_penalty": 0.5},
    "a draft": {"temperature": 0.8, "max_tokens": 400, "seed": 3},
    "what a user sets": {"temperature": 0.3, "reasoning_effort": "low", "max_tokens": 400, "stop": ["x"], "top_p": 0.9},
}
FAMILIES = ("openai", "azure", "anthropic", "bedrock", "gemini", "vertex_ai", "mistral", "deepseek", "xai", "groq")
FAMILIES += ("together_ai", "openrouter", "ollama")
# OpenRouter's own models are in no table of LiteLLM's that ships.
UNLISTED = ["openrouter/anthropic/claude-sonnet-5-5", "openrouter/openai/gpt-5-mini", "openrouter/deepseek/deepseek-r1"]


def models() -> list[str]:
    import litellm

    found = [*UNLISTED]
    for name, about in litellm.model_cost.items():
        provider = str(about.get("litellm_provider", ""))
        known = any(provider == family or provider.startswith((f"{family}-", f"{family}_")) for family in FAMILIES)
        if not known or about.get("mode") not in {"chat", "responses"}:
            continue
        try:
            litellm.get_llm_provider(name)
        except litellm.exceptions.BadRequestError:
            found.append(f"{provider}/{name}")
        else:
            found.append(name)
    return found


def test_no_model_of_litellms_table_refuses_what_it_is_sent() -> None:
    import litellm

    asked, refused = 0, []
    for model in models():
        passed: list[dict[str, Any]] = []
        for kind, wished in KINDS.items():
            asked += 1
            sent = Parameters(model, model).sent(wished)
            if (shape := {**sent, "max_tokens": 0}) in passed:
                continue
            passed.append(shape)
            try:
                litellm.completion(model=model, messages=HI, mock_response="x", api_key="k", **sent)
            except Exception as raised:  # whatever it is, it would have ended a run
                refused.append(f"{model}, {kind}: {type(raised).__name__}: {str(raised)[:200]}")
    assert not refused, refused[:20]
    assert asked > 7_000


def test_the_check_can_fail() -> None:
    import litellm

    with pytest.raises(litellm.exceptions.UnsupportedParamsError):
        litellm.completion(model="openai/gpt-5-mini", messages=HI, mock_response="x", api_key="k", **KINDS["a letter"])


@pytest.mark.parametrize(
    "model", ["openai/gpt-5-mini", "openai/gpt-6-sol", "anthropic/claude-opus-5", "gemini/gemini-2.5-pro"]
)
def test_models_that_think_have_room_and_little_effort_for_a_letter(model: str) -> None:
    sent = Parameters(model, model).sent(LETTER)
    assert sent["max_tokens"] > 3_000
    assert sent.get("reasoning_effort") == (None if "claude" in model else "low"), "asking Claude turns thinking on"
    two_dozen = {**LETTER, "max_tokens": 304}
    assert Parameters(model, model).sent(two_dozen).get("reasoning_effort") == sent.get("reasoning_effort")
    assert "reasoning_effort" not in Parameters(model, model).sent(KINDS["an answer"])
    high = Parameters(model, model, {"reasoning_effort": "high"})
    assert high.sent(LETTER)["reasoning_effort"] == "high", "the user's word stands"


def test_models_that_do_not_think_have_none() -> None:
    assert Parameters("openai/gpt-4o", "openai/gpt-4o").sent(LETTER) == LETTER


def test_the_room_is_no_more_than_a_model_can_write() -> None:
    sent = Parameters("openai/gpt-4o", "openai/gpt-4o").sent({"max_tokens": 16_000})
    assert sent["max_tokens"] == 16_000
    assert Parameters("deepseek/deepseek-reasoner", "x").sent({"max_tokens": 65_000})["max_tokens"] == 65_536


def lm_at(server: ScriptedServer, **settings: Any) -> Any:
    return connect("openai/any", api_base=server.base, api_key="k", timeout=5.0, **settings)


def refusing(*names: str, said: str = "Unsupported parameter: '{}' is not supported with this model.") -> Any:
    """A server that refuses the first of some parameters that it is sent."""

    def body(request: Recorded) -> dict[str, Any] | None:
        return next(
            ({"error": {"message": said.format(name), "code": "x"}} for name in names if name in request.body), None
        )

    def action(handler: Any, request: Recorded) -> None:
        step = error(400, body(request)["error"]["message"]) if body(request) else reply("A")  # type: ignore[index]
        step.action(handler, request)

    return type(reply("A"))("refusing", action)


@pytest.mark.parametrize(
    "name", ["temperature", "seed", "logprobs", "response_format", "frequency_penalty", "top_logprobs"]
)
def test_a_parameter_that_a_server_refuses_is_left_out_and_told_once(
    scripted_server: ScriptedServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    scripted_server.default = refusing(name)
    lm = lm_at(scripted_server)
    wishes = {**LETTER, "seed": 1, "frequency_penalty": 0.5, "response_format": {"type": "json_object"}}
    with caplog.at_level(logging.WARNING, "hyperalign"):
        for question in ("one", "two", "three"):
            lm(question, **wishes)
    assert len(scripted_server.requests) == 4, "one refusal, then it is known"
    assert name not in scripted_server.requests[-1].body
    left = set(wishes) - {name, *(["top_logprobs"] if name == "logprobs" else [])}
    assert left <= set(scripted_server.requests[-1].body)
    assert sum(name in record.getMessage() for record in caplog.records) == 1


def test_several_refusals_one_after_another(scripted_server: ScriptedServer) -> None:
    scripted_server.default = refusing("logprobs", "temperature", "max_tokens", "seed")
    lm_at(scripted_server)("Hi", **LETTER, seed=1)
    assert set(scripted_server.requests[-1].body) == {"model", "messages", "n", "max_completion_tokens"}


def test_a_refusal_that_names_nothing(scripted_server: ScriptedServer) -> None:
    scripted_server.script(error(422, "Unprocessable."))
    lm = lm_at(scripted_server)
    lm("Hi", **LETTER)
    assert set(scripted_server.requests[-1].body) == {"model", "messages", "n", "max_tokens"}
    lm("Ho", **LETTER)
    assert scripted_server.requests[-1].body["logprobs"] is True, "once may be a whim"
    scripted_server.script(error(422, "Unprocessable."))
    lm("Ha", **LETTER)
    lm("He", **LETTER)
    assert len(scripted_server.requests) == 6
    assert "logprobs" not in scripted_server.requests[-1].body, "twice is not"


def test_what_has_nothing_to_do_with_parameters_changes_none(scripted_server: ScriptedServer) -> None:
    scripted_server.script(error(400, "No."), error(400, "No."))
    lm = lm_at(scripted_server)
    with pytest.raises(ModelError, match=r"No\."):
        lm("Hi", **LETTER)
    lm("Ho", **LETTER)
    assert scripted_server.requests[-1].body["logprobs"] is True


def test_a_schema_becomes_json_mode_and_then_nothing(scripted_server: ScriptedServer) -> None:
    scripted_server.script(
        error(400, "Invalid value for response_format: 'json_schema' is not supported."),
        error(400, "JSON mode is not enabled for this model."),
        '{"quote": "a"}',
    )
    lm_at(scripted_server)("Answer in JSON.", max_tokens=400, response_format=FORMAT)
    formats = [request.body.get("response_format", {}).get("type") for request in scripted_server.requests]
    assert formats == ["json_schema", "json_object", None]


def test_a_window_too_small_for_the_room(scripted_server: ScriptedServer) -> None:
    def small(request: Recorded) -> dict[str, Any]:
        return {"error": {"message": "max_tokens is too large: at most 2048", "code": "x"}}

    def action(handler: Any, request: Recorded) -> None:
        step = raw(small(request), status=400) if request.body.get("max_tokens", 0) > 2_048 else reply("A")
        step.action(handler, request)

    scripted_server.default = type(reply("A"))("small", action)
    lm = connect("openai/gpt-5-mini", api_base=scripted_server.base, api_key="k")
    scripted_server.models = ["gpt-5-mini"]
    assert lm("Hi", max_tokens=16) == ["A"]


def test_what_a_user_sets_stands_in_place_of_what_a_call_wishes(scripted_server: ScriptedServer) -> None:
    lm = lm_at(scripted_server, temperature=0.3, reasoning_effort="high", extra_headers={"X-Team": "a"})
    lm("Hi", temperature=0.0, max_tokens=16)
    request = scripted_server.requests[0]
    assert (request.body["temperature"], request.body["reasoning_effort"]) == (0.3, "high")
    assert request.headers["x-team"] == "a"
    assert "X-Team" not in str(lm.dump_state())
    again = type(lm).load_state({**lm.dump_state(), "api_key": "k"})
    again("Hi", temperature=0.0, max_tokens=16)
    assert scripted_server.requests[-1].body["temperature"] == 0.3, "after a way through a file, too"


def test_what_a_model_is_copied_with_is_a_wish_also_after_a_file(scripted_server: ScriptedServer) -> None:
    lm = lm_at(scripted_server).copy(temperature=0.9)
    again = type(lm).load_state({**lm.dump_state(), "api_key": "k"})
    again("Hi", temperature=0.0)
    again("Hi")
    assert [request.body["temperature"] for request in scripted_server.requests] == [0.0, 0.9]


def test_another_model_keeps_what_a_user_set() -> None:
    lm = connect("openai/any", api_key="k", temperature=0.3, concurrency=2)
    other = lm.copy(model="local:smollm2-135m-instruct", max_tokens=7)
    assert other.target.parameters.fixed == {"temperature": 0.3}
    assert other.kwargs["max_tokens"] == 7


def capped(limit: int, said: str, *, code: str | None = None) -> Any:
    """A server of a model that thinks until it is cut, and that refuses more tokens than a limit."""

    def action(handler: Any, request: Recorded) -> None:
        asked = request.body.get("max_tokens") or request.body.get("max_completion_tokens") or 0
        if asked > limit:
            error(400, said.format(asked=asked), code=code).action(handler, request)
        else:
            reply("", finish_reason="length").action(handler, request)

    return type(reply("A"))("capped", action)


@pytest.mark.parametrize("limit", [4_096, 16_384])
@pytest.mark.parametrize(
    "said",
    [
        "max_tokens is too large: {asked}.",
        "This model's maximum context length is 8192 tokens. However, you requested {asked} tokens. Please reduce it.",
    ],
)
def test_room_that_a_server_refuses_is_not_asked_for_again(
    scripted_server: ScriptedServer, limit: int, said: str
) -> None:
    scripted_server.default = capped(limit, said)
    with pytest.raises(ModelError, match="before it answered"):
        lm_at(scripted_server)("Hi", **LETTER)
    assert len(scripted_server.requests) < 8


def test_a_short_window_takes_as_much_room_as_there_is(scripted_server: ScriptedServer) -> None:
    def action(handler: Any, request: Recorded) -> None:
        asked = request.body["max_tokens"]
        if asked > 4_000:
            error(400, "maximum context length is 4096 tokens", code="context_length_exceeded").action(handler, request)
        else:
            reply("A" if asked > 1_000 else "", finish_reason="stop" if asked > 1_000 else "length").action(
                handler, request
            )

    scripted_server.default = type(reply("A"))("short", action)
    lm = lm_at(scripted_server)
    lm("Hi", **LETTER)
    asked = len(scripted_server.requests)
    lm("Ho", **LETTER)
    assert len(scripted_server.requests) == asked + 1, "what was learned is kept"


def test_a_prompt_that_is_too_long_is_still_said_to_be(scripted_server: ScriptedServer) -> None:
    scripted_server.default = error(400, "maximum context length is 4096 tokens", code="context_length_exceeded")
    with pytest.raises(ContextLengthError):
        lm_at(scripted_server)("Hi", **LETTER)
    assert len(scripted_server.requests) == 1
    with pytest.raises(ContextLengthError):
        connect("openai/gpt-5-mini", api_base=scripted_server.base, api_key="k")("Hi", **LETTER)
    assert len(scripted_server.requests) < 6


def test_many_that_are_refused_for_one_reason_learn_it_once(scripted_server: ScriptedServer) -> None:
    wait = threading.Barrier(4, timeout=20)

    def action(handler: Any, request: Recorded) -> None:
        if request.body["max_completion_tokens"] > 5_000:
            wait.wait()
            error(400, "max_tokens is too large").action(handler, request)
        else:
            reply("A").action(handler, request)

    scripted_server.default = type(reply("A"))("slow", action)
    lm = connect("openai/gpt-5-mini", api_base=scripted_server.base, api_key="k", concurrency=4)
    run_concurrently(lambda number: lm(f"{number}", max_tokens=16), range(4), 4)
    assert lm.target.parameters.room == 2_048


def test_a_model_that_could_not_finish_gets_more_room(scripted_server: ScriptedServer) -> None:
    scripted_server.script(
        error(400, "Could not finish the message because max_tokens or model output limit was reached. "
              "Please try again with higher max_tokens."),
    )  # fmt: skip
    lm_at(scripted_server)("Hi", **LETTER)
    limits = [request.body["max_tokens"] for request in scripted_server.requests]
    assert limits == [16, 8_208]


def test_a_length_goes_by_its_other_name_at_once(scripted_server: ScriptedServer) -> None:
    scripted_server.default = refusing("max_tokens", said="Unrecognized request argument supplied: {}")
    lm_at(scripted_server)("Hi", **LETTER)
    assert [set(request.body) & {"max_tokens", "max_completion_tokens"} for request in scripted_server.requests] == [
        {"max_tokens"},
        {"max_completion_tokens"},
    ]


def test_top_k_is_handed_on_and_odd_values_are_no_accident(scripted_server: ScriptedServer) -> None:
    lm = connect("openai/any", api_base=scripted_server.base, api_key="k", top_k=5, reasoning_effort={"effort": "low"})
    lm("Hi")
    assert scripted_server.requests[0].body["top_k"] == 5


def test_what_somebody_set_and_a_model_does_not_take_is_told(
    scripted_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    lm = connect("openai/gpt-5-mini", api_base=scripted_server.base, api_key="k", top_p=0.5)
    with caplog.at_level(logging.WARNING, "hyperalign"):
        lm("Hi")
        lm("Ho")
    assert [record.getMessage() for record in caplog.records] == [
        "openai/gpt-5-mini takes no top_p: it is asked without."
    ]


def test_no_server_is_asked_what_a_model_can_do(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_BASE", scripted_server.url)
    connect("ollama_chat/qwen3", api_base=scripted_server.url).target.parameters.sent(LETTER)
    assert not scripted_server.requests


def test_the_longest_answer_that_a_server_takes_is_remembered(scripted_server: ScriptedServer) -> None:
    def action(handler: Any, request: Recorded) -> None:
        asked = request.body.get("max_tokens", 10**6)
        said = "`max_new_tokens` must be <= 1024."
        (error(422, said) if asked > 1_024 else reply("A")).action(handler, request)

    scripted_server.default = type(reply("A"))("tgi", action)
    lm = lm_at(scripted_server)
    lm("Hi", max_tokens=2_000)
    lm("Letter", **LETTER)
    assert [request.body["max_tokens"] for request in scripted_server.requests] == [2_000, 1_024, 16]


def test_a_temperature_that_must_be_above_zero_is_hardly_so(scripted_server: ScriptedServer) -> None:
    scripted_server.script(error(422, "`temperature` must be strictly positive"))
    lm_at(scripted_server)("Hi", **LETTER)
    assert scripted_server.requests[1].body["temperature"] == 0.01


def test_of_two_that_do_not_go_together_one_stays(scripted_server: ScriptedServer) -> None:
    scripted_server.script(error(400, "`temperature` and `top_p` cannot both be specified for this model."))
    lm_at(scripted_server)("Hi", temperature=0.5, top_p=0.9)
    assert set(scripted_server.requests[1].body) == {"model", "messages", "n", "temperature"}


@pytest.mark.parametrize(
    "said", ["System role not supported", "Conversation roles must alternate user/assistant/user/assistant/..."]
)
def test_templates_without_a_system_turn(scripted_server: ScriptedServer, said: str) -> None:
    def action(handler: Any, request: Recorded) -> None:
        roles = [message["role"] for message in request.messages]
        alternate = roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
        (reply("A") if alternate else error(400, said)).action(handler, request)

    scripted_server.default = type(reply("A"))("gemma", action)
    lm = lm_at(scripted_server)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    lm(messages=turns)
    lm(messages=turns)
    assert len(scripted_server.requests) == 3, "remembered"
    assert scripted_server.requests[-1].messages == [{"role": "user", "content": "Be brief.\n\nHi"}]
