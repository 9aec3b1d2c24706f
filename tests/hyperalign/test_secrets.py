"""No message, file or profile holds a key or a password, in any form that servers repeat them in."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from hyperalign import errors
from hyperalign.backends.models.connect import connect
from hyperalign.cli.options import ModelOptions
from hyperalign.errors import (
    HyperalignError,
    ModelError,
    full_address,
    hide_userinfo,
    remember_secret,
    scrub,
    scrub_file,
)
from hyperalign.files import append_line, cache_folder, data_folder, write_whole
from tests.fixtures.scripted_server import ScriptedServer, error, reply
from tests.hyperalign.cli.conftest import Run, run
from tests.hyperalign.cli.letters import all_a, others, write
from tests.hyperalign.cli.test_eval import pairs
from tests.hyperalign.cli.test_optimize import answered, people

__all__ = ["run"]  # the fixture

KEY = 'zq7/Kp+"4x~secret key'
USER, PASSWORD = "mira", "p4ss/w0rd:x"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of a test are nobody else's."""
    monkeypatch.setattr(errors, "_known", set())
    monkeypatch.setattr(errors, "_userinfo", {})


def forms(secret: str) -> list[str]:
    data = secret.encode()
    encoded = [base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()]
    return [
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        quote(secret, safe="").lower() if "%" in quote(secret, safe="") else secret,
        *encoded,
        *(each.rstrip("=") for each in encoded),
    ]


@pytest.mark.parametrize("form", range(8))
def test_every_form_of_a_key_is_removed(form: int, tmp_path: Path) -> None:
    remember_secret(KEY)
    shown = forms(KEY)[form]
    if form == 3:
        shown = quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b")
    said = f"Incorrect key provided: {shown}."
    assert scrub(said) == "Incorrect key provided: …."
    assert str(HyperalignError(said, remedy=said)) == "Incorrect key provided: …. Incorrect key provided: …."
    write_whole(tmp_path / "whole", said)
    append_line(tmp_path / "journal", said)
    assert shown not in (tmp_path / "whole").read_text() + (tmp_path / "journal").read_text()


def test_what_has_the_form_of_a_secret_is_removed_from_messages() -> None:
    basic = base64.b64encode(b"ann:never-told").decode()
    assert scrub(f"authorization: Basic {basic}") == "authorization: Basic …"
    assert scrub("sent 'Bearer abcdef123456'") == "sent 'Bearer …'"
    assert scrub("at http://u:p@ss@host/v1 and https://token@h") == "at http://…@host/v1 and https://…@h"
    assert scrub("key sk-proj-abcdefgh12345678 is wrong") == "key … is wrong"
    assert scrub("hf-internal-testing/tiny-random at //host/a@b, Basic realm") == (
        "hf-internal-testing/tiny-random at //host/a@b, Basic realm"
    )


def test_a_header_with_basic_authentication_hides_its_parts() -> None:
    remember_secret(f"Basic {base64.b64encode(b'ann:hidden-word').decode()}")
    assert scrub("hidden-word of ann:hidden-word") == "… of …"


def test_numbers_and_words_in_files_stay_as_they_are() -> None:
    remember_secret("123456")
    remember_secret("letters")
    remember_secret("n3ws-letters")
    said = "[0.1234567, 123456] newsletters letters n3ws-letters n3ws-letters-2"
    assert scrub_file(said) == "[0.1234567, 123456] newsletters letters … …-2"


def test_an_address_is_whole_again_where_it_is_called() -> None:
    bare = hide_userinfo("vllm:http://joe:joes-word@host-a:8000/v1#one")
    assert bare == "vllm:http://host-a:8000/v1#one"
    assert full_address("http://host-a:8000/v1") == "http://joe:joes-word@host-a:8000/v1"
    assert full_address("http://host-b:8000/v1") == "http://host-b:8000/v1"
    assert "joes-word" not in repr(ModelOptions("vllm:http://joe:joes-word@host-a:8000"))
    assert ModelOptions("vllm:http://joe:joes-word@host-a:8000").identity()["model"] == "vllm:http://host-a:8000"


def test_a_server_that_repeats_the_key_gets_it_printed_nowhere(scripted_server: ScriptedServer) -> None:
    scripted_server.default = error(401, f"no such key {KEY!r} {KEY} {quote(KEY, safe='')}")
    lm = connect("openai/any", api_base=scripted_server.url + "/v1", api_key=KEY, num_retries=0)
    with pytest.raises(ModelError) as caught:
        lm("hello")
    assert not any(form in str(caught.value) for form in forms(KEY))
    scripted_server.default = error(500, f"headers: {{'authorization': 'Bearer {KEY}'}}")
    with pytest.raises(ModelError) as caught:
        lm("hello")
    assert not any(form in str(caught.value) for form in forms(KEY))


def test_a_password_in_an_address_and_a_key_are_in_no_file(
    run: Run, scripted_server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fit, eval and search with a model whose server also repeats the key in every answer."""
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    userinfo = f"{USER}:{quote(PASSWORD, safe='')}"
    model = ("--model", f"vllm:{scripted_server.url.replace('://', f'://{userinfo}@')}")
    scripted_server.default = reply(all_a)
    letters = write(tmp_path / "letters", "1.txt", "2.txt", "3.txt")
    population = ("--population", others(tmp_path / "others"))
    ran = [
        run("fit", *letters, "--user", "ada", *model, "--scorer", "none", *population, "--dry-run"),
        run("fit", *letters, "--user", "ada", *model, "--scorer", "none", *population),
    ]
    scripted_server.default = reply(f"A {KEY}")
    ran.append(
        run(
            "eval", pairs(tmp_path / "pairs.jsonl"), *model, "--scorer", "none", "--strategy", "few-shot", "--seed", "3"
        )
    )
    scripted_server.default = reply(lambda asked: f"{answered(asked)} {KEY}")
    search = ("optimize", "generate", "--task", people(tmp_path / "people.jsonl"), "--max-steps", "1")
    ran.append(run(*search, *model, "--out", tmp_path / "out"))
    assert [done.code for done in ran] == [0, 0, 0, 0], [done.err for done in ran]
    assert len(scripted_server.requests) > 10
    secrets = {form for secret in (KEY, PASSWORD, f"{USER}:{PASSWORD}", userinfo) for form in forms(secret)}
    held = [path for folder in (data_folder(), cache_folder(), tmp_path / "out") for path in folder.rglob("*")]
    for path in held:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert [form for form in secrets if form.encode() in content] == [], path
    assert any(path.name == "run.json" for path in held)
    for done in ran:
        assert [form for form in secrets if form in done.out + done.err] == []
