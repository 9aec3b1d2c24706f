"""What a server's refusals are told as: without secrets, by their true cause, asked again where that helps."""

from __future__ import annotations

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.errors import (
    ContextLengthError,
    HyperalignError,
    InputError,
    MissingKeyError,
    ModelOutputError,
    ModelServerError,
)
from tests.backends.models.test_lm import scripted
from tests.fixtures.scripted_server import ScriptedServer, Step, error, hang, raw

SECRETS = {"OPENAI_API_KEY": "sk-SECRETKEY123", "X-Team": "TOPSECRETHEADER"}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 503])
def test_what_a_server_repeats_of_secrets_is_not_shown(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRETS["OPENAI_API_KEY"])
    scripted_server.default = error(status, f"Bad: Bearer {SECRETS['OPENAI_API_KEY']}, X-Team: {SECRETS['X-Team']}")
    lm = connect(
        "openai/any", api_base=scripted_server.base, num_retries=0, extra_headers={"X-Team": SECRETS["X-Team"]}
    )
    with pytest.raises(HyperalignError) as caught:
        lm("Hi", temperature=0.0)
    assert not [secret for secret in SECRETS.values() if secret in str(caught.value)]
    assert "TOPSECRET" not in repr(lm.target)


@pytest.mark.parametrize(
    "step",
    [
        error(403, "Your request was blocked by our content moderation."),
        error(451, "Unavailable for legal reasons."),
        error(400, "The response was filtered by the content management policy.", code="content_filter"),
        error(422, "ResponsibleAIPolicyViolation"),
    ],
)
def test_a_text_that_is_refused_is_one_answer_less(scripted_server: ScriptedServer, step: Step) -> None:
    with pytest.raises(ModelOutputError, match="refused to answer") as caught:
        scripted(scripted_server, step, num_retries=0)("Hi")
    assert "litellm" not in str(caught.value)


@pytest.mark.parametrize(
    ("step", "kind", "said"),
    [
        (error(403, "You may not use this model."), MissingKeyError, "refuses access: You may not"),
        (raw("<html>404 nginx</html>", status=404), ModelServerError, r"no model server at .*/chat/completions"),
        (error(413, "Payload too large."), ContextLengthError, "too large"),
    ],
)
def test_a_status_is_told_as_what_it_is(
    scripted_server: ScriptedServer, step: Step, kind: type[HyperalignError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        scripted(scripted_server, step, step, num_retries=0)("Hi")


@pytest.mark.parametrize("step", [error(503, "Loading.", headers={"Retry-After": "0.2"}), error(409, "Conflict.")])
def test_what_passes_is_waited_for(scripted_server: ScriptedServer, step: Step) -> None:
    assert scripted(scripted_server, step, "fine")("Hi", temperature=0.0) == ["fine"]


def test_a_late_answer_is_asked_for_once_more_and_booked(scripted_server: ScriptedServer) -> None:
    budget = Budget()
    assert scripted(scripted_server, hang(), "fine", timeout=0.5, budget=budget)("Hi") == ["fine"]
    assert (budget.spent.calls, budget.spent.unpriced) == (2, 2)


def test_an_address_with_a_query_is_refused() -> None:
    with pytest.raises(InputError, match="query"):
        connect("openai/any", api_base="http://127.0.0.1:9/v1?api_key=SECRET")
