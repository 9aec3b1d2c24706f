"""An existing LiteLLM proxy personalizes with two lines in its config, also through Anthropic's interface."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from hyperalign.backends.gateway.people import GUARD
from tests.fixtures.scripted_server import Recorded

from .conftest import Gateway


def texts(request: Recorded) -> list[str]:
    return [part["text"] for part in request.body["system"]]


def test_a_hosted_model_gets_our_turn_and_the_callers_apart(proxy: Gateway) -> None:
    said = uuid.uuid4().hex
    turns = [{"role": "system", "content": "Be a pirate."}, {"role": "user", "content": said}]
    response = proxy.post("chat/completions", {"model": "claude", "user": "mira", "messages": turns})
    assert response.is_success, response.text
    ours, theirs = texts(proxy.sent(said))
    assert ours.startswith(GUARD)
    assert "violets" in ours
    assert theirs == "Be a pirate."


@pytest.mark.parametrize("system", ["Be a pirate.", [{"type": "text", "text": "Be a pirate."}], None])
def test_anthropics_interface_is_personalized_too(proxy: Gateway, system: Any) -> None:
    said = uuid.uuid4().hex
    body: dict[str, Any] = {
        "model": "claude",
        "max_tokens": 20,
        "metadata": {"user_id": "mira"},
        "messages": [{"role": "user", "content": said}],
        **({"system": system} if system else {}),
    }
    response = proxy.post("messages", body)
    assert response.is_success, response.text
    assert response.json()["content"][0]["text"] == "Aye."
    sent = proxy.sent(said)
    ours, *theirs = texts(sent)
    assert "violets" in ours
    assert theirs == (["Be a pirate."] if system else [])
    assert sent.body["messages"] == body["messages"]


def test_nobody_known_passes_unchanged(proxy: Gateway) -> None:
    said = uuid.uuid4().hex
    body = {"model": "claude", "max_tokens": 20, "messages": [{"role": "user", "content": said}], "system": "Hm."}
    assert proxy.post("messages", body).is_success
    without = proxy.sent(said).body
    assert proxy.post("messages", {**body, "metadata": {"user_id": "nobody"}}).is_success
    having = proxy.sent(said).body
    assert having.pop("metadata") == {"user_id": "nobody"}
    assert having == {name: value for name, value in without.items() if name != "metadata"}


def test_the_proxy_takes_feedback(proxy: Gateway) -> None:
    response = proxy.post("feedback", {"user": "mira", "draft": "One.", "edited": "Two."})
    assert response.json()["kept"] is True
