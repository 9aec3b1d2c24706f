"""LiteLLM's handlers take CPU from calls side by side: they run only for callbacks that somebody has registered."""

from __future__ import annotations

import threading

import litellm
import pytest
from litellm._internal_context import is_internal_call

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.exchange import without_handlers
from tests.fixtures.scripted_server import ScriptedServer


def test_handlers_are_left_out_for_the_time_of_a_call() -> None:
    with without_handlers():
        assert is_internal_call.get()
    assert not is_internal_call.get()


def test_a_callback_of_the_users_hears_of_calls(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = threading.Event()
    monkeypatch.setattr(litellm, "success_callback", [lambda *_: heard.set()])
    assert connect("openai/any", api_base=scripted_server.base, api_key="k")("Hi") == ["ok"]
    assert heard.wait(20)
