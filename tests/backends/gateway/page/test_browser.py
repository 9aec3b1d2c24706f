"""The page in a real Chromium: by keyboard and without scripts, light and dark, wide and narrow, and by axe-core.

``HYPERALIGN_PICTURES=FOLDER`` saves a picture of every screen.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from hyperalign.backends.gateway.page.app import page_app
from hyperalign.backends.gateway.page.background import Comparison
from hyperalign.backends.gateway.page.links import Links
from hyperalign.store import Store

from .person import SECRET, fill

sync_api = pytest.importorskip("playwright.sync_api", reason="the 'browser' extra is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine")

SCREENS = {
    "beliefs": "",
    "texts": "texts",
    "question": "question",
    "compare": "compare",
    "history": "history",
    "forget": "forget?id=i-warm",
    "missing": "forget?id=nothing",
}
ANSWERS = {"Is it worth learning to cook?": ["Yes! Gladly!", "It costs less, and takes about twenty dishes to learn."]}


@contextmanager
def serving(app: ASGIApp, host: str = "127.0.0.1") -> Iterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        yield f"http://{host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listening.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # A container has no room for Chromium's own sandbox.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@dataclass
class Site:
    """The page of mira as it is served, and where it is."""

    address: str
    link: str
    home: str
    store: Path


@pytest.fixture
def site(tmp_path: Path, isolated_folders: Path) -> Iterator[Site]:
    path = fill(tmp_path / "people.sqlite")
    links = Links(SECRET)

    def compare(user: str, prompt: str) -> Comparison:
        return Comparison(prompt, "No, thank you.\n\nRegards", f"Not this time, dear!\n\nYours, {user}", "By a model.")

    with serving(page_app(path, SECRET, answers=ANSWERS, compare=compare, encoder="none")) as address:
        yield Site(address, links.link("mira", address), f"{address}/u/{links.handle('mira')}", path)


def opened(browser: Any, site: Site, **options: Any) -> Any:
    """A tab that has followed the link; what its console says fails the test that closes it with ``closed``."""
    page = browser.new_context(**options).new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(f"{message.text} {message.location.get('url')}"))
    page.goto(site.link)
    page.wait_for_url(f"{site.home}/")
    return page


def closed(page: Any) -> None:
    assert [each for each in page.said if "favicon" not in each and "nothing" not in each] == []
    page.context.close()


def test_a_whole_visit_without_scripts(browser: Any, site: Site) -> None:
    page = opened(browser, site, java_script_enabled=False)
    assert "/open/" not in page.url, "the token has left the address bar"
    page.get_by_role("button", name="Turn off “Answers warmly.”").click()
    page.get_by_role("status").get_by_text("Turned off.").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Gone back to that version.").wait_for()
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Answers warmly."))
    card.get_by_text("Correct or forget").click()
    card.get_by_label("In your words").fill("Answers warmly, and briefly.")
    card.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Answers warmly, and briefly.").wait_for()
    page.get_by_label("Add a sentence about what you like").fill("Tell me the price first.")
    page.get_by_role("button", name="Add").click()
    page.get_by_text("Tell me the price first.").first.wait_for()
    page.get_by_role("link", name="A question").click()
    page.get_by_role("button", name="I would choose A").click()
    page.get_by_text("Your answer is kept").wait_for()
    page.get_by_role("link", name="With and without").click()
    page.get_by_label("What do you want to have answered?").fill("Decline the invitation.")
    page.get_by_role("button", name="Write both").click()
    page.get_by_text("Yours, mira").wait_for()
    page.get_by_role("link", name="Your texts").click()
    page.get_by_role("link", name="Forget this for good… You corrected").click()
    page.get_by_role("button", name="Forget it for good").click()
    page.get_by_text("Forgotten for good.").wait_for()
    page.get_by_role("link", name="History").click()
    assert page.get_by_role("heading", name="Version").count() == 6
    closed(page)
    with Store(site.store) as store:
        said = store.load("mira")
        records = {record.id for record in store.records("mira")}
    assert said.stated[-1] == "Tell me the price first."
    assert "edit-1" not in records
    assert any(record not in ("text-1", "edit-1") and not record.startswith("choice-") for record in records)


def test_a_link_in_a_letter_opens_the_page_and_only_this_site_may_send_its_forms(browser: Any, site: Site) -> None:
    fields = '<input name="text" value="planted"><button>Win</button>'
    forged = f'<form method="post" action="{site.home}/do/add">{fields}</form>'
    letter = f'<meta name="referrer" content="unsafe-url"><a href="{site.link}">Your page</a>{forged}'
    outside = Starlette(routes=[Route("/", lambda request: HTMLResponse(letter))])
    # Another site: one of another name, from which strict cookies are not sent.
    with serving(outside, "localhost") as address:
        page = browser.new_context().new_page()
        page.goto(address)
        page.click("text=Your page")
        page.wait_for_url(f"{site.home}/")
        page.get_by_role("heading", name="What hyperalign believes about you").wait_for()
        page.go_back()
        assert "/open/" not in page.url, "the way back does not lead over the token"
        page.goto(address)
        page.click("text=Win")
        page.get_by_role("heading", name="There is nothing here").wait_for()
        framed = page.context.new_page()
        framed.set_content(f'<iframe src="{site.home}/"></iframe>')
        framed.wait_for_timeout(500)
        assert "believes" not in "".join(frame.content() for frame in framed.frames)
        page.context.close()
    with Store(site.store) as store:
        assert "planted" not in store.load("mira").to_json()


def test_everything_can_be_reached_and_seen_by_keyboard(browser: Any, site: Site) -> None:
    page = opened(browser, site)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top >= 0"), "it is seen where it has the focus"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto(f"{site.home}/")
    reached, unseen = set(), []
    for _ in range(200):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "(() => { const e = document.activeElement; if (e === document.body) return null;"
            " const s = getComputedStyle(e); return [e.tagName, e.textContent.trim().slice(0, 60), s.outlineStyle,"
            " parseFloat(s.outlineWidth)]; })()"
        )
        if found is None:
            break
        reached.add((found[0], found[1]))
        unseen += [found] if found[2] == "none" or found[3] < 2 else []
    assert unseen == []
    for wanted in (("A", "History"), ("BUTTON", "Turn off “Answers warmly.”"), ("SUMMARY", "Models and dates")):
        assert wanted in reached
    page.get_by_role("button", name="Turn off “Answers warmly.”").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Turned off by you").wait_for()
    closed(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_every_screen_fits_and_axe_finds_nothing_serious(browser: Any, site: Site, scheme: str, width: int) -> None:
    page = opened(browser, site, color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    pictures = os.environ.get("HYPERALIGN_PICTURES")
    for name, path in SCREENS.items():
        page.goto(f"{site.home}/{path}")
        page.locator("meta[http-equiv=refresh]").wait_for(state="detached")
        if name == "compare":
            page.get_by_label("What do you want to have answered?").fill("Decline the invitation.")
            page.get_by_role("button", name="Write both").click()
            page.get_by_text("By a model.").wait_for()
        for state in ("", "-open"):
            if state:
                page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
            if pictures:
                page.screenshot(path=f"{pictures}/{name}{state}-{scheme}-{width}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert find_serious(page) == [], f"{name}{state}"
    closed(page)


def find_serious(page: Any) -> list[str]:
    """What axe-core finds that is serious or critical."""
    pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    source = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    # As the developer tools do, so that the page's policy, which lets no script in, stays as it is.
    found = json.loads(page.evaluate(f"async () => {{ {source}; return JSON.stringify(await axe.run()); }}"))
    assert len(found["passes"]) > 5
    return [
        f"{each['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
