"""The OpenAI-compatible server: requests, streams, keys and names of this machine."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.backends.serve import openai_server
from hyperalign.backends.serve.openai_server import Completion, CompletionRequest, create_server
from hyperalign.errors import (
    InputError,
    ModelServerError,
    UnknownModelError,
)
from tests.backends.serve.echo_server import Echo, listening


def chat(**changed: object) -> dict[str, object]:
    return {"model": "base-0", "messages": [{"role": "user", "content": "Hi"}], **changed}


def raw_post(body: str, **headers: str) -> str:
    """A request as it goes over the wire."""
    said = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in said.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n{body}"


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
        json_type = {"Content-Type": "application/json; charset=utf-8"}
        assert client.post("/v1/chat/completions", content=b"{", headers=json_type).status_code == 400
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
            caller.sendall(raw_post(body).encode())
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


# What a stranger may try


def send_raw(address: str, request: bytes) -> bytes:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as caller:
        caller.sendall(request)
        return caller.recv(4096)


def test_a_page_elsewhere_is_not_answered() -> None:
    echo = Echo()
    with listening(echo) as address, httpx.Client(base_url=address) as client:
        for headers, status in (
            ({"Content-Type": "text/plain"}, 415),
            ({"Content-Type": "text/plain; application/json"}, 415),
            ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
            ({}, 415),
            ({"Content-Type": "application/json", "Origin": "https://page.example"}, 403),
            ({"Content-Type": "application/json", "Origin": "http://localhost.page.example"}, 403),
            ({"Content-Type": "application/json", "Origin": "null"}, 403),
            ({"Content-Type": "application/json", "Origin": "file://"}, 403),
            ({"Content-Type": "application/json", "Host": "127.0.0.1.page.example"}, 403),
            ({"Content-Type": "application/json", "Host": "[::1].page.example"}, 403),
            ({"Content-Type": "application/json", "Host": "localhost@page.example"}, 403),
        ):
            answer = client.post("/v1/chat/completions", content=json.dumps(chat()), headers=headers)
            assert answer.status_code == status, headers
            assert not any(name.lower().startswith("access-control") for name in answer.headers)
        assert not echo.asked
        assert client.options("/v1/chat/completions").status_code == 501, "no page is told that it may"
        for origin in ("http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"):
            assert client.post("/v1/chat/completions", json=chat(), headers={"Origin": origin}).status_code == 200
        assert client.get("/v1/models", headers={"Origin": "https://page.example"}).status_code == 403
    with listening(Echo(), key="k") as address:
        told = {"Origin": "https://page.example", "Authorization": "Bearer k"}
        assert httpx.post(f"{address}/v1/chat/completions", json=chat(), headers=told).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 2**64),
        ("seed", -(2**64)),
        ("seed", 1.5),
        ("max_tokens", 10**30),
        ("max_tokens", -1),
        ("max_tokens", 0),
        ("max_completion_tokens", 2**31),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", -0.1),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("n", 2),
    ],
)
def test_a_number_out_of_range_is_named(field: str, value: float) -> None:
    with listening(Echo()) as address, httpx.Client(base_url=address) as client:
        told = {"Content-Type": "application/json"}
        answer = client.post("/v1/chat/completions", content=json.dumps(chat(**{field: value})), headers=told)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(f"{field}: ")
        assert client.post("/v1/chat/completions", json=chat(seed=2**63 - 1, top_p=0.9)).status_code == 200


def test_top_p_and_seed_reach_the_model() -> None:
    echo = Echo()
    with listening(echo) as address:
        for changed in ({}, {"top_p": 0.5, "seed": -7}):
            assert httpx.post(f"{address}/v1/chat/completions", json=chat(**changed)).status_code == 200
    assert [(asked.top_p, asked.seed) for asked in echo.asked] == [(1.0, None), (0.5, -7)]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Length": "\xb2"},
        {"Content_Length": "-1"},
        {"Content_Length": "9" * 5_000},
        {"Transfer_Encoding": "chunked"},
    ],
    ids=["a superscript", "negative", "long", "chunks"],
)
def test_a_length_that_is_none_is_refused(headers: dict[str, str]) -> None:
    length = {"Content_Length": "2"} | headers
    request = raw_post("{}", **length).replace("Content-Length: 2\r\n", "", "Content_Length" in headers)
    with listening(Echo()) as address:
        assert b" 413 " in send_raw(address, request.encode("latin-1"))
        assert httpx.get(f"{address}/health").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_what_nobody_foresaw_is_an_answer_that_tells_nothing(stream: bool, capfd: pytest.CaptureFixture[str]) -> None:
    class Breaks(Echo):
        def complete(self, asked: CompletionRequest, on_text: Callable[[str], object] | None = None) -> Completion:
            if on_text is not None:
                on_text("So")
            raise RuntimeError("Overflow near 'my secret'")

    with listening(Breaks()) as address:
        answer = httpx.post(f"{address}/v1/chat/completions", json=chat(stream=stream))
    assert answer.status_code == (200 if stream else 500)
    assert "could not answer" in answer.text
    assert "secret" not in answer.text + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "begun",
    ["", "POST /v1/chat/completions HTTP/1.1\r\nX-Slow: ", raw_post("{", Content_Length="1000")],
    ids=["no head", "head", "body"],
)
def test_a_request_that_trickles_in_ends(begun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "_REQUEST_SECONDS", 0.4)
    with listening(Echo()) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as caller:
            caller.sendall(begun.encode())
            began = time.monotonic()
            with suppress(ConnectionError):
                while time.monotonic() - began < 8:
                    caller.sendall(b"a")
                    caller.settimeout(0.05)
                    with suppress(TimeoutError):
                        if not caller.recv(1):
                            break
            assert time.monotonic() - began < 6
        assert httpx.get(f"{address}/health").status_code == 200


def test_connections_have_a_limit_and_places_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "_MAX_CONNECTIONS", 2)
    with listening(Echo()) as address:
        host, port = address.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port)), timeout=10) for _ in range(2)]
        for caller in idle:
            caller.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert b"200 OK" in caller.recv(4096)
        with socket.create_connection((host, int(port)), timeout=10) as late:
            assert b" 503 " in late.recv(4096)
        for caller in idle:
            caller.close()
        deadline = time.monotonic() + 10
        while (
            found := send_raw(address, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        ) and b"200" not in found:
            assert time.monotonic() < deadline
            time.sleep(0.05)
