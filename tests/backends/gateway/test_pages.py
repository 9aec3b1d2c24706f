"""People's pages in the gateway's own server, from a link on the command line to the next answer."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from hyperalign.profile import Hypothesis, Profile

from .conftest import ENTRY, Gateway


def said(mark: str, name: str) -> Hypothesis:
    return Hypothesis(id=name, statement=f"Likes {mark}.", aspect="style", weight=0.9)


@pytest.fixture
def pia(gateway: Gateway) -> Iterator[httpx.Client]:
    """A browser of somebody who has opened their link."""
    gateway.save(Profile(user="pia", hypotheses=[said("ferns", "h1"), said("thunder", "h2")]))
    with httpx.Client(base_url=gateway.base.removesuffix("v1"), follow_redirects=True, timeout=30) as client:
        yield client


def link(gateway: Gateway, user: str) -> str:
    """The link that the command prints, without the address."""
    me = gateway.base.removesuffix("/v1") + "/me"
    environment = os.environ | {"HYPERALIGN_DATA": str(gateway.folder / "data")}
    command = [*ENTRY, "page", "--user", user, "--link", me]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
    assert printed.startswith(f"{me}/open/")
    return printed.removeprefix(gateway.base.removesuffix("v1"))


def open_page(client: httpx.Client, where: str) -> str:
    """Open a link as a browser does, and return the address of the page that it leads to."""
    answer = client.get(where)
    assert answer.status_code == 200, answer.text
    (home,) = re.findall(r'<a href="(/me/u/[^"]+)"', answer.text)
    return str(home)


def send(client: httpx.Client, home: str, action: str, **fields: str) -> httpx.Response:
    (token, *_) = re.findall(r'name="csrf" value="([^"]+)"', client.get(home).text)
    answer = client.post(f"{home}do/{action}", data={"csrf": token, **fields})
    assert answer.status_code == 200, answer.text
    return answer


def test_a_link_opens_the_page_and_what_is_turned_off_there_is_said_no_more(
    gateway: Gateway, pia: httpx.Client
) -> None:
    gateway.chat("First.", "pia")
    assert "thunder" in gateway.sent("First.").prompt
    home = open_page(pia, link(gateway, "pia"))
    page = pia.get(home)
    assert "Likes ferns." in page.text
    (style,) = re.findall(r'href="([^"]+style.css)"', page.text)
    assert pia.get(style).headers["content-type"].startswith("text/css")
    assert "Turned off." in send(pia, home, "off", id="h2").text
    time.sleep(1.1)
    gateway.chat("Second.", "pia")
    assert "ferns" in gateway.sent("Second.").prompt
    assert "thunder" not in gateway.sent("Second.").prompt


def test_both_answers_are_those_of_the_gateway(gateway: Gateway, pia: httpx.Client) -> None:
    home = open_page(pia, link(gateway, "pia"))
    answer = send(pia, home, "ask", text="Is it so?")
    until = time.monotonic() + 30
    while "Both answers are being written" in answer.text and time.monotonic() < until:
        time.sleep(0.2)
        answer = pia.get(answer.url)
    assert answer.text.count("You said: Is it so?") == 2
    prompts = [each.prompt for each in gateway.upstream.requests if "Is it so?" in each.prompt]
    assert ["ferns" in prompt for prompt in prompts] == [False, True]


def test_a_page_is_not_the_proxys(gateway: Gateway, pia: httpx.Client) -> None:
    home = open_page(pia, link(gateway, "pia"))
    page = pia.get(home, headers={"Origin": "http://127.0.0.1:9"})
    assert "access-control-allow-origin" not in page.headers, "what another server's page may not read"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    # Another's page, no page, a name that somebody else has set up, and the proxy's own addresses.
    other = open_page(httpx.Client(base_url=pia.base_url), link(gateway, "noor"))
    assert pia.get(other).status_code == 404
    assert "granite" not in pia.get(other).text
    for path in ("/me", "/me/", "/me/v1/models", "/me/%2e%2e/v1/models"):
        assert "scripted" not in pia.get(path, headers=gateway.headers).text
    assert pia.get(home, headers={"Host": "people.example:4000"}).status_code == 200
    assert pia.get(home, headers={"Host": "evil.example"}).status_code == 421
    assert pia.get("/v1/models", headers=gateway.headers).status_code == 200
    assert pia.get("/menu", headers=gateway.headers).status_code == 404
