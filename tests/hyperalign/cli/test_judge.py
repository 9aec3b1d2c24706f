"""``hyperalign judge``: whose choice, which answer, and what decided."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from hyperalign.profile import Profile
from hyperalign.records import Edit, Pair
from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run
from tests.hyperalign.example_people import profile
from tests.programs.rewards import profile_of

ASKED = ["judge", "Decline the dinner.", "--answer", "No.", "--answer", "I would have loved to, dear, but alas!"]
# Not importorskip: importing OpenVINO as it comes reports to its makers.
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="log-probabilities of the embedded model need openvino"
)


@pytest.fixture
def ada() -> Profile:
    """Ada's profile, saved in the test's own store."""
    with Store() as store:
        store.save(profile())
    return profile()


@needs_openvino
def test_a_real_model_judges(run: Run, ada: Profile, smollm_path: Path) -> None:
    assert smollm_path.is_file()
    asked = [*ASKED, "--user", "ada", "--scorer", "local:smollm2-135m-instruct"]
    found = json.loads(run(*asked, "--json").out)
    assert found["user"] == "ada"
    assert sum(found["probabilities"]) == pytest.approx(1)
    assert found["probabilities"][found["best"]] == max(found["probabilities"])
    assert {each["statement"] for each in found["decided"]} <= {h.statement for h in ada.hypotheses}
    shown = run(*asked).out.splitlines()
    assert sum(line.startswith(">") for line in shown) == (1 if found["decided"] else 0)
    assert "I would have loved to, dear, but alas!" in shown[1]


@needs_openvino
def test_where_nothing_has_held_that_is_said(run: Run, tmp_path: Path, smollm_path: Path) -> None:
    assert smollm_path.is_file()
    empty = tmp_path / "empty.json"
    empty.write_text(Profile(user="ada").to_json())
    done = run(*ASKED, "--profile", str(empty), "--scorer", "local:smollm2-135m-instruct")
    assert "all answers are equally probable" in done.err
    assert done.out.count(" 50%") == 2


def test_it_must_be_said_whose_choice_it_is(run: Run, ada: Profile) -> None:
    for whose in ([], ["--user", "ada", "--profile", "x.json"]):
        done = run(*ASKED, *whose)
        assert done.code in {3, 4}
        assert "--user" in done.err or "x.json" in done.err


def test_a_model_without_log_probabilities_is_asked(run: Run, ada: Profile, scripted_server: ScriptedServer) -> None:
    def warm(request: Recorded) -> str:
        """Every statement fits the long answer, wherever it stands."""
        question = request.messages[-1]["content"]
        first = "A" if question.index("I would have loved") < question.index("\nNo.") else "B"
        return "\n".join(f"{number}: {first}" for number in range(1, 13)) if "1. " in question else first

    scripted_server.default = reply(warm)
    model = ["--model", f"vllm:{scripted_server.url}", "--scorer", "none"]
    found = json.loads(run(*ASKED, "--user", "ada", *model, "--json").out)
    assert found["decided"]
    assert all(each["nats"] > 0 for each in found["decided"]), "each speaks for the answer that it fits"
    assert found["best"] == 1
    assert len(scripted_server.requests) == 2, "one call for each order"
    run(*ASKED, "--user", "ada", *model, "--max-tokens", "0").refused(6)


def test_letters_that_cannot_be_read_are_said(run: Run, ada: Profile, scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply("Both are lovely.")
    done = run(*ASKED, "--user", "ada", "--model", f"vllm:{scripted_server.url}", "--scorer", "none")
    asked = len(ada.hypotheses) * 2
    assert f"{asked} of {asked} questions stayed undecided" in done.err


def test_a_reward_judges_without_a_model_and_says_when_it_cannot_tell(run: Run, tmp_path: Path) -> None:
    pairs = [
        Pair(user="ada", prompt=f"Question {at}?", chosen=f"No, dear. Not {at}, alas!", rejected=f"Declined. {at}.")
        for at in range(30)
    ]
    (tmp_path / "ada.json").write_text(profile_of(pairs, tmp_path).to_json())
    nothing = ["--profile", "ada.json", "--model", "vllm:http://127.0.0.1:9"]
    asked = ["judge", "Another?", "--answer", "Declined. 77.", "--answer", "No, dear. Not 77, alas!", *nothing]
    done = run(*asked)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line[0] for line in lines[:2]] == [" ", ">"]
    assert "that answer 2 is chosen over the next best, 90 % interval" in lines[2]
    assert "nats" in lines[3]
    told = json.loads(run(*asked, "--json").out)
    assert told["is_sure"]
    assert 0.5 < told["low"] < told["probabilities"][1] < told["high"]
    assert told["features"][0]["nats"] > 0
    same = run("judge", "Go?", "--answer", "No.", "--answer", "No.", *nothing)
    assert ">" not in same.out
    assert "Cannot tell: 50%" in same.out


def test_the_draft_that_both_correct_counts(run: Run, tmp_path: Path) -> None:
    edits = [
        Edit(user="ada", prompt="", draft=f"See you {at}. All good.", edited=f"See you {at}. All good, my dear friend!")
        for at in range(6)
    ]
    (tmp_path / "ada.json").write_text(profile_of(edits, tmp_path).to_json())
    asked = ["judge", "?", "--answer", "Bye. All is well.", "--answer", "See you. All good.", "--profile", "ada.json"]
    without, within = (
        json.loads(run(*asked, "--json", *draft).out) for draft in ([], ["--draft", "See you. All good."])
    )
    new = {each["feature"] for each in within["features"]} - {each["feature"] for each in without["features"]}
    assert "words added" in new
    assert within["probabilities"][0] > without["probabilities"][0], "it adds words to the draft, as each time before"
