"""The OpenAI-compatible server: requests, streams, keys and names of this machine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.backends.serve.openai_server import Completion, CompletionRequest, create_server
from hyperalign.errors import (
    InputError,
    ModelServerError,
    UnknownModelError,
)
from tests.backends.serve.echo_server import Echo, listening


def chat(**changed: object) -> dict[str, object]:
    return {"model": "base-0", "messages": [{"role": "user", "content": "Hi"}], **changed}


# The wire


def test_a_connected_model_asks_it_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo()
    with listening(echo) as address:
        monkeypatch.setenv("HYPERALIGN_ADAPTERS", address)
        lm = connect("adapter:letters", max_tokens=20, temperature=0.5)
        assert lm("Hello?") == ["letters-1a2b3c4d: Hello?"]
        assert (echo.asked[0].max_tokens, echo.asked[0].temperature) == (20, 0.5)
        assert lm.scorer() is None
        with pytest.raises(UnknownModelError, match="No adapter 'lettres' is served"):
            connect("adapter:lettres")
    with pytest.raises(ModelServerError, match="hyperalign serve"):
        connect("adapter:letters")


def test_requests_good_and_bad() -> None:
    with listening(Echo()) as address, httpx.Client(base_url=address) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert [m["id"] for m in client.get("/v1/models").json()["data"]] == ["base-0", "letters-1a2b3c4d"]
        good = client.post("/v1/chat/completions", json=chat()).json()
        assert good["choices"][0]["message"]["content"] == "base-0: Hi"
        assert good["choices"][0]["finish_reason"] == "stop"
        assert good["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        for body, status, said in (
            (chat(model="x"), 404, "no model 'x'"),
            (chat(messages=[]), 400, "messages"),
            (chat(messages=[{"role": "tool", "content": "x"}]), 400, "role"),
            (chat(temperature=9), 400, "temperature"),
            ([], 400, "body"),
        ):
            answer = client.post("/v1/chat/completions", json=body)
            assert answer.status_code == status
            assert said in answer.json()["error"]["message"]
        assert client.post("/v1/else", json={}).status_code == 404
        assert client.post("/v1/chat/completions", content=b"{").status_code == 400
        assert client.get("/").status_code == 404


def test_a_page_that_names_this_machine_otherwise_is_refused_where_there_is_no_key() -> None:
    with listening(Echo()) as address, httpx.Client(base_url=address) as client:
        for host, status in (("page.example:8010", 403), ("localhost:8010", 200), ("[::1]:8010", 200)):
            assert client.get("/v1/models", headers={"Host": host}).status_code == status
            assert client.post("/v1/chat/completions", json=chat(), headers={"Host": host}).status_code == status
        assert client.get("/health", headers={"Host": "page.example"}).status_code == 200
    with listening(Echo(), key="k") as address:
        told = {"Host": "page.example", "Authorization": "Bearer k"}
        assert httpx.get(f"{address}/v1/models", headers=told).status_code == 200, "a proxy with the key may"


def test_what_is_drawn_is_drawn_anew_unless_a_seed_is_given() -> None:
    echo = Echo()
    with listening(echo) as address:
        for more in ({}, {"seed": 7}):
            httpx.post(f"{address}/v1/chat/completions", json=chat(temperature=1.0, **more))
    assert [asked.seed for asked in echo.asked] == [None, 7]


def events(client: httpx.Client, **changed: object) -> list[dict[str, Any]]:
    answer = client.post("/v1/chat/completions", json=chat(stream=True, **changed))
    assert answer.headers["Content-Type"] == "text/event-stream"
    *lines, last = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert last == "[DONE]"
    return [json.loads(line) for line in lines]


def test_an_answer_is_streamed_as_it_is_written() -> None:
    with listening(Echo()) as address, httpx.Client(base_url=address) as client:
        *pieces, end = events(client)
        assert [piece["choices"][0]["delta"]["content"] for piece in pieces] == ["base-0:", " Hi"]
        assert end["choices"][0]["finish_reason"] == "stop"
        assert len({each["id"] for each in [*pieces, end]}) == 1
        assert not any("usage" in each for each in [*pieces, end])
        *_, cost = events(client, stream_options={"include_usage": True})
        assert (cost["choices"], cost["usage"]["total_tokens"]) == ([], 5)
        assert client.post("/v1/chat/completions", json=chat(stream=True, model="x")).status_code == 404
        *_, broke = events(client, messages=[{"role": "user", "content": "break"}])
        assert broke["error"]["message"].startswith("It broke in the middle.")


def test_who_leaves_while_it_is_written_frees_the_model(capfd: pytest.CaptureFixture[str]) -> None:
    left = threading.Event()

    class Talks(Echo):
        def complete(self, asked: CompletionRequest, on_text: Callable[[str], object] | None = None) -> Completion:
            try:
                while on_text is not None:
                    on_text("and so on " * 100)
            except ConnectionError:
                left.set()
                raise
            return super().complete(asked)

    with listening(Talks()) as address:
        host, port = address.removeprefix("http://").split(":")
        body = json.dumps(chat(stream=True))
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            assert b"200 OK" in caller.recv(100)
        assert left.wait(20)
        assert httpx.post(f"{address}/v1/chat/completions", json=chat()).status_code == 200
    assert not capfd.readouterr().err


def test_a_key_is_wanted_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Echo(), key="secret") as address:
        assert httpx.get(f"{address}/v1/models").status_code == 401
        assert httpx.post(f"{address}/v1/chat/completions", json=chat()).status_code == 401
        assert httpx.get(f"{address}/health").status_code == 200
        monkeypatch.setenv("HYPERALIGN_ADAPTERS", address)
        monkeypatch.setenv("HYPERALIGN_SERVE_KEY", "secret")
        assert connect("adapter:letters")("Hello?") == ["letters-1a2b3c4d: Hello?"]
    with pytest.raises(InputError, match="there is no key"):
        create_server(Echo(), host="0.0.0.0", port=0)
