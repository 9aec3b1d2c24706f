"""The reward on the command line: learned without a model, shown, updated, changed by hand and forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase

import pytest

from hyperalign.profile import LearnedReward, Profile
from tests.fixtures.scripted_server import ScriptedServer, embeddings

from .conftest import Run

SAID = ("Go", "Eat the rice", "Take a coat", "Call her", "Sleep", "Write it down", "Ask him", "Wait")


def choices(folder: Path, *, first: int = 0, last: int = 6) -> Path:
    path = folder / f"choices-{first}.jsonl"
    rows = [
        {"user": "ada", "id": f"r{at}", "prompt": f"{at}?", "chosen": f"{said}! Now!", "rejected": f"{said}, perhaps."}
        for at, said in enumerate(SAID[first:last], start=first)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def shown(run: Run, *more: str) -> LearnedReward:
    reward = Profile.from_json(run("profile", "show", "ada", "--json", *more).out).reward
    assert reward is not None
    return reward


def test_a_reward_is_learned_shown_and_updated_without_a_model(run: Run, tmp_path: Path) -> None:
    done = run("fit", choices(tmp_path), "--no-statements")
    assert done.code == 0, done.err
    assert "Reward  picks 100 % of 6 held-out choices (69 to 100)" in done.out
    assert "Uses exclamation marks  exclamations" in done.out
    assert 'Next: hyperalign judge "Shall I go?"' in done.out
    assert run("judge", "And?", "--answer", "Yes, perhaps.", "--answer", "Yes! Now!", "--user", "ada").code == 0
    done = run("update", choices(tmp_path, first=6, last=8), "--user", "ada", "--no-statements", "--half-life", "4")
    assert done.code == 0, done.err
    assert "2 record(s) read, 0 tokens." in done.out
    assert [row.record for row in shown(run).rows] == [f"r{at}" for at in range(8)]
    assert shown(run).half_life == 4
    assert "+ reward: 2 records" in run("profile", "diff", "ada").out
    assert "Nothing new of ada" in run("update", "--user", "ada", "--no-statements").out


def test_changes_by_hand_stay_and_a_forgotten_record_leaves_every_version(run: Run, tmp_path: Path) -> None:
    run("fit", choices(tmp_path), "--no-statements")
    learned = shown(run).weights["exclamations"]
    assert run("profile", "flip", "ada", "exclamations").code == 0
    assert shown(run).weights["exclamations"] == -learned
    assert run("profile", "set", "ada", "questions=-0.5").code == 0
    changed = shown(run)
    assert changed.weights["questions"] == -0.5
    run("fit", "--user", "ada", "--no-statements")
    assert shown(run).weights == pytest.approx(changed.weights, abs=2e-4)
    assert "by hand: exclamations turned around" in run("profile", "show", "ada").out
    assert run("profile", "forget", "ada", "r2", "--yes").code == 0
    for version in ("1", "2", "3", "4"):
        assert [row.record for row in shown(run, "--version", version).rows] == ["r0", "r1", "r3", "r4", "r5"]
    run("profile", "flip", "ada", "shouting").refused(4, "says nothing of 'shouting'")


def test_statements_can_come_later_and_the_reward_stays(
    run: Run, options: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    run("fit", choices(tmp_path), "--no-statements")
    assert scripted_server.requests == []
    before = shown(run)
    done = run("update", "--user", "ada", *options)
    assert done.code == 0, done.err
    assert scripted_server.requests, "the records were not read for statements yet"
    assert shown(run) == before
    assert Profile.from_json(run("profile", "show", "ada", "--json").out).dropped


def test_an_encoder_that_the_population_does_not_know_is_refused(run: Run, tmp_path: Path) -> None:
    asked = ("fit", choices(tmp_path), "--no-statements", "--encoder")
    run(*asked, "local:no-such-model").refused(5)
    assert run(*asked, "none").code == 0
    run("config", "set", "encoder", "a model").refused(3, "encoder")


def test_another_encoder_is_adapted_to_once(
    run: Run, tmp_path: Path, scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_server.default = embeddings(lambda text: [float(text.lower().count(letter)) for letter in ascii_lowercase])
    monkeypatch.setenv("OPENAI_API_BASE", scripted_server.base)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.delenv("HYPERALIGN_ENCODER", raising=False)
    done = run("fit", choices(tmp_path), "--no-statements", "--encoder", "openai/text-embedding-3-small")
    assert done.code == 0, done.err
    learned = shown(run)
    assert learned.encoder == "openai/text-embedding-3-small"
    assert Path(learned.population).is_file()
    embedded = len(scripted_server.requests)
    assert run("judge", "And?", "--answer", "Yes, perhaps.", "--answer", "Yes! Now!", "--user", "ada").code == 0
    done = run("update", choices(tmp_path, first=6, last=8), "--user", "ada", "--no-statements")
    assert done.code == 0, done.err
    assert [row.record for row in shown(run).rows] == [f"r{at}" for at in range(8)]
    # The two answers and the two new choices: the contrasts are not read again.
    assert [len(each.body["input"]) for each in scripted_server.requests[embedded:]] == [2, 4]
    assert run("profile", "flip", "ada", "exclamations").code == 0


@pytest.mark.parametrize(
    "said",
    [
        "Elle a encore perdu son parapluie, et j'en ai trois. Le chien du voisin dort là",
        "她又忘了雨伞，我这里已经有三把了。邻居家的狗睡在这里",
    ],
)
def test_nothing_that_was_measured_in_english_is_said_of_other_letters(run: Run, tmp_path: Path, said: str) -> None:
    from hyperalign.style.features import FEATURES, MARKS

    path = tmp_path / "letters.jsonl"
    rows = [{"user": "ada", "text": f"{said} {at} ! {said[: 10 + at]} !"} for at in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("fit", path, "--no-statements")
    assert done.code == 0, done.err
    told = {name for name in FEATURES if f"  {name}\n" in f"{done.out}\n"}
    assert told <= MARKS
    assert "exclamations" in told
