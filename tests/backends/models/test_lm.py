from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import signal
import time
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.clients.base_lm import BaseLM

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.llama_server import ServerSettings
from hyperalign.backends.models.lm import LM, stream
from hyperalign.budget import Budget
from hyperalign.errors import (
    BudgetExceededError,
    ContextLengthError,
    HyperalignError,
    MissingKeyError,
    ModelError,
    ModelOutputError,
    ModelServerError,
    UnknownModelError,
)
from hyperalign.scores import Message
from tests.fixtures.scripted_server import (
    ScriptedServer,
    Step,
    close_midway,
    empty_body,
    empty_choices,
    error,
    hang,
    rate_limited,
    raw,
    reply,
)

HI: list[Message] = [{"role": "user", "content": "Hi"}]
KEY = "sk-very-secret"


class DictJournal:
    """A journal that holds JSON, as a file would."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def get(self, key: str) -> dict[str, Any] | None:
        return json.loads(self.lines[key]) if key in self.lines else None

    def put(self, key: str, value: dict[str, Any]) -> None:
        self.lines[key] = json.dumps(value)


def scripted(server: ScriptedServer, *steps: Step | str, **settings: Any) -> LM:
    server.script(*steps)
    return connect("openai/any", **{"api_base": server.base, "api_key": KEY, "timeout": 1.0, **settings})


def test_counts_what_a_call_costs(scripted_server: ScriptedServer) -> None:
    budget = Budget()
    lm = scripted(scripted_server, reply("one two", tokens_in=9, cached=4), budget=budget)
    with budget.step("infer"):
        assert lm(messages=HI) == ["one two"]
    spent = budget.by_step["infer"]
    assert (spent.calls, spent.tokens_in, spent.tokens_out, spent.tokens_cached) == (1, 9, 2, 4)
    assert spent.seconds > 0
    assert (spent.usd, spent.unpriced) == (0.0, 1), "unknown is said, not zero"


def test_knows_the_price_of_a_known_model(scripted_server: ScriptedServer) -> None:
    budget = Budget()
    scripted_server.script(reply("x", tokens_in=1_000_000, tokens_out=0))
    connect("openai/gpt-4o-mini", api_base=scripted_server.base, api_key=KEY, budget=budget)("Hi")
    assert budget.spent.usd == pytest.approx(0.15)
    assert budget.spent.unpriced == 0


def test_stops_before_the_call_that_is_too_much(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, budget=Budget(max_calls=1))
    lm("Hi")
    with pytest.raises(BudgetExceededError):
        lm("Hi again")
    with pytest.raises(BudgetExceededError):
        list(stream(lm, HI))
    with pytest.raises(BudgetExceededError):
        asyncio.run(lm.acall("Hi"))
    assert len(scripted_server.requests) == 1


def test_rate_limit_is_waited_for_as_asked(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, rate_limited(retry_after=0.2), "fine", budget=(budget := Budget()))
    started = time.monotonic()
    assert lm("Hi") == ["fine"]
    assert 0.2 <= time.monotonic() - started < 0.9, "DSPy's own pause would be a second"
    assert budget.spent.calls == 1


def test_rate_limit_too_long_to_wait_for(scripted_server: ScriptedServer) -> None:
    with pytest.raises(ModelServerError, match="asks to wait 3600 seconds"):
        scripted(scripted_server, rate_limited(retry_after=3600))("Hi")


def test_a_failing_server_is_tried_again(scripted_server: ScriptedServer) -> None:
    assert scripted(scripted_server, error(500), "fine")("Hi") == ["fine"]


@pytest.mark.parametrize(
    ("step", "kind", "said"),
    [
        (rate_limited(), ModelServerError, "rate limit"),
        (error(500, "Out of memory"), ModelServerError, r"status 500\): Out of memory"),
        (hang(), ModelServerError, "did not answer within 0.3 seconds"),
        (close_midway(), ModelServerError, "could not be reached"),
        (empty_body(), ModelOutputError, "not in the form"),
        (raw("<html>Welcome</html>"), ModelOutputError, "not in the form"),
        (empty_choices(), ModelOutputError, "answered with nothing"),
        (reply(""), ModelOutputError, "answered with nothing"),
        (error(401, f"Incorrect API key provided: {KEY}"), MissingKeyError, "refused the API key"),
        (error(404, "No such model", code="model_not_found"), UnknownModelError, "No such model"),
        (error(400, "Too long", code="context_length_exceeded"), ContextLengthError, "Too long"),
        (error(400, "Bad temperature"), ModelError, "Bad temperature"),
    ],
)
def test_faults(scripted_server: ScriptedServer, step: Step, kind: type[HyperalignError], said: str) -> None:
    lm = scripted(scripted_server, step, num_retries=0, timeout=0.3)
    for ask in (lambda: lm("Hi"), lambda: asyncio.run(lm.acall("Hi"))):
        with pytest.raises(kind, match=said) as caught:
            ask()
        assert KEY not in str(caught.value)
        scripted_server.script(step)


def test_an_error_being_handled_is_not_taken_for_the_new_one(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, rate_limited(), rate_limited(3600), num_retries=0)
    for earlier in (json.JSONDecodeError("bad", "x", 0), ModelOutputError("Earlier.")):
        try:
            raise earlier
        except ValueError:
            with pytest.raises(ModelServerError, match="rate limit"):
                lm("Hi")


@pytest.mark.parametrize("step", [error(500), hang(), close_midway(), rate_limited(3600)])
def test_faults_while_streaming(scripted_server: ScriptedServer, step: Step) -> None:
    lm = scripted(scripted_server, step, step, timeout=0.3, num_retries=0)
    with pytest.raises(ModelServerError):
        list(stream(lm, HI))


@pytest.mark.parametrize("step", [error(500), rate_limited(0.05)])
def test_trouble_that_passes_before_the_first_word_is_waited_for(scripted_server: ScriptedServer, step: Step) -> None:
    lm = scripted(scripted_server, step, "one two")
    assert "".join(stream(lm, HI)) == "one two"
    assert len(scripted_server.requests) == 2


def test_stream_in_pieces_counts_once(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, reply("one two three", tokens_in=7), budget=(budget := Budget()), max_tokens=50)
    pieces = list(stream(lm, HI, temperature=0.5))
    assert pieces == ["one", " two", " three"]
    assert (budget.spent.calls, budget.spent.tokens_in, budget.spent.tokens_out) == (1, 7, 3)
    body = scripted_server.requests[0].body
    assert (body["temperature"], body["max_tokens"], body["messages"]) == (0.5, 50, HI)


def test_stream_left_early_is_still_a_call(scripted_server: ScriptedServer) -> None:
    pieces = stream(scripted(scripted_server, "one two three", budget=(budget := Budget())), HI)
    assert next(pieces) == "one"
    pieces.close()  # type: ignore[attr-defined]
    assert (budget.spent.calls, budget.spent.unpriced) == (1, 1)


def test_async_calls(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, "fine", budget=(budget := Budget()), journal=DictJournal())
    assert asyncio.run(lm.acall(messages=HI)) == ["fine"]
    assert budget.spent.calls == 1


def test_a_killed_run_makes_no_call_twice(scripted_server: ScriptedServer) -> None:
    journal = DictJournal()
    first = scripted(scripted_server, "A", "B", "C", journal=journal, temperature=1.0)
    answers = [first("Hi"), first("Hi"), first("Ho"), "".join(stream(first, HI, temperature=0.1))]
    budget = Budget()
    again = scripted(scripted_server, journal=journal, budget=budget, temperature=1.0)
    assert [again("Hi"), again("Hi"), again("Ho"), "".join(stream(again, HI, temperature=0.1))] == answers
    assert len(scripted_server.requests) == 4
    assert (budget.spent.calls, budget.spent.replayed) == (0, 4)
    again("Hi")
    assert budget.spent.calls == 1, "a third repetition is a new request"


def test_a_failed_attempt_leaves_no_hole_in_the_journal(scripted_server: ScriptedServer) -> None:
    journal = DictJournal()
    scripted(scripted_server, rate_limited(0.01), "fine", journal=journal)("Hi")
    budget = Budget()
    scripted(scripted_server, journal=journal, budget=budget)("Hi")
    assert (budget.spent.calls, budget.spent.replayed) == (0, 1)


def test_log_probabilities_survive_the_journal(scripted_server: ScriptedServer) -> None:
    token = {
        "token": "A",
        "logprob": -0.1,
        "bytes": [65],
        "top_logprobs": [{"token": "B", "logprob": -2.0, "bytes": [66]}],
    }
    journal = DictJournal()
    for _ in range(2):
        lm = scripted(scripted_server, reply("A", logprobs={"content": [token]}), journal=journal)
        (answer,) = lm("Hi", logprobs=True, top_logprobs=1)
        assert answer["logprobs"].content[0].top_logprobs[0].logprob == -2.0
    assert len(scripted_server.requests) == 1


def test_settings_reach_the_wire(scripted_server: ScriptedServer) -> None:
    settings = {
        "seed": 7,
        "stop": ["END"],
        "top_p": 0.9,
        "presence_penalty": 0.1,
    }
    scripted(scripted_server, max_tokens=5, temperature=0.2)(messages=HI, **settings)
    body = scripted_server.requests[0].body
    assert (body["seed"], body["stop"], body["top_p"]) == (7, ["END"], 0.9)
    assert (body["max_tokens"], body["temperature"], body["presence_penalty"]) == (5, 0.2, 0.1)
    assert scripted_server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_several_answers_are_several_calls(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, "A", "B", budget=(budget := Budget()), temperature=1.0)
    assert lm("Hi", n=2) == ["A", "B"]
    assert budget.spent.calls == 2


def test_works_in_a_dspy_program(scripted_server: ScriptedServer) -> None:
    budget = Budget()
    lm = scripted(scripted_server, reply("[[ ## answer ## ]]\nfour\n\n[[ ## completed ## ]]"), budget=budget)
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)):
        assert program.deepcopy()(question="2 + 2?").answer == "four"
    assert budget.spent.calls == 1


def test_state_holds_no_secret_and_connects_again(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, temperature=0.3, max_tokens=77, num_retries=1)
    state = lm.dump_state()
    assert KEY not in json.dumps(state)
    assert KEY not in repr(lm.__dict__) + repr(lm.target) + str(lm.kwargs)
    again = BaseLM.load_state(state, allow_custom_lm_class=True)
    assert isinstance(again, LM)
    assert (again.model, again.kwargs, again.num_retries) == (lm.model, lm.kwargs, 1)
    assert again.target.api_base == scripted_server.base


def test_local_state_keeps_the_server_settings() -> None:
    lm = connect("local:smollm2-135m-instruct", server=ServerSettings(slots=1, context=512))
    again = BaseLM.load_state(json.loads(json.dumps(lm.dump_state())), allow_custom_lm_class=True)
    assert isinstance(again, LM)
    assert again.target.server is not None
    assert again.target.server.settings.context == 512


def test_copies_share_the_budget_and_pickles_do_not(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, budget=(budget := Budget()))
    copy.deepcopy(lm)("Hi")
    lm.copy(temperature=0.9)("Hi")
    assert budget.spent.calls == 2
    pickled = pickle.dumps(lm)
    assert KEY.encode() not in pickled
    assert pickle.loads(pickled).budget is None
    assert pickle.loads(pickle.dumps(connect("local:smollm2-135m-instruct"))).target.server is not None


@pytest.mark.parametrize("given", ["k-given", None])
def test_the_key_is_sent_wherever_it_comes_from(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-environment")
    lm = connect("openai/any", api_base=scripted_server.base, api_key=given)
    lm("Hi")
    asyncio.run(lm.acall("Hi"))
    sent = {request.headers["authorization"] for request in scripted_server.requests}
    assert sent == {f"Bearer {given or 'k-environment'}"}


def test_a_pickled_model_holds_no_words(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, "The marmalade is ready.")
    lm("Is the marmalade ready?")
    assert lm.history
    assert b"marmalade" not in pickle.dumps(lm)
    elsewhere = connect("openai/any", api_base="http://bob:pw-secret@127.0.0.1:9/v1", api_key="k")
    assert b"pw-secret" not in pickle.dumps(elsewhere)
    assert "pw-secret" not in str(elsewhere.dump_state())
    assert lm.history, "its own is kept"


def test_another_budget_for_the_same_model(scripted_server: ScriptedServer) -> None:
    lm = scripted(scripted_server, budget=(first := Budget()))
    lm.metered(budget=(second := Budget()))("Hi")
    assert (first.spent.calls, second.spent.calls) == (0, 1)


@pytest.fixture
def smollm(smollm_path: Path) -> Any:
    pytest.importorskip("xllamacpp", reason="the 'local' extra is not installed")
    budget = Budget()
    settings = ServerSettings(slots=1, context=1024)
    lm = connect("local:smollm2-135m-instruct", budget=budget, server=settings, temperature=0.0, max_tokens=24)
    yield lm
    assert lm.target.server is not None
    lm.target.server.close()


def test_the_embedded_model(smollm: LM) -> None:
    question: list[Message] = [{"role": "user", "content": "What is the capital of France? " * 8}]
    answer = smollm(messages=question)[0]
    assert "Paris" in answer
    assert "".join(stream(smollm, question)) == answer
    assert smollm.budget is not None
    spent = smollm.budget.spent
    assert (spent.calls, spent.usd, spent.unpriced) == (2, 0.0, 0)
    assert spent.tokens_cached > 50, "the second prompt was read before"
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    response_format = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
    (held,) = smollm(messages=question, response_format=response_format)
    assert json.loads(held)["city"] in ("Paris", "Rome")
    (scored,) = smollm(messages=question, logprobs=True, top_logprobs=3, max_tokens=1)
    assert len(scored["logprobs"].content[0].top_logprobs) == 3
    with pytest.raises(ContextLengthError):
        smollm("word " * 2000)


def test_the_embedded_server_is_replaced_between_calls(smollm: LM) -> None:
    smollm("Hi")
    assert smollm.target.server is not None
    pid = smollm.target.server.address().pid
    os.kill(pid, signal.SIGKILL)
    assert smollm("Hello")
    assert smollm.target.server.address().pid != pid
