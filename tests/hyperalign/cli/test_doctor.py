"""``hyperalign doctor``: every check is said, keys only as there or not, and the next command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.models.catalogue import entries
from tests.fixtures.scripted_server import ScriptedServer

from .conftest import Run

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "VLLM_API_KEY")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No model file, no key, no server, and a wide terminal; returns the cache folder."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("HYPERALIGN_CACHE", str(cache))
    monkeypatch.setenv("COLUMNS", "400")
    for name in (*KEYS, "HYPERALIGN_VLLM"):
        monkeypatch.delenv(name, raising=False)
    return cache


def looked(run: Run, *, code: int = 0) -> tuple[dict[str, dict[str, str]], str]:
    """The checks by what they look at, and the next command."""
    done = run("doctor", "--json")
    assert (done.code, done.err) == (code, "")
    told: dict[str, Any] = json.loads(done.out)
    return {check["what"]: check for check in told["checks"]}, told["next"]


def test_every_check_is_said_with_a_command_where_one_helps(run: Run) -> None:
    checks, following = looked(run)
    names = {entry.name for entry in entries()}
    assert len(names) == 3
    wanted = {"Python", "extra 'local'", "log-probabilities", "pip", "data folder", "cache folder", "disk space", *KEYS}
    assert wanted | {f"model {name}" for name in names} <= set(checks)
    assert {checks[f"model {name}"]["state"] for name in names} == {"missing"}
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    for what, check in checks.items():
        (line,) = [line for line in lines if line.partition(" ")[2].lstrip().startswith(f"{what}  ")]
        assert line.startswith(check["state"])
        if what != "disk space":
            assert check["detail"] in line
        if check["state"] != "ok":
            assert check["next"] in line
    assert lines[-1] == f"Next: {following}"
    assert following in {"hyperalign models pull qwen2.5-coder-1.5b-instruct", "pip install 'hyperalign[local]'"}


def test_it_fetches_and_makes_nothing(run: Run, tmp_path: Path, bare_machine: Path) -> None:
    assert run("doctor").code == 0
    assert not bare_machine.exists()
    assert not list((tmp_path / "hyperalign" / "data").iterdir())


def test_keys_are_shown_as_there_or_not(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret-value")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    checks, _ = looked(run)
    assert [checks[key]["state"] for key in KEYS] == ["ok", *["missing"] * 4]
    for options in ((), ("--json",), ("--debug",)):
        done = run("doctor", *options)
        assert "ANTHROPIC_API_KEY" in done.out
        assert "secret" not in done.out + done.err


def test_a_damaged_model_is_broken_and_fetched_again(run: Run, bare_machine: Path) -> None:
    smallest = entries()[0]
    smallest.path.parent.mkdir(parents=True)
    smallest.path.write_bytes(b"GGUF and then nothing")
    checks, following = looked(run, code=1)
    found = checks[f"model {smallest.name}"]
    assert (found["state"], found["detail"]) == ("broken", f"{smallest.path} is damaged")
    assert following == f"hyperalign models pull {smallest.name}"
    done = run("doctor")
    assert done.code == 1
    assert done.out.splitlines()[-1] == f"Next: {following}"


def test_a_folder_that_can_not_be_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "[red]file").write_text("no folder")
    monkeypatch.setenv("HYPERALIGN_DATA", str(tmp_path / "[red]file"))
    checks, following = looked(run, code=1)
    assert checks["data folder"]["state"] == "broken"
    assert "Not a directory" in checks["data folder"]["detail"]
    assert following.startswith("export HYPERALIGN_DATA=")
    assert f"{tmp_path}/[red]file can't be written" in run("doctor").out, "brackets are no markup"


def test_a_server_is_asked_and_its_words_are_data(
    run: Run, monkeypatch: pytest.MonkeyPatch, scripted_server: ScriptedServer
) -> None:
    scripted_server.models = ["a-model", "[/red]\x1b]0;title\x07evil"]
    monkeypatch.setenv("HYPERALIGN_VLLM", scripted_server.url)
    checks, _ = looked(run)
    assert checks["vLLM"]["state"] == "ok"
    done = run("doctor")
    assert done.code == 0
    assert "serves a-model, [/red]]0;titleevil" in done.out
    assert "\x1b" not in done.out


def test_a_server_that_is_not_there_and_its_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_VLLM", "http://user:secret@127.0.0.1:9")
    checks, following = looked(run, code=1)
    assert checks["vLLM"]["state"] == "broken"
    assert "127.0.0.1:9" in checks["vLLM"]["detail"]
    assert following == checks["vLLM"]["next"]
    done = run("doctor")
    assert done.code == 1
    assert "secret" not in done.out + json.dumps(checks)
