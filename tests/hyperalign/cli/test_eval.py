"""``hyperalign eval`` and ``compare``: own people, controls, bad input, stops and going on."""

from __future__ import annotations

import importlib.util
import json
import signal
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hyperalign.programs.fitting import REFERENCE_RECORDS
from hyperalign.records import Sample
from hyperalign.store import Store
from tests.fixtures.scripted_server import ScriptedServer, error, reply

from .conftest import Run, Start

LIKES = {"ada": ("marmalade", "oil"), "bob": ("oil", "marmalade"), "cal": ("rain", "sun"), "dan": ("sun", "rain")}
# Not importorskip: importing OpenVINO as it comes reports to its makers.
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="log-probabilities of the embedded model need openvino"
)
SCHEMA = json.loads(files("hyperalign.evals").joinpath("summary.schema.json").read_text(encoding="utf-8"))


def pairs(path: Path, each: int = 8) -> Path:
    """Four people who choose by one word each; a quarter of their pairs are cases."""
    path.write_text(
        "".join(
            json.dumps(
                {
                    "user": user,
                    "prompt": f"Tell me about thing {number}.",
                    "chosen": f"It smells of {taken}, thing {number}.",
                    "rejected": f"It smells of {left}, thing {number}.",
                }
            )
            + "\n"
            for user, (taken, left) in LIKES.items()
            for number in range(each)
        )
    )
    return path


@pytest.fixture
def asked(scripted_server: ScriptedServer, tmp_path: Path) -> list[str]:
    """An eval of own pairs whose model always says A."""
    scripted_server.default = reply("A")
    model = ["--model", f"vllm:{scripted_server.url}", "--scorer", "none"]
    return ["eval", str(pairs(tmp_path / "pairs.jsonl")), *model, "--strategy", "few-shot", "--seed", "3"]


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    jsonschema.validate(found, SCHEMA)
    return found


def cases(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines()]


def test_the_tasks_are_listed(run: Run) -> None:
    told = run("eval", "list")
    assert told.code == 0
    for name in ("alignx", "c50", "jester", "popquorn-write", "squality", "traits", "ukpconvarg", "FILE.jsonl"):
        assert name in told.out
    assert json.loads(run("eval", "list", "--json").out)["c50"]["kind"] == "writing"


def test_own_people_need_no_code(run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer) -> None:
    done = run(*asked, "--out", tmp_path / "a")
    assert done.code == 0, done.err
    assert "few-shot" in done.out
    assert "vote-length" in done.out
    assert "report.html" in done.out.replace("\n", "")
    found = summary(tmp_path / "a")
    assert found["cluster"] == {"unit": "person", "n": 4}
    assert found["cases"] == {"scored": 8, "errors": 0}
    figures = found["conditions"]["few-shot"]
    assert figures["accuracy"]["mean"] == 0.5, "one letter in both orders is a tie"
    assert figures["order_consistency"]["mean"] == 0.0
    assert {"none", "wrong-user", "vote-length"} <= set(found["controls"])
    shown = {file.name for file in (tmp_path / "a").iterdir()}
    assert {"cases.jsonl", "cost.json", "eval.json", "report.html", "report.md", "summary.json"} <= shown
    assert all(case["result"]["tokens"]["in"] > 0 for case in cases(tmp_path / "a"))
    made = len(scripted_server.requests)
    assert run(*asked, "--out", tmp_path / "a").code == 0
    assert len(scripted_server.requests) == made, "a finished run asks nobody again"
    assert summary(tmp_path / "a")["conditions"] == found["conditions"]


def test_the_examples_of_a_person_decide(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    def likes_what_it_has_seen(request: Any) -> str:
        *shown, question = [turn["content"] for turn in request.messages]
        first = question.split("<B>")[0].split("<A>")[-1] if "<A>" in question else question.partition("B")[0]
        taken = next((word for pair in LIKES.values() for word in pair if word in " ".join(shown[1:])), None)
        return "A" if taken and taken in first else "B"

    scripted_server.default = reply(likes_what_it_has_seen)
    assert run(*asked, "--out", tmp_path / "a").code == 0
    few_shot = summary(tmp_path / "a")["conditions"]["few-shot"]
    assert few_shot["accuracy"]["mean"] == 1.0
    assert few_shot["own_over_other"]["mean"] > 0.5
    assert summary(tmp_path / "a")["conditions"]["none"]["accuracy"]["mean"] == 0.5


def test_two_runs_are_compared(run: Run, asked: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(*asked, "--out", tmp_path / name).code == 0
    told = run("compare", tmp_path / "a", tmp_path / "b")
    assert told.code == 0, told.err
    assert "8 cases that both runs have" in told.out
    row = json.loads(run("compare", tmp_path / "a", tmp_path / "b", "--json").out)["conditions"]["few-shot"]["accuracy"]
    assert row["difference"]["mean"] == 0.0
    assert row["p"] == 1.0
    run("compare", tmp_path / "a", tmp_path / "nowhere").refused(3, "nowhere")


def test_a_dry_run_asks_nobody_and_writes_nothing(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    done = run(*asked, "--out", tmp_path / "a", "--dry-run", "--strategy", "few-shot,verified")
    assert "8 case(s). Nothing was done." in done.out
    assert "choices: about" in done.out
    assert scripted_server.requests == []
    assert not (tmp_path / "a").exists()


def test_how_many_others_one_is_held_against_is_told_of_the_cost_and_of_the_run(
    run: Run, asked: list[str], tmp_path: Path
) -> None:
    few, usual = (
        json.loads(run(*asked, "--dry-run", "--json", "--strategy", "verified", *more).out)["steps"]["score"][
            "tokens_in"
        ]
        for more in (["--reference", "2"], [])
    )
    assert few < usual
    assert run(*asked, "--out", tmp_path / "a", "--reference", "2").code == 0
    run(*asked, "--out", tmp_path / "a").refused(3, "differs in state")
    assert f"fit takes {REFERENCE_RECORDS}." in " ".join(run("eval", "--help").out.split())


def test_controls_are_disabled_by_name_and_the_report_says_so(run: Run, asked: list[str], tmp_path: Path) -> None:
    done = run(*asked, "--out", tmp_path / "a", "--without", "votes,wrong-user")
    assert done.code == 0, done.err
    first = (tmp_path / "a" / "report.md").read_text().splitlines()[0]
    assert "Disabled controls: wrong-user, votes" in first
    assert not any(name.startswith("vote") for name in summary(tmp_path / "a")["conditions"])
    assert "own_over_other" not in summary(tmp_path / "a")["conditions"]["few-shot"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--without", "gravity"], 3, "no control 'gravity'"),
        (["--split", "middle"], 3, "no split 'middle'"),
        (["--curve", "1,many"], 3, "1,many"),
        (["--curve", "0"], 3, "from 1"),
        (["--strategy", "telepathy"], 3, "telepathy"),
        (["--strategy", "none"], 3, "uses a profile"),
        (["--users", "1"], 3, "Another user's profile"),
    ],
)
def test_what_cannot_be_asked(run: Run, asked: list[str], more: list[str], code: int, said: str) -> None:
    run(*asked, *more).refused(code, said)


def test_bad_data(run: Run, asked: list[str], tmp_path: Path) -> None:
    model = asked[2:6]
    run("eval", "gravity", *model).refused(4, "no task and no file 'gravity'", "alignx")
    run("eval", "alignx", *model).refused(3, "--data PATH")
    run("eval", "alignx", "--data", tmp_path / "no.json", *model).refused(3, "no.json")
    run("eval", "c50", "--data", tmp_path, *model).refused(3, "C50train")
    run("eval", "c50", "--data", tmp_path, "--form", "ugc", *model).refused(3, "no forms")
    lines = (tmp_path / "pairs.jsonl").read_text().splitlines()
    (tmp_path / "broken.jsonl").write_text("\n".join([*lines[:2], '{"user": "ada", "pro', *lines[3:]]) + "\n")
    run("eval", tmp_path / "broken.jsonl", *model).refused(3, "broken.jsonl", "3")
    (tmp_path / "few.jsonl").write_text("\n".join(lines[:3]) + "\n")
    run("eval", tmp_path / "few.jsonl", *model).refused(3, "four records")


def test_a_folder_never_mixes_two_runs(run: Run, asked: list[str], tmp_path: Path) -> None:
    assert run(*asked, "--out", tmp_path / "a").code == 0
    run(*asked, "--seed", "4", "--out", tmp_path / "a").refused(3, "differs in", "seed")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear Tom")
    run(*asked, "--out", tmp_path / "mine").refused(3, "holds no eval")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "Dear Tom"


def test_a_budget_stops_the_run_and_a_higher_one_ends_it(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    stopped = run(*asked, "--out", tmp_path / "a", "--concurrency", "1", "--max-calls", "20")
    assert stopped.code == 6, stopped.err
    done = cases(tmp_path / "a")
    assert 0 < len(done) < 8
    assert json.loads((tmp_path / "a" / "cost.json").read_text())
    assert not (tmp_path / "a" / "summary.json").exists()
    assert run(*asked, "--out", tmp_path / "a").code == 0
    assert cases(tmp_path / "a")[: len(done)] == done, "what was done is not done again"
    assert len(cases(tmp_path / "a")) == 8
    total = sum(step["calls"] for step in json.loads((tmp_path / "a" / "cost.json").read_text()).values())
    assert total == len(scripted_server.requests), "both sittings are in the cost"


def test_an_error_is_an_error_and_never_a_score(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    # Twice: what is refused without a reason is asked once more without what not every model takes.
    scripted_server.script(*[error(400, "this one is refused")] * 2)
    done = run(*asked, "--out", tmp_path / "a", "--concurrency", "1")
    assert done.code == 0, done.err
    found = summary(tmp_path / "a")
    assert found["cases"] == {"scored": 7, "errors": 1}
    assert found["conditions"]["few-shot"]["accuracy"]["n_cases"] == 7
    assert "1 case(s) ended in an error" in (tmp_path / "a" / "report.md").read_text().splitlines()[0]
    assert run(*asked, "--out", tmp_path / "a").code == 0
    assert summary(tmp_path / "a")["cases"] == {"scored": 8, "errors": 0}, "it is tried again"


def test_nothing_but_errors_is_no_result(
    run: Run, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    scripted_server.default = error(400, "refused")
    run(*asked, "--out", tmp_path / "a").refused(5, "refused")
    assert not (tmp_path / "a" / "summary.json").exists()


def test_killed_in_the_middle_it_goes_on(
    run: Run, process: Start, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    scripted_server.default = reply("A", delay=0.05)
    running = process(*asked, "--out", tmp_path / "a", "--concurrency", "2")
    deadline = time.monotonic() + 120
    path = tmp_path / "a" / "cases.jsonl"
    while time.monotonic() < deadline and not (path.exists() and path.read_text().count("\n") >= 2):
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    before = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert 2 <= len(before) < 8
    assert run(*asked, "--out", tmp_path / "a").code == 0
    after = path.read_text().splitlines()
    assert after[: len(before)] == before
    names = [json.loads(line)["case"] for line in after if line.endswith("}}") or '"seconds"' in line]
    assert len(set(names)) == 8
    assert summary(tmp_path / "a")["cases"] == {"scored": 8, "errors": 0}


def test_ctrl_c_leaves_a_run_that_goes_on(
    process: Start, asked: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    scripted_server.default = reply("A", delay=0.1)
    running = process(*asked, "--out", tmp_path / "a", "--concurrency", "1")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (tmp_path / "a" / "cases.jsonl").exists():
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert cases(tmp_path / "a")


@needs_openvino
def test_the_real_small_model_by_likelihood(run: Run, tmp_path: Path, smollm_path: Path) -> None:
    path = pairs(tmp_path / "pairs.jsonl", each=4)
    done = run(
        *("eval", path, "--model", "local:smollm2-135m-instruct", "--strategy", "few-shot", "--out", tmp_path / "a")
    )
    assert done.code == 0, done.err
    found = summary(tmp_path / "a")
    assert found["cases"] == {"scored": 4, "errors": 0}
    # Three earlier choices of the same word raise it in the next one, and another user's choices do so less.
    assert found["conditions"]["few-shot"]["accuracy"]["mean"] >= 0.75
    assert found["conditions"]["few-shot"]["own_over_other"]["mean"] == 1.0
    (line, *_) = cases(tmp_path / "a")
    assert set(line["result"]["margins"]) >= {"none", "few-shot", "few-shot, other user"}


def test_removing_somebody_removes_their_texts_from_evals(run: Run, asked: list[str], tmp_path: Path) -> None:
    assert run(*asked).code == 0
    (folder,) = (tmp_path / "hyperalign" / "data" / "runs").glob("eval-pairs-*")
    with Store() as store:
        store.add_records([Sample(user="ada", text="Dear Tom"), Sample(user="eve", text="Dear Ann")])
    gone = run("profile", "rm", "ada", "--yes")
    assert gone.code == 0
    assert "from 1 run or eval of others; the same commands make what is missing again" in gone.out
    assert b"Dear Tom" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert "of others" not in run("profile", "rm", "eve", "--yes").out


def test_mails_are_rewritten_guided_at_an_effort(run: Run, tmp_path: Path, scripted_server: ScriptedServer) -> None:
    manners = {"ada": "Hi! Could you do {n}, please? Thanks a lot for it, and have a nice day!",
               "bob": "Kindly attend to number {n}, as was agreed upon, at your earliest convenience.",
               "cal": "Do {n} now. It is late. I wait for it. Tell me once you have done what I ask."}  # fmt: skip
    rows = [
        {"user": user, "mail": n, "draft": f"Do number {n}.", "edited": manner.format(n=n)}
        for user, manner in manners.items()
        for n in range(10)
    ]
    data = tmp_path / "rewrites.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scripted_server.default = reply("Could you do number 3, please? Thanks!")
    model = ["--model", f"vllm:{scripted_server.url}", "--scorer", "none", "--encoder", "none"]
    command = ["eval", "popquorn-write", "--data", data, *model, "--cases", "1", "--strategy", "few-shot,guided"]
    dry = run(*command, "--effort", "medium", "--dry-run", "--json")
    assert dry.code == 0, dry.err
    done = run(*command, "--effort", "medium", "--out", tmp_path / "a")
    assert done.code == 0, done.err
    assert "guided" in done.out and "draft" in done.out
    found = summary(tmp_path / "a")
    assert found["cases"] == {"scored": 3, "errors": 0}
    assert {"nearer_style", "nearer_characters", "nearer_words", "length_ratio"} <= set(found["conditions"]["guided"])
    mark = json.loads((tmp_path / "a" / "eval.json").read_text())
    assert mark["guided"]["effort"] == "medium"
    again = run(*command, "--out", tmp_path / "a")
    assert again.code != 0, "another effort is another run"
    assert "guided" in again.err
