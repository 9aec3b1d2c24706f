"""``hyperalign ask``: what is asked, what is kept, and when it stops."""

from __future__ import annotations

import json
from pathlib import Path

from hyperalign.profile import Profile
from hyperalign.programs.generate import MANNERS
from hyperalign.records import Pair
from hyperalign.store import Store
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run

LONG = "I would say that you ought to think about it for a good while, and then go there all the same."


def write_answers(folder: Path, prompts: int) -> None:
    rows = [
        {"prompt": f"Question {at}?", "answers": [f"No. Not {at}!", f"{LONG} It is {at}."]} for at in range(prompts)
    ]
    (folder / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


ASKED = ("ask", "--user", "mira", "--answers", "answers.jsonl", "--encoder", "none")


def test_answers_are_kept_as_records_and_learned_from(run: Run, tmp_path: Path) -> None:
    write_answers(tmp_path, 4)
    done = run(*ASKED, "--json", stdin=b"a\nnonsense\nB\ns\nq\n")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["answered"] == 2
    assert done.err.count("nats; ") == 4
    assert "A  " in done.err
    with Store() as store:
        records = store.records("mira")
        assert [record.id for record in records] == told["records"]
        assert all(isinstance(record, Pair) for record in records)
        learned = store.load("mira").reward
    assert learned
    assert {row.record for row in learned.rows} == set(told["records"])
    again = run(*ASKED, stdin=b"a\n")
    assert "1 answer(s) kept. The reward picks" in again.out
    with Store() as store:
        kept = store.load("mira").reward
        assert kept
        assert len(kept.rows) == len(store.records("mira")) == 3


def test_the_letter_takes_the_answer_that_stands_there(run: Run, tmp_path: Path) -> None:
    write_answers(tmp_path, 1)
    done = run(*ASKED, stdin=b"b\n")
    shown = next(line for line in done.err.splitlines() if line.startswith("  B  "))
    with Store() as store:
        (pair,) = store.records("mira")
    assert isinstance(pair, Pair)
    assert pair.chosen == shown.removeprefix("  B  ")


def test_it_stops_where_no_question_teaches_anything(run: Run, tmp_path: Path) -> None:
    write_answers(tmp_path, 3)
    done = run(*ASKED, "--enough", "0.69", stdin=b"a\na\n")
    assert done.out == "0 answer(s) kept. No further question would teach much.\n"
    with Store() as store:
        assert store.records("mira") == []
    few = run(*ASKED, "--most", "1", "--enough", "0", stdin=b"a\na\n")
    assert "1 answer(s) kept" in few.out
    assert "too few to be sure" in few.out


def test_the_model_draws_answers_in_several_manners_once(
    run: Run, tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    def by_manner(request: Recorded) -> str:
        return next(f"{manner} {request.messages[-1]['content']}" for manner in MANNERS if manner in request.prompt)

    scripted_server.default = reply(by_manner)
    (tmp_path / "prompts.txt").write_text("Shall I go?\nWhat now?\n")
    asked = (*ASKED, "--prompts", "prompts.txt", "--model", f"vllm:{scripted_server.url}", "--each", "2")
    done = run(*asked, stdin=b"a\nq\n")
    assert done.code == 0, done.err
    assert len(scripted_server.requests) == 4
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert {row["prompt"]: len(row["answers"]) for row in rows} == {"Shall I go?": 2, "What now?": 2}
    run(*asked, stdin=b"q\n")
    assert len(scripted_server.requests) == 4, "the file has the answers"


def test_what_cannot_be_asked_is_refused(run: Run, tmp_path: Path) -> None:
    run("ask", "--user", "mira", "--encoder", "none").refused(3, "--prompts")
    (tmp_path / "answers.jsonl").write_text('{"prompt": "Go?", "answers": ["Yes."]}\n')
    run(*ASKED).refused(3, "two different answers")
    (tmp_path / "answers.jsonl").write_text('{"prompt": "Go?", "answers": "Yes."}\n')
    run(*ASKED).refused(3, "answers.jsonl:1")


def test_what_the_profile_has_stays(run: Run, tmp_path: Path) -> None:
    write_answers(tmp_path, 2)
    with Store() as store:
        store.save(Profile(user="mira", stated=["Be brief."]))
    run(*ASKED, stdin=b"a\n")
    with Store() as store:
        assert store.load("mira").stated == ["Be brief."]
        assert store.load("mira").reward
