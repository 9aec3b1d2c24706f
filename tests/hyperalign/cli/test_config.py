"""Settings are kept by ``config``, and go after the environment and flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.scripted_server import ScriptedServer

from .conftest import Run


@pytest.fixture
def file(isolated_folders: Path) -> Path:
    return isolated_folders / "config.toml"


def shown(run: Run) -> dict[str, tuple[object, str]]:
    done = run("config", "show", "--json")
    assert done.code == 0, done.err
    return {name: (row["value"], row["from"]) for name, row in json.loads(done.out)["settings"].items()}


def test_a_model_is_kept_shown_used_and_taken_out(run: Run, file: Path, scripted_server: ScriptedServer) -> None:
    model = f"vllm:{scripted_server.url}"
    assert run("config", "path").out == f"{file}\n"
    assert run("config", "unset", "model").out == "model was not set.\n"
    assert shown(run)["model"] == ("local:qwen2.5-coder-1.5b-instruct", "default")
    done = run("config", "set", "model", model)
    assert (done.code, done.err) == (0, "")
    assert shown(run)["model"] == (model, "file")
    assert f"{model} " in run("config", "show").out
    assert run("generate", "Hello").out == "ok\n"
    assert len(scripted_server.requests) == 1
    run("config", "unset", "model")
    assert shown(run)["model"][1] == "default"


def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, scripted_server: ScriptedServer
) -> None:
    model = f"vllm:{scripted_server.url}"
    run("config", "set", "model", model)
    run("config", "set", "temperature", "0.3")

    def temperature(*more: str) -> object:
        assert run("generate", "Hello", *more).code == 0
        return scripted_server.requests[-1].body["temperature"]

    assert temperature() == 0.3
    monkeypatch.setenv("HYPERALIGN_TEMPERATURE", "0.5")
    assert shown(run)["temperature"] == (0.5, "HYPERALIGN_TEMPERATURE")
    assert "goes before it" in run("config", "set", "temperature", "0.4").err
    assert temperature() == 0.5
    assert temperature("--temperature", "0.7") == 0.7


def test_the_address_of_the_file_is_of_the_model_of_the_file(
    run: Run, monkeypatch: pytest.MonkeyPatch, scripted_server: ScriptedServer
) -> None:
    # Or a key would go to the server of another model.
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    run("config", "set", "model", "openai/scripted")
    run("config", "set", "api-base", scripted_server.base)
    assert run("generate", "Hello").code == 0
    assert scripted_server.requests[-1].headers["authorization"] == "Bearer sk-test"
    made = len(scripted_server.requests)
    run("generate", "Hello", "--model", "mistral/other").refused(5, "MISTRAL_API_KEY")
    assert len(scripted_server.requests) == made


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model", "nonsense/x", "nonsense/x"),
        ("model", "local:nobody", "nobody"),
        ("model", "gpt", "gpt"),
        ("model", "a b", "a b"),
        ("scorer", "openai/gpt-5-mini", "log-probabilities"),
        ("temperature", "hot", "temperature"),
        ("colour", "red", "colour"),
        ("openai-api-key", "hunter2", "OPENAI_API_KEY"),
        ("header", "X-Key: hunter2", "HYPERALIGN_HEADERS"),
    ],
)
def test_what_could_never_work_is_not_kept(run: Run, file: Path, key: str, value: str, said: str) -> None:
    done = run("config", "set", key, value)
    done.refused(3, said)
    assert "hunter2" not in done.err
    assert not file.exists()


def test_a_model_without_its_key_can_be_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert run("config", "set", "model", "anthropic/claude-sonnet-5-5").code == 0


def test_a_damaged_file_stops_verbs_but_not_help_nor_what_mends_it(run: Run, file: Path) -> None:
    file.write_text("modle = 1\n")
    run("generate", "Hello").refused(3, str(file), "modle", "model, api_base")
    run("profile", "list").refused(3, str(file))
    for command in (["generate", "--help"], ["--version"], ["config", "path"], ["config", "--help"]):
        assert run(*command).code == 0, command
    run("config", "show").refused(3, "modle")


def test_other_settings_reach_the_verbs_that_have_them(run: Run, tmp_path: Path) -> None:
    run("config", "set", "store", str(tmp_path / "other.sqlite"))
    assert run("profile", "list").code == 0
    assert (tmp_path / "other.sqlite").exists()


def test_headers_are_never_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_HEADERS", "X-Key: hunter2")
    for command in (["config", "show"], ["config", "show", "--json"], ["doctor", "--json"]):
        assert "hunter2" not in run(*command).out
