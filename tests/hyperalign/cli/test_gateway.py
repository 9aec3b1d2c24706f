"""``hyperalign gateway``: what it refuses, what it reports, and that it learns each piece of feedback once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.gateway.outcomes import Outcomes
from hyperalign.backends.gateway.tables import Exchange, Said
from hyperalign.programs.fit_result import Memory
from hyperalign.store import Store

from .conftest import ENTRY, Run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "store.sqlite"
    monkeypatch.setenv("HYPERALIGN_STORE", str(found))
    return found


def keep_thumbs(place: Path, user: str, *, on: float, off: float, each: int = 200) -> None:
    """Thumbs of conversations dealt evenly, a share of them up."""
    outcomes = Outcomes(place)
    exchanges, said = [], []
    for at in range(each):
        for arm, share in (("on", on), ("off", off)):
            name: Any = f"{user}-{arm}-{at}"
            dealt: Any = arm
            exchanges.append(Exchange(name, "", user, name, dealt, 1))
            up = (at * 7 % 10) < share * 10
            said.append(Said(name, user, "thumb", {"thumb": "up" if up else "down"}, name))
    outcomes.keep(exchanges, said)
    outcomes.close()


def corrections(place: Path, user: str, number: int, start: int = 0) -> None:
    outcomes = Outcomes(place)
    outcomes.keep(
        said=[
            Said(
                f"c{at}",
                user,
                "edit",
                {
                    "prompt": f"Question {at}?",
                    "draft": f"In general, one may well say that it is number {at}, all things considered.",
                    "edited": f"Number {at}.",
                },
            )
            for at in range(start, start + number)
        ]
    )
    outcomes.close()


def test_a_report_says_whether_profiles_help(run: Run, place: Path) -> None:
    assert "No outcome yet" in run("gateway", "report").out
    keep_thumbs(place, "ada", on=0.9, off=0.5)
    done = run("gateway", "report")
    assert done.code == 0, done.err
    assert "Profiles help." in done.out
    row = next(line for line in done.out.splitlines() if line.startswith("thumbs")).split()
    assert row[1:6] == ["200", "200", "0.90", "0.50", "+0.40"]
    found = json.loads(run("gateway", "report", "--json").out)
    assert found["comparisons"]["thumb"]["verdict"] == "helps"
    assert found["comparisons"]["edit"]["difference"] is None
    assert found["switched_off"] == {}
    assert json.loads(run("gateway", "report", "--json", "--user", "bob").out)["comparisons"]["all"]["n_on"] == 0


def test_a_profile_that_does_harm_is_switched_off_while_learning(run: Run, place: Path) -> None:
    keep_thumbs(place, "ada", on=0.2, off=0.8)
    done = run("gateway", "learn", "--no-statements")
    assert done.code == 0, done.err
    assert "The profile of ada is switched off: answers with it fared worse" in done.out
    assert "Switched off for ada" in run("gateway", "report").out
    assert run("gateway", "switch", "ada", "--on").out == "The profile of ada is on.\n"
    assert "Switched off" not in run("gateway", "report").out


def test_feedback_is_learned_from_once(run: Run, place: Path) -> None:
    corrections(place, "ada", 6)
    done = run("gateway", "learn", "--no-statements")
    assert done.code == 0, done.err
    assert "ada: 6 piece(s) of feedback, 6 new record(s)." in done.out
    corrections(place, "ada", 2, start=6)
    assert "ada: 2 piece(s) of feedback, 2 new record(s)." in run("gateway", "learn", "--no-statements").out
    assert run("gateway", "learn", "--no-statements").out == ""
    assert_learned(place, "ada", 8)


def assert_learned(place: Path, user: str, number: int) -> None:
    """Each record is there once, and the reward has a row of each."""
    with Store(place) as store:
        records = [record.id for record in store.records(user)]
        reward = store.load(user).reward
        memory = store.memory(user)
    assert sorted(records) == sorted(f"feedback-c{at}" for at in range(number))
    assert reward is not None
    assert sorted(row.record for row in reward.rows) == sorted(records)
    assert memory is not None
    assert Memory.from_json(memory, where="memory").learned == set(records)


def test_learning_that_is_killed_loses_nothing_and_learns_nothing_twice(tmp_path: Path, place: Path) -> None:
    corrections(place, "ada", 6)
    command = [*ENTRY, "gateway", "learn", "--no-statements"]
    for seconds in (0.7, 2.0, 5.0):
        process = subprocess.Popen(
            command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_learned(place, "ada", 6)
    outcomes = Outcomes(place)
    assert outcomes.waiting() == {}
    outcomes.close()


def test_open_webuis_export_is_imported(run: Run, place: Path, tmp_path: Path) -> None:
    turns = {
        "m1": {"role": "user", "content": "Which tea?"},
        "m2": {"role": "assistant", "content": "Green.", "parentId": "m1"},
    }
    entry = {
        "id": "f1",
        "user": {"email": "ada@example.org", "name": "Ada"},
        "data": {"rating": 1},
        "meta": {"message_id": "m2"},
        "snapshot": {"chat": {"chat": {"history": {"messages": turns}}}},
    }
    odd = {**entry, "id": "f2", "user": {"email": "../at all"}}
    file = tmp_path / "feedback.json"
    file.write_text(json.dumps([entry, odd]))
    done = run("gateway", "import", file)
    assert done.out == "Kept 1 piece(s) of feedback of 1 user(s).\n"
    assert "Passed over 1 of users whose email is no valid id." in done.err
    outcomes = Outcomes(place)
    assert [said.content["answer"] for said in outcomes.feedback("ada@example.org")] == ["Green."]
    outcomes.close()
    run("gateway", "import", file, "--name", "color").refused(3, "names no user")
    file.write_text("{}")
    run("gateway", "import", file).refused(3, "no export of Open WebUI")
    run("gateway", "import", tmp_path / "none.json").refused(3, "can't be read")


def test_without_a_key_it_listens_on_loopback_alone(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERALIGN_GATEWAY_KEY", raising=False)
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    done = run("gateway", "--model", "openai/any", "--host", "0.0.0.0")
    done.refused(3, "no key")
    assert not place.exists()


def test_what_is_not_installed_is_said(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperalign.backends.gateway.litellm_proxy._NEEDED", ("no_such_package",))
    run("gateway", "--model", "openai/any").refused(5, "'gateway' extra")
    assert not place.exists()


def test_help_of_the_group_and_of_its_first_command(run: Run) -> None:
    done = run("gateway", "--help")
    assert all(name in done.out for name in ("start", "learn", "import", "report", "switch"))
    assert "--holdout" in run("gateway", "start", "--help").out
    assert run("gateway", "--holdout", "2").code == 2
