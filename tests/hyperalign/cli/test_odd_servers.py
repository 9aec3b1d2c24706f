"""Every verb that asks a model ends well with servers that answer in odd shapes, and with one that thinks first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hyperalign.backends.distill.collect import Teacher, collect_traces
from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.programs.strategies import strategy
from hyperalign.store import Store
from tests.fixtures.odd_server import Odd, thinking
from tests.fixtures.scripted_server import Recorded, ScriptedServer
from tests.hyperalign.cli.conftest import Run
from tests.hyperalign.cli.letters import others, write
from tests.hyperalign.cli.test_eval import pairs as people_who_choose
from tests.hyperalign.cli.test_fit_choices import pair
from tests.hyperalign.cli.test_optimize import answered as optimizing
from tests.hyperalign.cli.test_optimize import people as people_who_write
from tests.hyperalign.example_people import profile
from tests.programs.test_deliberate import SAFE
from tests.programs.test_deliberate import answered as as_deliberate

Options = list[str]


def letters(request: Recorded) -> str:
    """Hypotheses where they are asked for, letters where those are."""
    if "JSON object" in request.prompt:
        return json.dumps({"hypothesis": {"quote": "the marmalade", "statement": "Is warm.", "opposite": "Is cold."}})
    digest = hashlib.sha256(request.prompt.encode()).digest()
    lines = (f"{number}: {'AB'[digest[number] % 2]}" for number in range(1, 25))
    return "\n".join(lines) if "\n2. " in request.prompt else "AB"[digest[0] % 2]


def fit_texts(run: Run, options: Options, folder: Path) -> None:
    files = write(folder / "letters", "a.txt", "b.txt", "c.txt")
    done = run("fit", *files, "--user", "ada", "--population", others(folder / "others"), *options, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["user"] == "ada"


def fit_choices(run: Run, options: Options, folder: Path) -> None:
    (folder / "choices.jsonl").write_text("\n".join(pair("ada", number, True) for number in range(6)))
    done = run("fit", "choices.jsonl", "--user", "ada", *options, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["direction"]


def generate(run: Run, options: Options, folder: Path) -> None:
    with Store() as store:
        store.save(profile())
    done = run("generate", "Decline the dinner.", "--user", "ada", *options, "--best-of", "3")
    assert done.code == 0, done.err
    assert done.out.strip() in {"A", "B"}, "without thoughts and marks of an end"


def judge(run: Run, options: Options, folder: Path) -> None:
    with Store() as store:
        store.save(profile())
    answers = ["--answer", "No.", "--answer", "Alas, I must do without."]
    done = run("judge", "Decline the dinner.", *answers, "--user", "ada", *options, "--json")
    assert done.code == 0, done.err
    assert sum(json.loads(done.out)["probabilities"]) == pytest.approx(1)


def deliberate(run: Run, options: Options, folder: Path) -> None:
    done = run("deliberate", SAFE, *options, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["course"] in {"help", "decline"}


def evaluate(run: Run, options: Options, folder: Path) -> None:
    cases = people_who_choose(folder / "people.jsonl", each=4)
    done = run("eval", cases, *options, "--strategy", "few-shot", "--seed", "3", "--out", folder / "eval")
    assert done.code == 0, done.err
    summary = json.loads((folder / "eval" / "summary.json").read_text())
    assert summary["cases"]["errors"] == 0, summary["cases"]


def optimize(run: Run, options: Options, folder: Path) -> None:
    task = people_who_write(folder / "people.jsonl")
    without = [each for each in options if each not in {"--scorer", "none"}]
    done = run("optimize", "generate", "--task", task, *without, "--max-steps", "2", "--out", folder / "out")
    assert done.code == 0, done.err


Verb = Callable[[Run, Options, Path], None]
VERBS: dict[str, tuple[Verb, Callable[[Recorded], str]]] = {
    "fit texts": (fit_texts, letters),
    "fit choices": (fit_choices, letters),
    "generate": (generate, letters),
    "judge": (judge, letters),
    "deliberate": (deliberate, as_deliberate),
    "eval": (evaluate, letters),
    "optimize": (optimize, optimizing),
}


@pytest.fixture
def options(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    return ["--model", "openai/odd", "--api-base", scripted_server.base, "--scorer", "none"]


def calls_booked(folder: Path) -> int | None:
    """What the run says that it cost, where it keeps it in a file."""
    found = [*(folder / "hyperalign" / "data" / "runs").glob("*/cost.json"), *folder.glob("*/cost.json")]
    if not found:
        return None
    content: dict[str, Any] = json.loads(found[0].read_text())
    return sum(step["calls"] for step in content.values() if isinstance(step, dict) and "calls" in step)


@pytest.mark.parametrize("verb", VERBS)
def test_odd_answers_end_no_run(
    run: Run, options: Options, scripted_server: ScriptedServer, tmp_path: Path, verb: str
) -> None:
    does, text = VERBS[verb]
    odd = Odd(text)
    scripted_server.default = odd.step
    does(run, options, tmp_path)
    booked = calls_booked(tmp_path)
    assert booked in {None, odd.answered}, "what a model worked on, and no other request"


@pytest.mark.parametrize("verb", VERBS)
def test_a_model_that_thinks_first_is_waited_for(
    run: Run, options: Options, scripted_server: ScriptedServer, tmp_path: Path, verb: str
) -> None:
    does, text = VERBS[verb]
    scripted_server.default = thinking(text)
    does(run, options, tmp_path)
    booked = calls_booked(tmp_path)
    assert booked in {None, len(scripted_server.requests)}


@pytest.mark.parametrize("kind", ["odd", "thinking"])
def test_a_teacher_may_be_odd(scripted_server: ScriptedServer, tmp_path: Path, kind: str) -> None:
    scripted_server.default = (
        Odd(lambda _: "No. It rains.").step if kind == "odd" else thinking(lambda _: "No. It rains.")
    )
    lm = connect("openai/odd", api_base=scripted_server.base, api_key="k", budget=(budget := Budget()))
    prompts = [f"Question {number}?" for number in range(24)]
    traces = collect_traces(
        Teacher(lm, strategy("verified"), concurrency=4), [profile()], prompts, tmp_path / "t.jsonl", budget=budget
    )
    assert sum(trace.answer == "No. It rains." for trace in traces) >= 20
    assert budget.spent.calls >= len(prompts)
