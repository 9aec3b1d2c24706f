"""``hyperalign page`` and ``hyperalign mcp``: what they serve, and what they say when they can't."""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path

import httpx

from hyperalign.backends.gateway.page.links import Links, load_secret
from hyperalign.cli.options import DEFAULT_MODEL, ModelOptions
from hyperalign.cli.page import can_write
from hyperalign.files import cache_folder
from tests.backends.gateway.page.person import fill
from tests.fixtures.scripted_server import ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run, Start


def test_a_link_is_printed_for_a_page_that_is_served_elsewhere(run: Run) -> None:
    done = run("page", "--user", "mira", "--link", "https://people.example/page/")
    assert done.code == 0, done.err
    address, _, token = done.out.strip().rpartition("/open/")
    assert address == "https://people.example/page"
    assert Links(load_secret()).read_link(token) == "mira"


def test_the_page_is_served_and_its_link_opens_it_until_interrupted(
    process: Start, tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    scripted_server.default = reply(lambda asked: "As she likes it!" if "No emoji" in asked.prompt else "As it is.")
    fill(tmp_path / "people.sqlite")
    place = ("--port", "0", "--store", "people.sqlite", "--encoder", "none")
    model = ("--model", "openai/any", "--api-base", scripted_server.base)
    served = process("page", "--user", "mira", *place, *model, OPENAI_API_KEY="k")
    try:
        assert served.stdout
        said = served.stdout.readline()
        found = re.fullmatch(r"The page of mira, for 7 day\(s\): (http://127\.0\.0\.1:\d+)(/open/\S+)\n", said)
        assert found, said
        with httpx.Client(base_url=found[1], timeout=60) as client:
            until = time.monotonic() + 60
            while True:
                try:
                    opened = client.get(found[2])
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < until
            home = opened.text.split("url=", 1)[1].split('"', 1)[0]
            shown = client.get(home).text
            assert "Supported by 5 of your 6 choices." in shown
            assert client.get(home, headers={"cookie": ""}).status_code == 404
            token = shown.split('name="csrf" value="', 1)[1].split('"', 1)[0]
            sent = {"csrf": token, "text": "Decline the invitation."}
            written = client.post(f"{home}do/ask", data=sent, follow_redirects=True)
            while "As it is." not in written.text:
                assert time.monotonic() < until + 120, written.text
                time.sleep(0.5)
                written = client.get(written.url)
            assert "As she likes it!" in written.text
            assert "By openai/any." in written.text
        served.send_signal(signal.SIGTERM)
        rest, errors = served.communicate(timeout=60)
    finally:
        served.kill()
    assert found[2] not in rest + errors, "requests are not logged: they hold tokens"
    assert "Traceback" not in errors


def test_a_port_that_is_taken_and_a_wrong_id_are_said(run: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run("page", "--user", "mira", "--port", port).refused(3, "listened on", "--port 0")
    run("page", "--user", "../mira").refused(3, "is not a user id")
    run("page", "--user", "mira", "--answers", "none.jsonl").refused(3, "none.jsonl")
    run("mcp", "--user", "../mira").refused(3, "is not a user id")


def test_the_default_model_writes_only_where_its_file_is(isolated_folders: Path) -> None:
    assert can_write(ModelOptions("openai/gpt-4o-mini"))
    file = cache_folder() / "models" / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
    file.unlink(missing_ok=True)
    assert not can_write(ModelOptions(DEFAULT_MODEL))
    file.write_bytes(b"GGUF")
    assert can_write(ModelOptions(DEFAULT_MODEL))


def test_the_secret_of_links_stays_when_people_are_served_again(run: Run) -> None:
    first = run("page", "--user", "mira", "--link", "http://127.0.0.1").out
    before = load_secret()
    second = run("page", "--user", "bo", "--link", "http://127.0.0.1").out
    assert load_secret() == before
    assert first != second
    assert before.hex() not in first
