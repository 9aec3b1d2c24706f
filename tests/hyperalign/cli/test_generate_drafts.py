"""Drafts of ``hyperalign generate``: which one is taken, and what is written anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.profile import Profile
from hyperalign.records import Sample
from tests.fixtures.scripted_server import ScriptedServer
from tests.programs.rewards import LONG, SHORT, brief_reward

from .conftest import Run

PROMPT = "Decline the dinner on Friday."


@pytest.fixture
def model(scripted_server: ScriptedServer) -> list[str]:
    return ["--model", f"vllm:{scripted_server.url}", "--scorer", "none", "--concurrency", "1"]


def test_the_best_of_three_drafts_is_the_one_with_the_most_reward(
    run: Run, model: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    drafts = [LONG, SHORT, f"Well, {LONG}"]
    (tmp_path / "ada.json").write_text(Profile(user="ada", reward=brief_reward("ada")).to_json())
    asked = ("generate", PROMPT, *model, "--profile", "ada.json", "--best-of", "3")
    scripted_server.script(*drafts, *drafts)
    done = run(*asked)
    assert (done.code, done.out) == (0, f"{SHORT}\n")
    assert [request.body.get("seed") for request in scripted_server.requests] == [None, 1, 2]
    assert [request.body["temperature"] for request in scripted_server.requests] == [0.0, 0.8, 0.8]
    told = json.loads(run(*asked, "--json").out)
    assert (told["answer"], told["drafts"], told["spent"]["calls"]) == (SHORT, drafts, 3)


COPIED = "I am so sorry, dear friend, but the garden and the rain and the long road keep me at home this week."


def test_what_repeats_an_example_is_drawn_anew(
    run: Run, model: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    shown = Profile(user="ada", examples=[Sample(user="ada", text=COPIED)])
    (tmp_path / "ada.json").write_text(shown.to_json())
    asked = ("generate", PROMPT, *model, "--profile", "ada.json", "--effort", "low")
    scripted_server.script(f"Well. {COPIED}", "No, dear, not this week.")
    assert run(*asked).out == "No, dear, not this week.\n"
    assert [request.body.get("seed") for request in scripted_server.requests] == [None, 1]


def test_where_every_draft_repeats_it_the_example_is_left_out(
    run: Run, model: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    shown = Profile(user="ada", examples=[Sample(user="ada", text=COPIED)])
    (tmp_path / "ada.json").write_text(shown.to_json())
    scripted_server.script(COPIED, COPIED, COPIED, "Not this week.")
    assert run("generate", PROMPT, *model, "--profile", "ada.json", "--effort", "low").out == "Not this week.\n"
    told = [COPIED in request.prompt for request in scripted_server.requests]
    assert told == [True, True, True, False]
