"""``hyperalign deliberate``: readings on standard error, the answer on standard output."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.scripted_server import ScriptedServer, reply

from ...programs.test_deliberate import SAFE, UNSAFE, answered
from .conftest import Run


@pytest.fixture
def model(scripted_server: ScriptedServer) -> list[str]:
    scripted_server.default = reply(answered)
    return ["--model", f"vllm:{scripted_server.url}", "--scorer", "none"]


def test_a_message_is_weighed_and_answered(run: Run, model: list[str]) -> None:
    done = run("deliberate", SAFE, *model)
    assert done.code == 0, done.err
    assert done.out == "Use kill and its number.\n"
    assert "Charitable reading: A programmer." in done.err
    assert "Harm of a full answer: 1%, so it is answered with help." in done.err
    told = json.loads(run("deliberate", UNSAFE, *model, "--json").out)
    assert (told["declined"], told["course"]) == (True, "decline")
    assert told["harm"] == 0.99
    assert told["reading"]["harmful"] == "An attacker."


def test_what_is_wrong_is_told(run: Run, model: list[str]) -> None:
    run("deliberate", SAFE, *model, "--user", "ada", "--profile", "p.json").refused(3, "Both --user and --profile")
    run("deliberate", " ", *model).refused(3)
    run("deliberate", SAFE, *model, "--user", "nobody").refused(4)
    run("deliberate", SAFE, *model, "--max-calls", "0").refused(6)
