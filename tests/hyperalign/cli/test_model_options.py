"""Which model is asked and how: the same options on every verb, checked before anything is read or asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hyperalign.cli import app
from hyperalign.cli.options import ModelOptions
from tests.fixtures.scripted_server import ScriptedServer, reply

from .conftest import Run
from .letters import all_a, asked, others, write

SHARED = {
    "--api-base",
    "--api-version",
    "--header",
    "--temperature",
    "--reasoning-effort",
    "--concurrency",
    "--timeout",
}
VERBS = ["fit", "generate", "judge", "deliberate", "update", "eval", "demo", "distill"]
STEPS = ["extract", "infer", "generate", "choice", "weigh", "report"]


def options_of(*path: str) -> set[str]:
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    return {name for each in command.params for name in each.opts}


@pytest.mark.parametrize("path", [*((verb,) for verb in VERBS), *(("optimize", step) for step in STEPS)])
def test_every_verb_that_asks_a_model_has_all_of_them(path: tuple[str, ...]) -> None:
    found = options_of(*path)
    assert found >= SHARED
    assert "--at-once" not in found
    assert ("--teacher" if path == ("distill",) else "--model") in found


@pytest.mark.parametrize(
    ("option", "value", "code", "said"),
    [
        ("--header", "no colon", 3, "Header 1 of 1"),
        ("--header", "hun ter2: x", 3, "Header 1 of 1"),
        ("--header", ": hunter2", 3, "Header 1 of 1"),
        ("--header", "X-A: a\r\nX-B: hunter2", 3, "Header 1 of 1"),
        ("--temperature", "-1", 2, "--temperature"),
        ("--temperature", "nan", 2, "--temperature"),
        ("--reasoning-effort", "loud", 3, "xhigh"),
        ("--concurrency", "0", 2, "--concurrency"),
        ("--timeout", "-1", 3, "--timeout"),
        ("--timeout", "inf", 3, "--timeout"),
        ("--api-base", "example.org", 3, "--api-base"),
        ("--api-base", "https://me:hunter2@example.org", 3, "--api-base"),
        ("--seed", "-1", 2, "--seed"),
    ],
)
def test_bad_values_are_refused_before_anything_is_read(
    run: Run, option: str, value: str, code: int, said: str, isolated_folders: Path
) -> None:
    done = run("fit", "missing.txt", "--user", "ada", "--model", "openai/x", option, value)
    assert done.code == code
    assert said in done.err
    assert "hunter2" not in done.err
    assert "missing.txt" not in done.err
    assert not list((isolated_folders / "data").iterdir())


def test_bad_values_of_the_environment_are_named_as_such(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("API_BASE", "x"), ("REASONING_EFFORT", "loud"), ("TIMEOUT", "-1")):
        monkeypatch.setenv(f"HYPERALIGN_{name}", value)
        run("generate", "Hello").refused(3, f"HYPERALIGN_{name}")
        monkeypatch.delenv(f"HYPERALIGN_{name}")


def test_an_address_is_not_for_models_of_ones_own(run: Run) -> None:
    run("generate", "Hello", "--model", "local:x", "--api-base", "http://127.0.0.1:1").refused(3, "--api-base")


def test_a_server_is_reached_with_all_that_was_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, scripted_server: ScriptedServer
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    place = ["--model", "openai/scripted", "--api-base", scripted_server.base]
    done = run("generate", "Hello", *place, "--header", "X-Team: a: b", "--header", "X-Two: 2", "--temperature", "0.3")
    assert (done.code, done.out) == (0, "ok\n"), done.err
    (request,) = scripted_server.requests
    assert (request.headers["x-team"], request.headers["x-two"]) == ("a: b", "2")
    assert request.body["temperature"] == 0.3
    monkeypatch.setenv("HYPERALIGN_HEADERS", "X-One: 1\nX-Two: two\n")
    assert run("generate", "Hello", *place).code == 0
    assert {scripted_server.requests[-1].headers[name] for name in ("x-one", "x-two")} == {"1", "two"}


def test_secrets_reach_no_file_and_no_message(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    scripted_server.default = reply(all_a)
    place = ["--api-base", scripted_server.base, "--header", "X-Key: hunter2"]
    files = write(tmp_path / "texts", "a.txt", "b.txt")
    done = run("fit", *files, "--user", "ada", *asked("openai/scripted", tmp_path), *place)
    assert done.code == 0, done.err
    assert scripted_server.requests[0].headers["x-key"] == "hunter2"
    assert "hunter2" not in done.out + done.err
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(written) > 5
    assert not [path for path in written if b"hunter2" in path.read_bytes()]


def test_what_decides_the_answers_makes_another_run_and_what_does_not_goes_on(
    run: Run, tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    scripted_server.default = reply(all_a)
    files = write(tmp_path / "texts", "a.txt", "b.txt")
    given = ["fit", *files, "--user", "ada", *asked(f"vllm:{scripted_server.url}", tmp_path)]

    def runs(*more: str) -> int:
        assert run(*given, *more).code == 0
        return len(list((tmp_path / "hyperalign" / "data" / "runs").iterdir()))

    assert runs() == 1
    assert runs("--concurrency", "3", "--timeout", "30", "--header", "X-A: b") == 1
    assert runs("--temperature", "0.4") == 2
    assert runs("--temperature", "0.4", "--reasoning-effort", "low") == 3
    told = [json.loads(path.read_text()) for path in tmp_path.rglob("run.json")]
    assert sorted(each.get("temperature", 0.0) for each in told) == [0.0, 0.4, 0.4]


def test_an_eval_under_another_temperature_is_another_one(
    run: Run, tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    lines = [
        {"user": user, "prompt": f"{n}?", "chosen": f"Yes, {n}.", "rejected": f"No, {n}."}
        for user in ("ada", "bob")
        for n in range(4)
    ]
    (tmp_path / "people.jsonl").write_text("\n".join(map(json.dumps, lines)))
    scripted_server.default = reply(all_a)
    given = ["eval", "people.jsonl", "--strategy", "few-shot", "--scorer", "none"]
    given += ["--model", f"vllm:{scripted_server.url}", "--out", "e"]
    assert run(*given).code == 0
    run(*given, "--temperature", "0.4").refused(3, "temperature")
    assert run(*given, "--concurrency", "2").code == 0


def test_another_model_is_not_given_the_first_ones_address() -> None:
    first = ModelOptions("openai/a", api_base="http://a.example", headers={"X": "y"}, temperature=0.5, timeout=9)
    assert first.other("mistral/b") == ModelOptions("mistral/b", timeout=9)
    assert "X" not in repr(first)
    assert first.identity() == {"model": "openai/a", "api_base": "http://a.example", "temperature": 0.5}


def test_calls_at_once_are_as_many_as_were_asked_for(scripted_server: ScriptedServer) -> None:
    model = f"vllm:{scripted_server.url}"
    assert ModelOptions(model, concurrency=3).connect().concurrency == 3
    assert ModelOptions("openai/a").connect().concurrency == 8


# Money


@pytest.mark.parametrize(
    ("model", "money", "usd"),
    [
        ("openai/gpt-4o-mini", "costs about $0.0", True),
        ("openai/nobody-knows-1", "unknown", None),
        ("local:smollm2-135m-instruct", "no money", 0.0),
    ],
)
def test_a_dry_run_says_dollars(run: Run, tmp_path: Path, model: str, money: str, usd: bool | float | None) -> None:
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    given = ["fit", *files, "--user", "ada", "--model", model, "--population", others(tmp_path / "o"), "--dry-run"]
    assert money in run(*given).out
    told = json.loads(run(*given, "--json").out)
    assert set(told["steps"]) == {"infer", "score", "evidence"}
    every = told["all"]
    if usd is True:
        assert 0 < every["usd"] < 1
        assert every["usd"] == pytest.approx(sum(step["usd"] for step in told["steps"].values()))
        assert (every["usd_known"], every["unpriced"]) == (every["usd"], 0)
    else:
        assert every["usd"] == usd
        assert every["unpriced"] == (every["calls"] if usd is None else 0)


def test_a_scorer_of_ones_own_costs_nothing(run: Run, tmp_path: Path) -> None:
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    given = ["fit", *files, "--user", "ada", "--model", "openai/gpt-4o-mini", "--dry-run", "--json"]
    steps = json.loads(run(*given, "--scorer", "local:smollm2-135m-instruct").out)["steps"]
    assert steps["infer"]["usd"] > 0
    assert steps["score"]["usd"] == 0


def test_an_estimate_says_where_thinking_comes_on_top(run: Run, tmp_path: Path) -> None:
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    given = ["fit", *files, "--user", "ada", "--dry-run", "--model"]
    assert "come on top" in run(*given, "openai/gpt-5-mini").out
    assert "come on top" not in run(*given, "openai/gpt-4o-mini").out
    assert json.loads(run(*given, "openai/gpt-5-mini", "--json").out)["thinking_comes_on_top"] is True


# What is missing is said before a file is fetched


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No model file is here, and the hub is a server that would notice."""
    cache = tmp_path / "empty"
    monkeypatch.setenv("HYPERALIGN_CACHE", str(cache))
    return cache


@pytest.mark.parametrize("verb", ["fit", "update", "generate", "deliberate"])
def test_without_a_key_nothing_is_fetched(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    scripted_server: ScriptedServer,
    empty_cache: Path,
    verb: str,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", scripted_server.url)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    given: list[str | Path] = ["Hello", "--best-of", "2"] if verb == "generate" else ["Hello"]
    if verb in ("fit", "update"):
        given = [*write(tmp_path, "a.txt", "b.txt", "c.txt"), "--user", "ada"]
    models = ["--model", "anthropic/claude-haiku-5-5", "--scorer", "local:smollm2-135m-instruct"]
    run(verb, *given, *models).refused(5, "ANTHROPIC_API_KEY")
    assert scripted_server.requests == []
    assert not list(empty_cache.rglob("*.part"))


@pytest.mark.parametrize(
    ("model", "scorer", "code", "said"),
    [
        ("nonsense/x", "local:smollm2-135m-instruct", 5, "nonsense/x"),
        ("local:smollm2-135m-instruct", "openai/x", 5, "log-probabilities"),
        ("local:smollm2-135m-instruct", "local:nobody", 5, "nobody"),
    ],
)
def test_a_name_that_is_wrong_is_said_before_a_file_is_fetched(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    empty_cache: Path,
    model: str,
    scorer: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    run("fit", *files, "--user", "ada", "--model", model, "--scorer", scorer).refused(code, said)
    assert not list(empty_cache.rglob("*.part"))
    assert not list(empty_cache.rglob("*.wheels"))
