"""``hyperalign judge``: whose choice, which answer, and what decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.profile import Profile
from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run
from tests.hyperalign.example_people import profile

ASKED = ["judge", "Decline the dinner.", "--answer", "No.", "--answer", "I would have loved to, dear, but alas!"]


@pytest.fixture
def ada() -> Profile:
    """Ada's profile, saved in the test's own store."""
    with Store() as store:
        store.save(profile())
    return profile()


def test_a_real_model_judges(run: Run, ada: Profile, smollm_path: Path) -> None:
    pytest.importorskip("cyllama", reason="log-probabilities of the embedded model need cyllama")
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


def test_where_nothing_has_held_that_is_said(run: Run, tmp_path: Path, smollm_path: Path) -> None:
    pytest.importorskip("cyllama", reason="log-probabilities of the embedded model need cyllama")
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
