"""Nobody reads or changes another's page: planted attempts, forged forms, hostile texts, and foreign names."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from hyperalign.backends.gateway.page.app import page_app
from hyperalign.backends.gateway.page.links import Links
from hyperalign.store import Store

from .person import BASE, HOSTILE, SECRET, Visitor, fill

COOKIE = "hyperalign_page"
SCREENS = ("", "texts", "question", "compare", "history", "forget?id=bo-1")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "people.sqlite")


def attempts(links: Links, mine: str, cookie: str) -> list[tuple[str, str, dict[str, str]]]:
    """Methods, addresses and headers of mira, who has a page of her own, that try to get at Bo's."""
    bo, other = links.handle("bo"), Links(b"another secret that has enough bytes")
    token = links.token("mira")
    forged = other.token("bo").split(".", 1)[0]
    cookies = [
        cookie,
        other.open_session("bo"),
        links.token("bo"),
        f"{other.open_session('bo').split('.', 1)[0]}.{cookie.split('.', 1)[1]}",
        "",
        "bo",
        cookie[:-1],
        cookie * 2,
    ]
    found = [
        ("GET", f"/u/{bo}/{screen}", {"cookie": f"{COOKIE}={each}"} if each else {})
        for each, screen in itertools.product(cookies, SCREENS)
    ]
    handles = ["bo", "Bo", "%62%6f", bo[:-1], bo + "x", bo.lower(), bo.upper(), "..", "%2e%2e", "*", "%00", "0"]
    handles += [f"{mine}%2f..%2f{bo}", f"{mine};{bo}", f"{mine},{bo}", other.handle("bo"), bo[::-1], f"{bo}%20"]
    found += [("GET", f"/u/{each}/", {"cookie": f"{COOKIE}={cookie}"}) for each in handles]
    found += [("GET", f"/u/{mine}/../{bo}/{screen}", {"cookie": f"{COOKIE}={cookie}"}) for screen in SCREENS]
    tokens = [other.token("bo"), f"{forged}.{token.split('.', 1)[1]}", "bo", "", token[:-2], f"{token}x", cookie]
    found += [("GET", f"/open/{each}", {}) for each in tokens]
    found += [
        ("POST", f"/u/{bo}/do/{action}", {"cookie": f"{COOKIE}={each}"})
        for each, action in itertools.product(cookies[:4], ("add", "off", "forget", "restore", "ask", "answer"))
    ]
    found += [("GET", f"/u/{mine}/forget?id=bo-1", {"cookie": f"{COOKIE}={cookie}"})]
    found += [("GET", f"/u/{mine}/compare?job={each}", {"cookie": f"{COOKIE}={cookie}"}) for each in ("x", "1")]
    return found


def test_a_hundred_attempts_to_get_at_anothers_page_get_nothing(store: Path) -> None:
    visitor = Visitor(store)
    cookie = visitor.client.cookies[COOKIE]
    own = visitor.field("csrf")
    stranger = TestClient(page_app(store, SECRET, encoder="none"), base_url=BASE)
    tried = attempts(visitor.links, visitor.links.handle("mira"), cookie)
    assert len(tried) >= 100
    with Store(store) as opened:
        before = opened.export("bo")
    got, missing = 0, stranger.get("/nothing")
    for method, address, headers in tried:
        body = {"csrf": own, "text": "x", "id": "bo-1", "version": "1"} if method == "POST" else None
        answer = stranger.request(method, address, headers=headers, data=body, follow_redirects=True)
        got += "Bo" in answer.text or "bo-1" in answer.text.replace(address, "")
        if "/u/" + visitor.links.handle("mira") not in address:
            # The same, whether there is such a page or not.
            assert (answer.status_code, answer.text) == (404, missing.text), (method, address)
    assert got == 0
    with Store(store) as opened:
        assert opened.export("bo") == before


def test_the_cookie_is_for_one_persons_path_and_no_script_or_other_site(store: Path) -> None:
    links = Links(SECRET)
    answer = TestClient(page_app(store, SECRET), base_url=BASE).get(f"/open/{links.token('mira')}")
    assert "Location" not in answer.headers
    said = answer.headers["set-cookie"]
    assert f"Path=/u/{links.handle('mira')}/;" in said
    for part in ("HttpOnly", "SameSite=strict", "Max-Age=43200"):
        assert part in said
    assert "Secure" not in said
    secure = TestClient(page_app(store, SECRET, hosts=["people.example"]), base_url="https://people.example")
    assert "Secure" in secure.get(f"/open/{links.token('mira')}").headers["set-cookie"]


@pytest.mark.parametrize("address", ["/nothing", "/static/style.css", "home", "open"])
def test_every_answer_has_the_headers(store: Path, address: str) -> None:
    visitor = Visitor(store)
    address = {"home": f"{visitor.home}/", "open": f"/open/{visitor.links.token('mira')}"}.get(address, address)
    headers = visitor.client.get(address).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8020", 200),
        ("localhost", 200),
        ("[::1]:80", 200),
        ("LOCALHOST.", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_a_name_that_somebody_else_points_here_is_refused(store: Path, host: str, status: int) -> None:
    answer = TestClient(page_app(store, SECRET), base_url=BASE).get("/static/style.css", headers={"host": host})
    assert answer.status_code == status


def test_a_form_needs_the_token_of_this_session(store: Path) -> None:
    visitor, elsewhere = Visitor(store), Visitor(store)
    where = f"{visitor.home}/do/add"
    bo = visitor.links.read_session(visitor.links.open_session("bo"), visitor.links.handle("bo"))
    assert bo is not None
    good = visitor.field("csrf")
    for token in ("", "x", elsewhere.field("csrf"), visitor.links.seal(bo, "csrf"), visitor.links.token("mira")):
        answer = visitor.client.post(where, data={"csrf": token, "text": "planted"})
        assert answer.status_code == 403
        assert "Nothing was changed" in answer.text
    for headers, body in (
        ({"sec-fetch-site": "cross-site"}, f"csrf={good}&text=planted"),
        ({"content-type": "text/plain"}, f"csrf={good}&text=planted"),
        ({}, f"csrf={good}&text={'x' * 300_000}"),
        ({}, f"csrf={good}&" + "&".join(f"f{at}=1" for at in range(50))),
        ({}, f"csrf={good}&text=%ff"),
    ):
        sent = {"content-type": "application/x-www-form-urlencoded", **headers}
        assert visitor.client.post(where, content=body, headers=sent).status_code == 403
    assert visitor.client.get(where).status_code == 404
    assert "planted" not in visitor.profile().to_json()
    assert "Added." in visitor.send("add", text="wanted")


def test_what_was_said_of_a_change_cannot_be_forged(store: Path) -> None:
    visitor = Visitor(store)
    sealed = visitor.links.seal(type("S", (), {"user": "bo", "name": "x"})(), "said", ["off", 1, "Call this number!"])
    assert "Call this number" not in visitor.read(f"?said={sealed}")
    assert 'role="status"' not in visitor.read("?said=off")


@pytest.mark.parametrize("screen", ["", "texts", "history", "forget?id=i-hostile", "forget?id=text-1"])
def test_texts_of_people_are_shown_and_never_obeyed(store: Path, screen: str) -> None:
    visitor = Visitor(store)
    visitor.send("add", text=HOSTILE)
    shown = visitor.read(screen)
    assert "<script" not in shown
    assert "\u202e" not in shown
    assert "&lt;script&gt;alert(&#39;pwned&#39;)&lt;/script&gt; &amp; txt" in shown


def test_it_works_below_another_application(store: Path) -> None:
    links = Links(SECRET)
    outer = TestClient(Starlette(routes=[Mount("/people/page", page_app(store, SECRET))]), base_url=BASE)
    opened = outer.get(f"/people/page/open/{links.token('mira')}")
    assert f"Path=/people/page/u/{links.handle('mira')}/;" in opened.headers["set-cookie"]
    home = outer.get(f"/people/page/u/{links.handle('mira')}/")
    assert home.status_code == 200
    assert 'href="/people/page/static/style.css"' in home.text
    assert f'action="/people/page/u/{links.handle("mira")}/do/add"' in home.text
    token = home.text.split('name="csrf" value="', 1)[1].split('"', 1)[0]
    done = outer.post(
        f"/people/page/u/{links.handle('mira')}/do/add", data={"csrf": token, "text": "Said below another."}
    )
    assert "Said below another." in done.text
