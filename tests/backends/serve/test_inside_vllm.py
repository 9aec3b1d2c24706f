"""What stands before vLLM's paths: who has no key gets past none but the one that says whether the server lives."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from hyperalign.backends.serve.inside_vllm.hyperalign_guard import Guard


def asked(
    path: str, said: str = "", kind: str = "http", method: str = "POST", host: str = ""
) -> list[MutableMapping[str, Any]]:
    """What is sent back; nothing where the request was let through."""
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == path

    async def receive() -> MutableMapping[str, Any]:
        return {}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"Authorization", said.encode())] if said else []
    headers += [(b"Host", host.encode())] if host else []
    scope = {"type": kind, "method": method, "path": path, "headers": headers}
    asyncio.run(Guard(app)(scope, receive, send))
    return sent


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")


@pytest.mark.parametrize("path", ["/v1/models", "/invocations", "/adapters", "/tokenize", "/health/", "/"])
def test_every_path_wants_the_key(path: str) -> None:
    for said in ("", "secret", "Basic secret", "Bearer", "Bearer secre", "Bearer secret2"):
        start, body = asked(path, said)
        assert start["status"] == 401
        assert b"key is missing or wrong" in body["body"]
    assert not asked(path, "Bearer secret")
    assert asked(path, "", "websocket")[0]["type"] == "websocket.close"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8010", 0),
        ("localhost", 0),
        ("[::1]:8010", 0),
        ("", 0),
        ("page.example:8010", 403),
        ("127.0.0.1.page.example", 403),
    ],
)
def test_without_a_key_this_machine_s_names_are_asked(host: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY")
    sent = asked("/v1/models", host=host)
    assert [message["status"] for message in sent[:1]] == ([status] if status else [])
    assert not asked("/health", host="page.example")


def test_anybody_may_ask_whether_it_lives_and_what_may_be_asked() -> None:
    assert not asked("/health", method="GET")
    assert not asked("/v1/models", method="OPTIONS")
    assert not asked("", kind="lifespan")
