"""An existing LiteLLM proxy personalizes with two lines in its config, also through Anthropic's interface."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hyperalign.backends.gateway.people import GUARD
from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, raw, serving

from .conftest import KEY, Gateway, profile_of

_START_SECONDS = 150


def answer(request: Recorded) -> dict[str, Any]:
    """A message as Anthropic's interface has it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "content": [{"type": "text", "text": "Aye."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("proxy")
    place = folder / "store.sqlite"
    with Store(place) as store:
        store.save(profile_of("mira", "violets"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving() as upstream:
        upstream.default = raw(answer)
        called = {"model": "anthropic/claude-test", "api_base": upstream.url, "api_key": "k"}
        config = f"""
model_list:
  - model_name: claude
    litellm_params: {json.dumps(called)}
general_settings:
  master_key: {KEY}
litellm_settings:
  callbacks: hyperalign.backends.gateway.personalize
"""
        (folder / "config.yaml").write_text(config)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HYPERALIGN_")}
        environment |= {"HYPERALIGN_STORE": str(place), "HYPERALIGN_DATA": str(folder), "LITELLM_MODE": "PRODUCTION"}
        environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        script = "from litellm.proxy.proxy_cli import run_server; run_server()"
        options = ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        log = folder / "log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", script, *options],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                cwd=folder,
            )
        found = Gateway(f"http://127.0.0.1:{port}/v1", upstream, place, folder, process)
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"{found.base}/models", headers=found.headers, timeout=5).is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        else:
            process.kill()
            raise AssertionError(log.read_text(errors="replace")[-3000:])
        yield found
        process.terminate()
        process.wait(30)


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
