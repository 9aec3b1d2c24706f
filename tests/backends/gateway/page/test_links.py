"""Signed links and sessions: what opens whose page, for how long, and what does not."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path

import pytest

from hyperalign.backends.gateway.page.links import Links, Session, load_secret
from hyperalign.errors import StorageError, UserIdError
from hyperalign.files import data_folder

SECRET = b"0123456789abcdef0123456789abcdef"


def test_the_secret_is_made_once_and_for_this_user_alone(isolated_folders: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(load_secret())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    (file,) = [each for each in data_folder().iterdir() if each.name.startswith("page.secret")]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert load_secret() == found[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_secret_that_is_cut_short_is_said_and_signs_nothing(tmp_path: Path) -> None:
    (tmp_path / "page.secret").write_bytes(b"short")
    with pytest.raises(StorageError, match="cut short") as caught:
        load_secret(tmp_path)
    assert "Delete it" in caught.value.remedy


def test_a_link_opens_its_persons_page_alone_and_until_its_time() -> None:
    links = Links(SECRET, link_age=2)
    token = links.token("mira")
    assert links.link("mira", "http://127.0.0.1:8020/").startswith("http://127.0.0.1:8020/open/")
    assert links.read_link(token) == Links(SECRET).read_link(token) == "mira"
    assert Links(b"another secret of thirty-two bytes").read_link(token) is None
    for at in range(0, len(token), 3):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert links.read_link(changed) in (None, "mira")  # base64 has spare bits; no other person ever comes out
    with pytest.raises(UserIdError):
        links.token("../bo")
    time.sleep(2.1)
    assert links.read_link(token) is None
    assert Links(SECRET, link_age=10**6).read_link(token) is None, "who made it decides how long it is good"


def test_an_address_tells_nothing_of_its_person() -> None:
    handles = {Links(SECRET).handle(user) for user in ("mira", "bo", "Mira")}
    assert len(handles) == 3
    assert all(len(handle) == 24 and "mira" not in handle.lower() for handle in handles)
    assert Links(b"another secret of thirty-two bytes").handle("mira") not in handles


def test_a_session_is_good_for_its_person_and_its_forms_for_it_alone() -> None:
    links = Links(SECRET)
    mira, bo = links.open_session("mira"), links.open_session("bo")
    session = links.read_session(mira, links.handle("mira"))
    assert session is not None
    assert session.user == "mira"
    assert links.read_session(mira, links.handle("bo")) is None
    assert links.read_session(bo, links.handle("mira")) is None
    assert links.read_session(links.token("mira"), links.handle("mira")) is None, "a link is no cookie"
    sealed = links.seal(session, "csrf", ["some", "content"])
    assert links.unseal(session, "csrf", sealed) == (True, ["some", "content"])
    assert links.unseal(session, "question", sealed) == (False, None)
    assert links.unseal(Session("mira", "another"), "csrf", sealed) == (False, None)
    assert links.unseal(Session("bo", session.name), "csrf", sealed) == (False, None)
    assert links.unseal(session, "csrf", "") == (False, None)
