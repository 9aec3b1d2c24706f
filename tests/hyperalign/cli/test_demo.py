"""``hyperalign demo``: the whole loop against a server, and nothing in the user's own store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply

from .conftest import Done, Run
from .letters import all_a

PROMPT = "Decline [/red] the dinner."
BARE, AS_ADA = "I can [bold]not[/bold] come.", "How very kind!\x1b]0;title\x07 But no."


def answer(request: Recorded) -> str:
    """A letter to every question that has the prompt in it, A to all others."""
    if PROMPT not in request.prompt:
        return all_a(request)
    return BARE if len(request.messages) == 1 else AS_ADA


@pytest.fixture
def demo(
    run: Run, monkeypatch: pytest.MonkeyPatch, scripted_server: ScriptedServer
) -> Iterator[tuple[Done, ScriptedServer]]:
    """A demo that has run, and its server."""
    monkeypatch.setenv("COLUMNS", "160")
    scripted_server.default = reply(answer)
    model = f"vllm:{scripted_server.url}"
    yield run("demo", "--model", model, "--scorer", "none", "--prompt", PROMPT), scripted_server


def test_the_whole_loop(demo: tuple[Done, ScriptedServer], tmp_path: Path) -> None:
    done, server = demo
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "8 short pieces by ada, compared with those of two other people."
    assert "nothing leaves this machine" not in done.out, "that is said of embedded models alone"
    assert PROMPT in [line.rstrip() for line in lines], "brackets in a prompt are no markup"
    assert any("without the profile" in line and "with ada's profile" in line for line in lines)
    assert any(line.count("from ada's measured style") == 2 for line in lines)
    assert any(line.count("longest run of copied words: ") == 2 for line in lines)
    calls = {line.split()[0]: int(line.split()[1]) for line in lines if line.startswith(("all ", "encode "))}
    # The encoder runs on this machine.
    # And a server is asked once whether it can continue answers.
    asked = [request for request in server.requests if request.path.endswith("/completions")]
    assert len(server.requests) - len(asked) == 1
    assert calls["all"] - calls.get("encode", 0) == len(asked), "every call is counted"
    (folder,) = (tmp_path / "hyperalign" / "data" / "runs").iterdir()
    assert f"everything is in {folder}" in done.out
    assert json.loads((folder / "calls.jsonl").read_text().splitlines()[0])
    assert {"profile.json", "candidates.json", "cost.json", "done.json"} <= {file.name for file in folder.iterdir()}
    assert lines[-1].startswith("Next, your own: hyperalign fit")
    # The answers stand side by side, as data.
    (row,) = [line for line in lines if BARE in line]
    assert row.index(BARE) < row.index("How very kind!]0;title But no.")
    assert "\x1b" not in done.out
    made = {file.name for file in (tmp_path / "hyperalign" / "data").iterdir()}
    assert made == {"key", ".key.lock", "runs"}, "no store is made"


def test_an_unknown_person_names_the_three(run: Run, tmp_path: Path) -> None:
    run("demo", "--person", "dora").refused(3, "There is no example person 'dora'", "ada, bruno, chiara")
    assert not list((tmp_path / "hyperalign" / "data").iterdir()), "no run is begun"


def test_a_model_that_can_not_be_used(run: Run) -> None:
    done = run("demo", "--model", "local:[/red].gguf", "--scorer", "none")
    assert done.code == 5
    assert "The model is local:[/red].gguf; nothing leaves this machine." in done.out
    assert "There is no model file [/red].gguf" in done.err
    assert "Traceback" not in done.err
