"""``hyperalign generate``: what is sent, what is printed, and what it says when something is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from hyperalign.profile import Hypothesis, Profile
from hyperalign.store import Store
from tests.fixtures.scripted_server import (
    ScriptedServer,
    Step,
    close_midway,
    empty_body,
    empty_choices,
    error,
    hang,
    rate_limited,
    raw,
    reply,
)
from tests.hyperalign.cli.conftest import Done, Run, Start
from tests.hyperalign.example_people import LETTER, profile

PROMPT = "Decline the dinner on Friday."
BARE = [{"role": "user", "content": PROMPT}]


@pytest.fixture
def model(scripted_server: ScriptedServer) -> list[str]:
    return ["--model", f"vllm:{scripted_server.url}", "--scorer", "none"]


@pytest.fixture
def ada() -> Profile:
    """Ada's profile, saved in the test's own store."""
    with Store() as store:
        store.save(profile())
    return profile()


def sent(server: ScriptedServer) -> list[dict[str, Any]]:
    """The messages of the only request."""
    (request,) = server.requests
    return request.messages


# What is printed


def test_the_answer_is_printed_as_it_came(run: Run, model: list[str], scripted_server: ScriptedServer) -> None:
    answer = "  Dear Ann,\n\n\tno  and   no.\n- Ada [bold]x[/bold] 🦊 \n\n"
    scripted_server.script(answer)
    done = run("generate", PROMPT, *model)
    assert (done.code, done.out, done.err) == (0, f"{answer}\n", "")
    assert scripted_server.requests[0].body["stream"] is True


def test_control_characters_of_an_answer_do_not_reach_the_terminal(
    run: Run, model: list[str], scripted_server: ScriptedServer
) -> None:
    answer = "a\x1b]0;title\x07b\x9b31mc\u202ed\r\ne\x00"
    scripted_server.script(answer, answer)
    assert run("generate", PROMPT, *model).out == "a]0;titleb31mcd\ne\n"
    assert run("generate", PROMPT, *model, "--best-of", "1", "--json").code == 0
    scripted_server.script(answer, answer)
    assert run("generate", PROMPT, *model, "--best-of", "2").out == "a]0;titleb31mcd\ne\n"


def test_json_is_the_answer_and_what_it_took(
    run: Run, model: list[str], ada: Profile, scripted_server: ScriptedServer
) -> None:
    scripted_server.script(reply("No, thank you.", tokens_in=21, tokens_out=4))
    done = run("generate", PROMPT, *model, "--user", "ada", "--json")
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert told["answer"] == "No, thank you."
    assert told["drafts"] == ["No, thank you."]
    assert (told["strategy"], told["user"]) == ("verified", "ada")
    spent = told["spent"]
    assert (spent["calls"], spent["tokens_in"], spent["tokens_out"], spent["unpriced"]) == (1, 21, 4, 1)


# What is sent


def test_without_a_person_the_bare_prompt_is_sent(
    run: Run, model: list[str], ada: Profile, scripted_server: ScriptedServer
) -> None:
    for strategy in ("verified", "few-shot", "hypotheses", "none"):
        assert run("generate", PROMPT, *model, "--strategy", strategy).code == 0
    assert [request.messages for request in scripted_server.requests] == [BARE] * 4
    assert json.loads(run("generate", PROMPT, *model, "--json").out)["strategy"] == "none"


def test_verified_is_the_default_and_sends_what_was_kept(
    run: Run, model: list[str], ada: Profile, scripted_server: ScriptedServer
) -> None:
    assert run("generate", PROMPT, *model, "--user", "ada").code == 0
    system, *example, last = sent(scripted_server)
    assert system["role"] == "system"
    assert [turn["content"] for turn in example] == [LETTER.prompt, LETTER.text]
    for kept in ("No emoji, please.", "Declines with mock solemnity.", "Never uses exclamation marks."):
        assert kept in last["content"]
    assert last["content"].endswith(PROMPT)
    assert "Is formal and clear" not in json.dumps(scripted_server.requests[0].body)


def test_hypotheses_sends_what_was_dropped_too(
    run: Run, model: list[str], ada: Profile, scripted_server: ScriptedServer
) -> None:
    assert run("generate", PROMPT, *model, "--user", "ada", "--strategy", "hypotheses").code == 0
    system, *rest = sent(scripted_server)
    assert rest == BARE
    assert "Declines with mock solemnity." in system["content"]
    assert system["content"].count("Is formal and clear") == len(ada.dropped)


def test_few_shot_sends_the_examples_alone(
    run: Run, model: list[str], ada: Profile, scripted_server: ScriptedServer
) -> None:
    assert run("generate", PROMPT, *model, "--user", "ada", "--strategy", "few-shot").code == 0
    _, *example, last = sent(scripted_server)
    assert [turn["content"] for turn in example] == [LETTER.prompt, LETTER.text]
    assert [last] == BARE
    assert "solemnity" not in json.dumps(scripted_server.requests[0].body)


def test_none_sends_nothing_of_the_person(
    run: Run, model: list[str], ada: Profile, scripted_server: ScriptedServer
) -> None:
    done = run("generate", PROMPT, *model, "--user", "ada", "--strategy", "none")
    assert (done.code, done.err) == (0, "")
    assert sent(scripted_server) == BARE


def test_a_profile_file_stands_in_for_the_store(
    run: Run, model: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    (tmp_path / "bob.json").write_text(profile("bob").to_json())
    assert run("generate", PROMPT, *model, "--profile", "bob.json").code == 0
    assert "Declines with mock solemnity." in sent(scripted_server)[-1]["content"]
    assert not list((tmp_path / "hyperalign" / "data").iterdir()), "no store is made"


def test_another_store_is_read_where_one_is_named(
    run: Run, model: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    place = tmp_path / "other.sqlite"
    with Store(place) as store:
        store.save(Profile(user="eve", hypotheses=[Hypothesis(id="h", statement="Rhymes.", aspect="style", weight=1)]))
    assert run("generate", PROMPT, *model, "--user", "eve", "--store", place).code == 0
    assert "Rhymes." in sent(scripted_server)[-1]["content"]


def test_a_profile_that_kept_nothing_says_so(run: Run, model: list[str], scripted_server: ScriptedServer) -> None:
    with Store() as store:
        store.save(Profile(user="eve"))
    done = run("generate", PROMPT, *model, "--user", "eve")
    assert (done.code, done.out) == (0, "ok\n")
    assert "bare model's answer" in done.err
    assert sent(scripted_server) == BARE


def test_a_prompt_from_standard_input(run: Run, model: list[str], scripted_server: ScriptedServer) -> None:
    text = "Dear Ann,\n\ncan you come?\n"
    assert run("generate", "-", *model, stdin=b"\xef\xbb\xbf" + text.encode()).code == 0
    assert sent(scripted_server) == [{"role": "user", "content": text}]


# Bad input


def test_bad_prompts_are_refused(run: Run, model: list[str], scripted_server: ScriptedServer) -> None:
    for prompt, stdin in (("", b""), (" \n", b""), ("-", b""), ("-", b"\n\t ")):
        run("generate", prompt, *model, stdin=stdin).refused(3, "The prompt is empty", "hyperalign generate")
    for prompt, stdin in (("-", b"Caf\xe9"), ("-", b"\xff\xfe\x00A"), ("Caf\udce9", b"")):
        run("generate", prompt, *model, stdin=stdin).refused(3, "not UTF-8", "iconv")
    assert scripted_server.requests == []


def test_an_unknown_strategy_names_the_four(run: Run, model: list[str]) -> None:
    run("generate", PROMPT, *model, "--strategy", "best").refused(
        3, "'best'", "few-shot", "hypotheses", "none", "verified"
    )


def test_unknown_and_impossible_people(
    run: Run, model: list[str], ada: Profile, scripted_server: ScriptedServer
) -> None:
    run("generate", PROMPT, *model, "--user", "adah").refused(4, "adah", "ada")
    run("generate", PROMPT, *model, "--user", "../ada").refused(3, "'../ada' is not a user id")
    assert scripted_server.requests == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "the whole file"),
        (b"\xff\xfe\x00", "the whole file"),
        (b"{}", "user"),
        (b'{"user": "ada", "stated": ["Hi", 7]}', "stated.1"),
        (b'{"user": "ada", "hypotheses": [{"id": "h", "statement": "", "aspect": "style"}]}', "hypotheses.0.statement"),
        (
            b'{"user": "ada", "hypotheses": [{"id": "h", "statement": "A.", "aspect": "style", "weight": 7}]}',
            "hypotheses.0.weight",
        ),
        (b'{"user": "ada", "colour": "red"}', "colour"),
        (b'{"user": "../../etc", "stated": []}', "user"),
    ],
)
def test_a_broken_profile_file_is_named_with_its_field(
    run: Run, model: list[str], tmp_path: Path, scripted_server: ScriptedServer, content: bytes, said: str
) -> None:
    (tmp_path / "ada.json").write_bytes(content)
    run("generate", PROMPT, *model, "--profile", "ada.json").refused(3, f"ada.json: {said}: ")
    assert scripted_server.requests == []


def test_a_profile_file_that_can_not_be_read(run: Run, model: list[str], tmp_path: Path) -> None:
    run("generate", PROMPT, *model, "--profile", "gone.json").refused(3, "gone.json could not be read")
    (tmp_path / "folder.json").mkdir()
    run("generate", PROMPT, *model, "--profile", "folder.json").refused(3, "folder.json could not be read")


# Models that can't be used

SILENT: list[tuple[Step, str]] = [
    (rate_limited(3600), "asks to wait 3600 seconds"),
    (error(500, "Out of memory"), "Out of memory"),
    (error(401, "Bad key"), "API key"),
    (error(404, "The model does not exist", code="model_not_found"), "not a model its provider knows"),
    (hang(), "did not answer within 0.5 seconds"),
    (reply(""), "answered with nothing"),
    (empty_body(), "vllm:http"),
    (empty_choices(), "vllm:http"),
    (raw("<html>Hello</html>"), "vllm:http"),
]


@pytest.mark.parametrize(
    ("step", "said"), SILENT, ids=[f"{number}-{step.name}" for number, (step, _) in enumerate(SILENT)]
)
@pytest.mark.parametrize("streams", [True, False])
def test_servers_that_give_no_answer(
    run: Run,
    model: list[str],
    monkeypatch: pytest.MonkeyPatch,
    scripted_server: ScriptedServer,
    step: Step,
    said: str,
    streams: bool,
) -> None:
    monkeypatch.setenv("HYPERALIGN_TIMEOUT", "0.5")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    scripted_server.default = step
    run("generate", PROMPT, *model, *([] if streams else ["--json"])).refused(5, said)
    assert 1 <= len(scripted_server.requests) <= 5


def test_a_server_that_breaks_off_leaves_half_an_answer_and_an_error(
    run: Run, model: list[str], scripted_server: ScriptedServer
) -> None:
    scripted_server.default = close_midway("Half of an ans")
    done = run("generate", PROMPT, *model)
    assert (done.code, done.out) == (5, "Half of an ans\n"), "the error starts on a line of its own"
    assert done.err.startswith("Error: 'vllm:http")
    assert "Traceback" not in done.err
    what, remedy = done.err.strip().splitlines()
    assert what.endswith(".")
    assert remedy


def test_json_of_a_server_that_breaks_off_is_no_json(
    run: Run, model: list[str], monkeypatch: pytest.MonkeyPatch, scripted_server: ScriptedServer
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    scripted_server.default = close_midway()
    run("generate", PROMPT, *model, "--json").refused(5, "could not be reached")
    assert len(scripted_server.requests) == 4, "three times more is tried"


def test_nobody_at_the_address_and_no_such_model(run: Run) -> None:
    run("generate", PROMPT, "--model", "vllm:http://127.0.0.1:9").refused(5, "http://127.0.0.1:9", "vllm serve")
    run("generate", PROMPT, "--model", "local:no-such-model").refused(5, "no-such-model")
    run("generate", PROMPT, "--model", "nonsense").refused(5, "names no known model provider", "provider/model")


def test_a_library_says_nothing_of_its_own(process: Start) -> None:
    # In a process of its own: LiteLLM is quiet once DSPy has called it.
    running = process("generate", PROMPT, "--model", "nonsense")
    out, err = running.communicate(timeout=60)
    Done(running.returncode, out, err).refused(5, "names no known model provider")


def test_a_hosted_model_without_its_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, name in (
        ("ANTHROPIC_API_KEY", "anthropic/claude-3-5-haiku-latest"),
        ("OPENAI_API_KEY", "openai/gpt-4o-mini"),
    ):
        monkeypatch.delenv(variable, raising=False)
        run("generate", PROMPT, "--model", name).refused(5, f"{variable} is not set", f"Set {variable}")


def test_budgets_stop_before_the_call(
    run: Run, model: list[str], monkeypatch: pytest.MonkeyPatch, scripted_server: ScriptedServer
) -> None:
    for cap in ("calls", "tokens", "usd"):
        run("generate", PROMPT, *model, f"--max-{cap}", "0").refused(6, "used up", f"--max-{cap}")
    assert scripted_server.requests == []
    run("generate", PROMPT, *model, "--best-of", "3", "--max-calls", "2").refused(6, "The budget of 2 calls is used up")
    assert len(scripted_server.requests) == 2
    scripted_server.default = reply("ok", tokens_in=90, tokens_out=20)
    run("generate", PROMPT, *model, "--best-of", "3", "--max-tokens", "100", "--concurrency", "1").refused(
        6, "budget of 100 tokens"
    )
    assert len(scripted_server.requests) == 3
