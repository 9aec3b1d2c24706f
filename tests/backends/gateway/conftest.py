"""One gateway for all tests here, and one proxy of LiteLLM's own: real ones, each before a scripted upstream."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Sample
from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, raw, reply, serving
from tests.house.source_tree import ROOT

pytest.importorskip("fastapi", reason="the 'gateway' extra is not installed")
pytest.importorskip("orjson", reason="the 'gateway' extra is not installed")

KEY = "sk-only-for-tests"
MODEL = "openai/scripted"
ENTRY = (sys.executable, "-P", "-c", "from hyperalign.cli import main; main()")
_START_SECONDS = 150


def say(request: Recorded) -> str:
    """Answers with the user's last words, so that each caller knows its own answer."""
    last = [turn for turn in request.messages if turn["role"] == "user"][-1]["content"]
    return f"You said: {last if isinstance(last, str) else json.dumps(last)}"


def profile_of(user: str, mark: str, **more: Any) -> Profile:
    """A profile whose one statement carries a mark."""
    statement = Hypothesis(id="h1", statement=f"Likes {mark}.", aspect="style", weight=0.9)
    return Profile(user=user, **{"hypotheses": [statement], **more})


@dataclass
class Gateway:
    """A running gateway.

    Attributes:
        base: its address, with ``/v1``.
        upstream: what it sends requests to.
        place: of its store.
        folder: for its data.
        process: the gateway's.
    """

    base: str
    upstream: ScriptedServer
    place: Path
    folder: Path
    process: subprocess.Popen[bytes]
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {KEY}"})

    def post(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """Send a request; ``_`` in names of headers stands for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"{self.base}/{path}", json=body, headers={**self.headers, **named}, timeout=60)

    def chat(self, text: str, user: str | None = None, *, headers: dict[str, str] | None = None, **more: Any) -> Any:
        """A chat completion's JSON."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}
        if user is not None:
            body["user"] = user
        response = self.post("chat/completions", body, **(headers or {}))
        assert response.is_success, response.text
        return response.json()

    def sent(self, mark: str) -> Recorded:
        """What reached the upstream with a mark in it, the newest."""
        found = [each for each in self.upstream.requests if mark in json.dumps(each.body)]
        assert found, f"nothing with {mark!r} came"
        return found[-1]

    def save(self, profile: Profile) -> int:
        """Save a version, and let the gateway see it."""
        with Store(self.place) as store:
            number = store.save(profile)
        time.sleep(1.1)
        return number


def start_gateway(place: Path, folder: Path, upstream: ScriptedServer, *options: str) -> Gateway:
    """Start a gateway, and wait until it answers."""
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HYPERALIGN_")}
    environment |= {
        "HYPERALIGN_DATA": str(folder / "data"),
        "HYPERALIGN_CACHE": str(folder / "cache"),
        "HYPERALIGN_CONFIG": str(folder / "config.toml"),
        "HYPERALIGN_REDACT": "0",
        "HYPERALIGN_ENCODER": "none",
        "HYPERALIGN_STORE": str(place),
        "HYPERALIGN_GATEWAY_KEY": KEY,
    }
    arguments = ("gateway", "--model", MODEL, "--api-base", upstream.base, "--port", str(port), *options)
    return _begin([*ENTRY, *arguments], environment, port, upstream, place, folder)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _begin(
    command: list[str], environment: dict[str, str], port: int, upstream: ScriptedServer, place: Path, folder: Path
) -> Gateway:
    log = folder / "gateway.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written, cwd=folder
        )
    found = Gateway(f"http://127.0.0.1:{port}/v1", upstream, place, folder, process)
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{found.base}/models", headers=found.headers, timeout=5).is_success:
                return found
        except httpx.HTTPError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError(f"no gateway: {log.read_text(errors='replace')[-3000:]}")


def stop_gateway(found: Gateway) -> None:
    """End it as Ctrl-C does."""
    found.process.terminate()
    found.process.wait(30)


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedServer]:
    with serving() as server:
        server.default = reply(say)
        yield server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedServer) -> Iterator[Gateway]:
    """The gateway that most tests share: no holdout, and nothing is learned in the background."""
    folder = tmp_path_factory.mktemp("gateway")
    place = folder / "store.sqlite"
    with Store(place) as store:
        store.save(
            profile_of(
                "mira",
                "violets",
                examples=[Sample(user="mira", text="Rain again. Good for the beans.", prompt="How is it?")],
            )
        )
        store.save(profile_of("mira@example.org", "violets"))
        store.save(profile_of("noor", "granite"))
        store.save(Profile(user="empty"))
    headers = ("--user-header", "x-hyperalign-user", "--user-header", "x-openwebui-user-email")
    found = start_gateway(place, folder, upstream, "--no-learn", "--page-host", "people.example", *headers)
    yield found
    stop_gateway(found)


def message(request: Recorded, text: str = "Aye.") -> dict[str, Any]:
    """A message as Anthropic's interface has it."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request.body["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """LiteLLM's own proxy with the config that the page of clients shows, before an upstream like Anthropic."""
    folder = tmp_path_factory.mktemp("proxy")
    place = folder / "store.sqlite"
    with Store(place) as store:
        store.save(profile_of("mira", "violets"))
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (folder / "config.yaml").write_text(config)
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HYPERALIGN_")}
    environment |= {"HYPERALIGN_STORE": str(place), "HYPERALIGN_DATA": str(folder), "LITELLM_MODE": "PRODUCTION"}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": KEY}
    script = "from litellm.proxy.proxy_cli import run_server; run_server()"
    options = ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    with serving() as upstream:
        upstream.default = raw(message)
        environment |= {"ANTHROPIC_API_BASE": upstream.url, "ANTHROPIC_API_KEY": "k"}
        found = _begin([sys.executable, "-P", "-c", script, *options], environment, port, upstream, place, folder)
        yield found
        stop_gateway(found)


Start = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path, upstream: ScriptedServer) -> Iterator[Start]:
    """``start(place, "--holdout", "0.5")``: a gateway of this test alone."""
    begun: list[Gateway] = []

    def call(place: Path, *options: str) -> Gateway:
        begun.append(start_gateway(place, tmp_path, upstream, *options))
        return begun[-1]

    yield call
    for each in begun:
        stop_gateway(each)
