"""The page of clients: each of its programs and requests runs, against real proxies, and prints what the page shows.

Open WebUI itself is not here: the request that it sends is, and its export of feedback.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from hyperalign.backends.gateway.outcomes import Outcomes
from tests.fixtures.scripted_server import Recorded, raw, reply
from tests.house.source_tree import ROOT

from .conftest import ENTRY, KEY, MODEL, Gateway, message, say
from .test_feedback import open_webui

PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PERSONAL = "Ann, the violets are out; come by. Mira"
PLAIN = "Dear Ann, I hope this finds you well."


def blocks(heading: str, page: str = PAGE) -> list[tuple[str, str]]:
    """Languages and texts of a section's blocks, in order."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```(\w+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def sample(heading: str, begin: str) -> tuple[str, str]:
    """A section's block that begins so, and the output that the page shows for it."""
    found = blocks(heading)
    (number,) = [number for number, (_, text) in enumerate(found) if text.startswith(begin)]
    language, shown = found[number + 1]
    assert language == "text"
    return found[number][1], shown


def is_shown(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; "…" stands for what it leaves out."""
    pieces = [re.escape(piece) for piece in shown.strip().split("…")]
    return re.fullmatch(".*".join(pieces), printed.strip(), re.DOTALL) is not None


def answer(request: Recorded) -> str:
    """A model that knows of violets from a profile alone; where DSPy asks for a field, it fills that in."""
    known = json.dumps([request.body.get("system"), request.messages])
    text = PERSONAL if "Likes violets." in known else PLAIN
    return f"[[ ## letter ## ]]\n{text}\n\n[[ ## completed ## ]]" if "[[ ## letter ## ]]" in known else text


@pytest.fixture(autouse=True)
def upstreams(gateway: Gateway, proxy: Gateway) -> Iterator[None]:
    gateway.upstream.default = reply(answer)
    proxy.upstream.default = raw(lambda request: message(request, answer(request)))
    yield
    gateway.upstream.default = reply(say)
    proxy.upstream.default = raw(message)


def run(text: str, where: Gateway, folder: Path, model: str = MODEL) -> str:
    """What a sample of the page prints, with a running proxy's address, key and model in it."""
    said = {"http://127.0.0.1:4000": where.base.removesuffix("/v1"), "sk-…": KEY, "anthropic/NAME": model}
    for shown, real in said.items():
        text = text.replace(shown, real)
    command = ["bash", "-c"] if text.startswith("curl") else [sys.executable, "-P", "-c"]
    environment = os.environ | {"DSPY_CACHEDIR": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [*command, text], capture_output=True, text=True, check=False, cwd=folder, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_shown_is_told_from_what_is_not() -> None:
    assert is_shown("a … c\n", "a b c\n")
    assert not is_shown("a … c\n", "a b d\n")
    assert not is_shown("Hi.\n", "Hi. Ho.\n")


def test_every_section_says_its_limits() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert len(headings) == 5
    for heading in headings:
        first, *_ = blocks(heading)
        assert PAGE.index("Limits:", PAGE.index(f"## {heading}")) > PAGE.index(first[1])


def test_what_open_webui_sends_is_answered_with_the_profile_of_the_email_address(
    gateway: Gateway, tmp_path: Path
) -> None:
    text, shown = sample("Open WebUI", "curl")
    assert is_shown(shown, run(text, gateway, tmp_path))
    somebody = text.replace("mira@example.org", "somebody@example.org")
    assert PLAIN in run(somebody, gateway, tmp_path)


def test_the_export_of_open_webui_is_imported(gateway: Gateway, tmp_path: Path) -> None:
    text, shown = sample("Open WebUI", "hyperalign gateway import")
    (tmp_path / "feedback.json").write_text(json.dumps([open_webui(1)]))
    place = tmp_path / "store.sqlite"
    environment = os.environ | {"HYPERALIGN_STORE": str(place)}
    for _ in range(2):  # the second time nothing is new
        printed = subprocess.run(
            [*ENTRY, *text.split()[1:]], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        )
        assert is_shown(shown, printed.stdout)
    with closing(Outcomes(str(place))) as outcomes:
        assert [each.kind for each in outcomes.feedback("ada@example.org")] == ["thumb", "choice"]


def test_the_program_with_the_openai_sdk_runs(gateway: Gateway, tmp_path: Path) -> None:
    text, shown = sample("OpenAI SDK", "from openai")
    assert is_shown(shown, run(text, gateway, tmp_path))
    # The address says the rest: another user's answer is another one.
    assert PLAIN in run(text.replace('"mira"', '"somebody"', 1).split("# What")[0], gateway, tmp_path)


def test_what_the_sdk_of_openai_sends_elsewhere_has_no_profile(gateway: Gateway) -> None:
    body = {"model": MODEL, "user": "mira", "prompt": "Write to Ann."}
    assert gateway.post("completions", body).is_success
    assert "violets" not in gateway.upstream.requests[-1].prompt


@pytest.mark.skipif(find_spec("anthropic") is None, reason="the package 'anthropic' is not installed")
def test_the_program_with_the_anthropic_sdk_runs(gateway: Gateway, proxy: Gateway, tmp_path: Path) -> None:
    text, shown = sample("Anthropic SDK", "from anthropic")
    assert is_shown(shown, run(text, proxy, tmp_path, "claude"))
    assert is_shown(shown, run(text, gateway, tmp_path)), "also where the model is not Anthropic's"


@pytest.mark.parametrize("named", [{"metadata": {"user_id": "mira"}}, {}])
def test_the_request_of_the_anthropic_sdk_is_answered_with_the_profile(proxy: Gateway, named: dict[str, Any]) -> None:
    asked = {"model": "claude", "max_tokens": 500, "messages": [{"role": "user", "content": "Write to Ann."}]}
    # As the SDK sends it: its own header for the key, and no /v1 in its base address.
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    headers |= {} if named else {"x-hyperalign-user": "mira"}
    response = httpx.post(f"{proxy.base}/messages", json={**asked, **named}, headers=headers, timeout=60)
    assert response.json()["content"][0]["text"] == PERSONAL


def test_the_dspy_program_runs(gateway: Gateway, tmp_path: Path) -> None:
    text, shown = sample("DSPy", "import dspy")
    assert is_shown(shown, run(text, gateway, tmp_path))
    assert PLAIN in run(text.replace('"mira"', '"somebody"'), gateway, tmp_path)


def test_a_litellm_proxy_with_the_pages_config_answers(proxy: Gateway, tmp_path: Path) -> None:
    text, shown = sample("A LiteLLM proxy that you have", "curl")
    assert is_shown(shown, run(text, proxy, tmp_path))
    assert PLAIN in run(text.replace('"mira"', '"somebody"'), proxy, tmp_path)


def test_the_readme_leads_to_an_answer_and_a_page(gateway: Gateway, tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (_, commands), (_, printed), (_, curl), (_, command), (_, link) = blocks("An endpoint for any client", page)
    assert "hyperalign gateway start --model anthropic/NAME\n" in commands
    # A gateway with a key of one's own prints the first two lines alone.
    address, key = gateway.base.removesuffix("/v1"), "Key of this run: "
    begun = printed.replace("anthropic/NAME", MODEL).replace("http://127.0.0.1:4000", address)
    assert (gateway.folder / "gateway.log").read_text().startswith(begun.split(key)[0]), "nothing else is printed"
    assert PERSONAL in run(curl, gateway, tmp_path)
    environment = os.environ | {"HYPERALIGN_DATA": str(gateway.folder / "data")}
    words = command.replace("http://127.0.0.1:4000", address).split()[1:]
    opened = subprocess.run([*ENTRY, *words], capture_output=True, text=True, check=True, env=environment).stdout
    assert is_shown(link.replace("http://127.0.0.1:4000", address), opened)
    assert httpx.get(opened.strip()).status_code == 200
